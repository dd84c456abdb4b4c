"""Every way in which code reports one failure several times over, and two failures once each."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse

from crm_monitoring import capture_exception, get_logger

logger = get_logger("tests.breakages")
standard = logging.getLogger("tests.breakages.standard")


class Outer(Exception):
    pass


def fail() -> None:
    raise ValueError("inner")


def logged_in_an_except_block() -> None:
    try:
        fail()
    except ValueError as error:
        logger.error("fetch_failed", error=str(error), page=3)


def logged_and_raised() -> None:
    try:
        fail()
    except ValueError:
        logger.exception("fetch_failed", page=3)
        raise


def logged_by_the_standard_library_and_raised() -> None:
    try:
        fail()
    except ValueError:
        standard.exception("fetch failed")
        raise


def captured_and_raised() -> None:
    try:
        fail()
    except ValueError as error:
        capture_exception(error, extra={"page": 3})
        raise


def logged_captured_and_raised() -> None:
    """What the guide shows."""
    try:
        fail()
    except ValueError as error:
        logger.error("fetch_failed", error=str(error), page=3)
        capture_exception(error, extra={"query": "organisations"}, tags={"step": "fetch"})
        raise


def raised_from() -> None:
    try:
        fail()
    except ValueError as error:
        logger.exception("fetch_failed", page=3)
        raise Outer("outer") from error


def raised_in_an_except_block() -> None:
    try:
        fail()
    except ValueError as error:
        capture_exception(error)
        raise Outer("outer")  # noqa: B904 - the implicit context is the case


def raised_from_none() -> None:
    try:
        fail()
    except ValueError as error:
        capture_exception(error)
        raise Outer("outer") from None


def grouped() -> None:
    try:
        fail()
    except ValueError as error:
        capture_exception(error)
        raise ExceptionGroup("several", [error, KeyError("other")]) from None


def raised_through_three_layers() -> None:
    try:
        try:
            logged_and_raised()
        except ValueError as error:
            capture_exception(error, extra={"layer": 2})
            raise
    except ValueError:
        logger.exception("layer_failed", layer=3)
        raise


def captured_outside_in() -> None:
    try:
        try:
            fail()
        except ValueError as error:
            raise Outer("outer") from error
    except Outer as error:
        capture_exception(error)
        capture_exception(error.__cause__)


ESCAPING: list[Callable[[], None]] = [
    logged_and_raised,
    logged_by_the_standard_library_and_raised,
    captured_and_raised,
    logged_captured_and_raised,
    raised_from,
    raised_in_an_except_block,
    raised_from_none,
    grouped,
    raised_through_three_layers,
]
HANDLED: list[Callable[[], None]] = [logged_in_an_except_block, captured_outside_in]


def two_failures() -> None:
    for _ in range(2):
        try:
            fail()
        except ValueError:
            logger.exception("fetch_failed")


def many_failures() -> None:
    for number in range(50):
        try:
            raise ValueError(number)
        except ValueError as error:
            capture_exception(error)


SHARED = Outer("one object for all")


def raises_a_shared_exception() -> None:
    raise SHARED


WAYS = {way.__name__: way for way in [*ESCAPING, *HANDLED, two_failures, many_failures, raises_a_shared_exception]}


def returns_its_id() -> str | None:
    try:
        fail()
    except ValueError as error:
        return capture_exception(error)


def sync(request: HttpRequest, how: str) -> HttpResponse:
    WAYS[how]()
    return JsonResponse({})


async def asynchronous(request: HttpRequest, how: str) -> HttpResponse:
    WAYS[how]()
    return JsonResponse({})


def is_handled(event: dict[str, Any]) -> bool:
    """Whether the event says that the code went on."""
    mechanisms = [value["mechanism"] for value in event["exception"]["values"]]
    return [bool(mechanism["handled"]) for mechanism in mechanisms if "handled" in mechanism][-1]
