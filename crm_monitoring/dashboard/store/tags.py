"""The index of tags: how often an issue's events had which values, bounded whatever they hold."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db.models import Count, F, Q, QuerySet
from django.db.models.functions import Greatest

from crm_monitoring.dashboard.metrics import OTHER
from crm_monitoring.dashboard.models import TagValue
from crm_monitoring.dashboard.store.connection import database, value_of

MOST_VALUES = 50
"""Of one tag of one issue; all others together are OTHER."""
MOST_TAGS = 20
"""Of one issue; more names are not indexed."""


def count(issue_id: int, tags: Mapping[str, str], times: int, moment: datetime, using: str) -> None:
    """Count the tags of an event, within the transaction that has locked its issue's row."""
    if not tags:
        return
    rows = TagValue.objects.using(using).filter(issue=issue_id)
    known = _known(rows, tags)
    new = {name: value for name, value in tags.items() if (name, value) not in known}
    if new:
        sizes = dict(rows.order_by().values_list("name").annotate(values=Count("pk")))
        # What is full counts as OTHER, which may be known already.
        full = {name: OTHER for name in new if sizes.get(name, 0) >= MOST_VALUES}
        room = MOST_TAGS - len(sizes)
        fresh = [name for name in new if name not in full and name not in sizes]
        new = {name: value for name, value in new.items() if name not in full and name not in fresh[max(0, room) :]}
        known |= _known(rows, full)
        new |= {name: value for name, value in full.items() if (name, value) not in known}
    _add(rows, list(known.values()), times, moment)
    rows.bulk_create(
        TagValue(issue_id=issue_id, name=name, value=value, count=times, last_seen=moment)
        for name, value in new.items()
    )


def _known(rows: QuerySet[TagValue], tags: Mapping[str, str]) -> dict[tuple[str, str], int]:
    if not tags:
        return {}
    wanted = Q()
    for name, value in tags.items():
        wanted |= Q(name=name, value=value)
    return {(name, value): pk for pk, name, value in rows.filter(wanted).values_list("pk", "name", "value")}


def _add(rows: QuerySet[TagValue], pks: list[int], times: int, moment: datetime) -> None:
    if pks:
        seen: Any = Greatest(F("last_seen"), value_of(moment))
        rows.filter(pk__in=pks).update(count=F("count") + times, last_seen=seen)


def of(issue_id: int) -> dict[str, list[tuple[str, int]]]:
    """Return the values of each tag of an issue, with how often each was there, the most frequent first."""
    found: dict[str, list[tuple[str, int]]] = {}
    rows = TagValue.objects.using(database()).filter(issue=issue_id).order_by("-count", "value")
    for name, value, times in rows.values_list("name", "value", "count"):
        found.setdefault(name, []).append((value, times))
    return found
