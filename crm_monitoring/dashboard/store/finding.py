"""Finds requests, events and issues by what people know of them: an id, a user, a tag, a place, words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

from django.db.models import Exists, OuterRef, Q, QuerySet

from crm_monitoring.dashboard.fields import moment_of
from crm_monitoring.dashboard.metrics import hashed
from crm_monitoring.dashboard.models import AffectedUser, Event, Issue, KeptWork, Sighting, SlowTransaction, TagValue
from crm_monitoring.dashboard.store import clock
from crm_monitoring.dashboard.store.connection import database
from crm_monitoring.dashboard.store.terms import Filter, Terms, seconds_of
from crm_monitoring.extending import pattern

MOST_FOUND = 50
_MOST_OF_EACH = 20
_ISSUE = pattern("#?([0-9]{1,18})")
_HEX = pattern("[0-9a-f]{8,32}")


class Found(NamedTuple):
    """
    What was found, the newest first.

    Attributes:
        request_ids: Of requests of which anything is kept.
        is_more: There are more issues than are shown.
    """

    request_ids: Sequence[str] = ()
    events: Sequence[Event] = ()
    issues: Sequence[Issue] = ()
    is_more: bool = False

    @property
    def size(self) -> int:
        """How many there are of all kinds."""
        return len(self.request_ids) + len(self.events) + len(self.issues)


def find(terms: Terms) -> Found:
    """
    Return what `terms` find. A word alone may be an id of a request, an event, a trace or an issue; else words are looked for in issues.

    Raises:
        django.db.Error: if the database cannot be read.
    """
    by_id = _by_id(terms.only_word) if terms.only_word else Found()
    if by_id.size or not (terms.words or terms.filters):
        return by_id
    found = list(_issues(terms)[: MOST_FOUND + 1])
    return Found(issues=found[:MOST_FOUND], is_more=len(found) > MOST_FOUND)


def _by_id(word: str) -> Found:
    using, number = database(), _ISSUE.fullmatch(word)
    compact = word.replace("-", "").lower()
    if number is not None:
        issues = list(Issue.objects.using(using).filter(pk=int(number[1])))
        if issues or word.startswith("#"):
            return Found(issues=issues)
    if _HEX.fullmatch(compact):
        events = Event.objects.using(using).filter(event_id__startswith=compact).select_related("issue").defer("body")
        found = list(events[:_MOST_OF_EACH])
        if found:
            return Found(events=found)
    return Found(request_ids=_request_ids(Q(request_id=word) | Q(trace_id=compact)))


def _request_ids(condition: Q) -> list[str]:
    found: dict[str, None] = {}
    for model in (KeptWork, Event, SlowTransaction):
        rows = model._default_manager.using(database()).filter(condition).exclude(request_id="").order_by("request_id")
        found |= dict.fromkeys(rows.values_list("request_id", flat=True).distinct()[:_MOST_OF_EACH])
    return list(found)[:_MOST_OF_EACH]


# -- issues ---------------------------------------------------------------------------------------------------------------


def _issues(terms: Terms) -> QuerySet[Issue]:
    found = Issue.objects.using(database()).order_by("-last_seen", "-pk")
    for word in terms.words:
        found = found.filter(
            Q(title__icontains=word)
            | Q(place__icontains=word)
            | Q(logger__icontains=word)
            | Q(Exists(Sighting.objects.filter(issue=OuterRef("pk"), endpoint=word)))
        )
    for one in terms.filters:
        condition = _condition(one)
        found = found.exclude(condition) if one.is_not else found.filter(condition)
    return found


def _condition(one: Filter) -> Q:
    match one.name:
        case "is":
            return Q(status=one.value)
        case "level":
            return Q(level=one.value)
        case "last":
            return _lately(one.value)
        case "user":
            users = AffectedUser.objects.filter(issue=OuterRef("pk"), user__in=[one.value, hashed(one.value)])
            return Q(Exists(users))
        case "env":
            return _seen(environment=one.value)
        case "endpoint":
            return _seen(endpoint=one.value)
        case "release":
            return _seen(release__startswith=one.value)
        case _:
            return Q(Exists(TagValue.objects.filter(issue=OuterRef("pk"), name=one.name, value=one.value)))


def _seen(**where: str) -> Q:
    return Q(Exists(Sighting.objects.filter(issue=OuterRef("pk"), **where)))


def _lately(value: str) -> Q:
    seconds = seconds_of(value)
    # What is no stretch of time excludes nothing.
    return Q(pk__gt=0) if seconds is None else Q(last_seen__gte=moment_of(clock.now()) - timedelta(seconds=seconds))
