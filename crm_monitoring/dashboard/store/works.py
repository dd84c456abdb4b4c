"""Keeps requests and units of work whole: the newest and the slowest of each endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import QuerySet, Sum

from crm_monitoring.dashboard import config
from crm_monitoring.dashboard.fields import moment_of
from crm_monitoring.dashboard.models import KeptWork
from crm_monitoring.dashboard.store import connection as store
from crm_monitoring.dashboard.store.connection import database
from crm_monitoring.dashboard.store.issue_writer import About, kept

NEWEST_KEPT = 50
SLOWEST_KEPT = 20
SAMPLE_EVERY_S = 300
"""How often one of each endpoint is kept that is neither slow nor has failed."""

_MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Whole(About):
    """One request or unit of work, as its table takes it."""

    kind: str
    duration_ms: float
    status: int | None
    failed: bool
    reason: str
    user: str


def record(whole: Whole) -> None:
    """
    Keep one, and of those of its endpoint the newest and the slowest. Of a sample, one in five minutes is kept.

    Raises:
        django.db.Error: if the database cannot take it; it may be tried again.
    """
    moment = moment_of(whole.moment)
    with store.transaction() as using:
        alike = KeptWork.objects.using(using).filter(endpoint=whole.endpoint)
        if whole.reason == KeptWork.Reason.SAMPLE and _has_one_since(alike, whole.moment - SAMPLE_EVERY_S):
            return
        alike.bulk_create([_row(whole, moment)], ignore_conflicts=True)
        _forget_surplus(alike)


def _has_one_since(alike: QuerySet[KeptWork], moment: float) -> bool:
    return alike.filter(moment__gt=moment_of(moment)).exists()


def _row(whole: Whole, moment: datetime) -> KeptWork:
    columns = kept(whole, moment)
    return KeptWork(
        kind=whole.kind,
        duration_ms=whole.duration_ms,
        status=whole.status,
        failed=whole.failed,
        reason=whole.reason,
        user=whole.user,
        size=len(columns["body"]),
        **columns,
    )


def _forget_surplus(alike: QuerySet[KeptWork]) -> None:
    rows = list(alike.order_by("-moment", "-pk").values_list("pk", "duration_ms"))
    if len(rows) <= NEWEST_KEPT:
        return
    slowest = sorted(rows, key=lambda row: -row[1])[:SLOWEST_KEPT]
    stays = {pk for pk, _ in (*rows[:NEWEST_KEPT], *slowest)}
    _delete(alike, [pk for pk, _ in rows if pk not in stays])


def _delete(rows: QuerySet[KeptWork], pks: Sequence[int]) -> int:
    return rows.filter(pk__in=pks).delete()[0] if pks else 0


def forget_oldest() -> int:
    """Delete the oldest until all of them have room in KEPT_REQUESTS_MB. Returns how many are deleted."""
    rows = KeptWork.objects.using(database())
    surplus = (rows.aggregate(total=Sum("size"))["total"] or 0) - config.get().KEPT_REQUESTS_MB * _MEGABYTE
    oldest: list[int] = []
    for pk, size in rows.order_by("moment", "pk").values_list("pk", "size").iterator(chunk_size=1_000):
        if surplus <= 0:
            break
        surplus -= size
        oldest.append(pk)
    return sum(_delete(rows, oldest[start : start + 500]) for start in range(0, len(oldest), 500))
