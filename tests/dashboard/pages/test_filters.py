"""The filters that write moments for people."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.template import Context, Template
from django.utils import translation


@pytest.fixture(autouse=True)
def _english() -> Iterator[None]:
    """Whatever language the last request of this thread was in."""
    with translation.override("en"):
        yield


def written(expression: str, value: datetime) -> str:
    template = Template("{% load monitoring_figures %}{{ " + expression + " }}")
    return template.render(Context({"value": value}))


@pytest.mark.parametrize("use_tz", [True, False])
def test_moments_are_those_of_the_current_time_zone(settings: Any, use_tz: bool) -> None:
    settings.USE_TZ, settings.TIME_ZONE = use_tz, "Europe/Paris"
    noon = datetime(2026, 7, 1, 12, 0, 5, tzinfo=UTC)

    assert written("value|clock", noon) == '<time datetime="2026-07-01T12:00:05+00:00">14:00:05</time>'
    assert "07/01/2026 2 p.m." in written("value|moment", noon)


@pytest.mark.parametrize("use_tz", [True, False])
def test_an_age_is_that_of_any_moment(settings: Any, use_tz: bool) -> None:
    settings.USE_TZ = use_tz
    now = datetime.now(UTC)

    assert "just now" in written("value|age", now)
    assert "2\xa0hours ago" in written("value|age", now - timedelta(hours=2))
