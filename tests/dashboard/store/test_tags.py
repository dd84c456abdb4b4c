"""The index of tags: what an issue's events have in common, bounded whatever they hold."""

from __future__ import annotations

from typing import Any

import pytest

from crm_monitoring.dashboard.metrics import OTHER
from crm_monitoring.dashboard.models import Issue, TagValue
from crm_monitoring.dashboard.store import tags
from crm_monitoring.dashboard.store.tags import MOST_TAGS, MOST_VALUES
from tests.dashboard.bodies import event, keep

pytestmark = pytest.mark.django_db


def keep_with(count: int = 1, **given: str) -> Issue:
    return keep(event(), tags=given, count=count)


def test_each_value_is_counted_with_what_the_quota_held_back() -> None:
    keep_with(tenant="north", plan="free")
    keep_with(tenant="south", plan="free", count=3)
    issue = keep_with(tenant="south")

    assert tags.of(issue.pk) == {"tenant": [("south", 4), ("north", 1)], "plan": [("free", 4)]}


def test_an_event_that_is_written_again_is_counted_once() -> None:
    for _ in range(2):
        issue = keep(event(), event_id="1" * 32, tags={"tenant": "north"})

    assert tags.of(issue.pk) == {"tenant": [("north", 1)]}


def test_past_fifty_values_they_are_others() -> None:
    for number in range(MOST_VALUES + 10):
        issue = keep_with(order=str(number), tenant="north")
    keep_with(order="0")

    found = tags.of(issue.pk)
    assert found["order"][0] == (OTHER, 10)
    assert len(found["order"]) == MOST_VALUES + 1
    assert dict(found["order"])["0"] == 2
    assert found["tenant"] == [("north", MOST_VALUES + 10)]


def test_names_past_twenty_are_not_indexed() -> None:
    for number in range(MOST_TAGS + 5):
        issue = keep_with(**{f"tag{number}": "x"})

    assert len(tags.of(issue.pk)) == MOST_TAGS


def test_an_event_without_tags_asks_for_nothing(django_assert_max_num_queries: Any) -> None:
    keep(event())
    with django_assert_max_num_queries(15):
        keep(event())

    assert TagValue.objects.count() == 0
