"""Long chains and large groups of exceptions arrive, folded."""

from __future__ import annotations

from typing import Any

import pytest
import sentry_sdk

from crm_monitoring import capture_exception, faults, get_logger
from crm_monitoring.sentry.exceptions import MAX_EXCEPTIONS
from crm_monitoring.sentry.transport import MemoryTransport


def chain(length: int, *, explicit: bool = True) -> BaseException:
    error: BaseException | None = None
    for number in range(length):
        following = ValueError(str(number))
        if explicit:
            following.__cause__ = error
        else:
            following.__context__ = error
        error = following
    assert error is not None
    return error


def group(size: int) -> BaseException:
    return ExceptionGroup("many", [ValueError(str(number)) for number in range(size)])


def nested(depth: int) -> BaseException:
    error: Exception = ValueError("innermost")
    for _ in range(depth):
        error = ExceptionGroup("outer", [error])
    return error


def in_group(length: int) -> BaseException:
    return ExceptionGroup("one", [chain(length)])  # type: ignore[list-item]


def values_of(event: dict[str, Any]) -> list[dict[str, Any]]:
    return event["exception"]["values"]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("error", "total"),
    [
        (chain(5_000), 5_000),
        (chain(5_000, explicit=False), 5_000),
        (group(10_000), 10_001),
        (nested(5_000), 5_001),
        (in_group(5_000), 5_001),
        (chain(MAX_EXCEPTIONS + 1), MAX_EXCEPTIONS + 1),
    ],
    ids=["chain", "contexts", "group", "nested", "chain in a group", "just over"],
)
def test_a_failure_of_thousands_of_exceptions_is_one_event_that_says_how_many(
    sentry: MemoryTransport, error: BaseException, total: int
) -> None:
    event_id = capture_exception(error)

    (event,) = sentry.events
    assert event["event_id"] == event_id
    assert len(values_of(event)) == MAX_EXCEPTIONS
    assert event["contexts"]["exceptions"] == {"total": total, "shown": MAX_EXCEPTIONS}
    assert faults.losses() == {}


def test_the_title_and_the_root_cause_are_kept(sentry: MemoryTransport) -> None:
    capture_exception(chain(5_000))

    values = values_of(sentry.events[0])
    assert [values[-1]["value"], values[0]["value"]] == ["4999", "0"]


def test_as_many_as_are_shown_are_described_by_the_sdk_alone(sentry: MemoryTransport) -> None:
    capture_exception(chain(MAX_EXCEPTIONS))

    (event,) = sentry.events
    assert len(values_of(event)) == MAX_EXCEPTIONS
    assert "exceptions" not in event["contexts"]


@pytest.mark.parametrize("error", [chain(60), group(60)], ids=["chain", "group"])
def test_folded_exceptions_say_what_they_hang_on(sentry: MemoryTransport, error: BaseException) -> None:
    capture_exception(error)

    mechanisms = [value["mechanism"] for value in values_of(sentry.events[0])]
    assert [mechanism["exception_id"] for mechanism in mechanisms[::-1]][:3] == [0, 1, 2]
    assert mechanisms[-2]["parent_id"] == 0
    assert mechanisms[-2]["source"] in ("__cause__", "exceptions[0]")


def test_a_circle_of_causes_ends(sentry: MemoryTransport) -> None:
    error = chain(60)
    innermost = error
    while innermost.__cause__ is not None:
        innermost = innermost.__cause__
    innermost.__cause__ = error

    capture_exception(error)

    assert sentry.events[0]["contexts"]["exceptions"]["total"] == 60


def test_a_logged_group_of_thousands_is_an_event_too(sentry: MemoryTransport) -> None:
    get_logger("shop").error("import_failed", exc_info=group(10_000))
    sentry_sdk.flush()

    assert sentry.events[0]["contexts"]["exceptions"]["total"] == 10_001
