"""An exception with all that led to it, as an event has it: whole up to a bound, and folded past it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from crm_monitoring.sentry.sdk import Event, Options, Part, event_from_exception, single_exception_from_error_tuple

MAX_EXCEPTIONS = 50
"""How many exceptions of a chain or a group an event shows; of longer ones the outermost half and the innermost."""

_MAX_COUNTED = 100_000


class _Link(NamedTuple):
    """One exception, and how it hangs on another: by `__cause__`, `__context__` or as a member of a group."""

    number: int
    error: BaseException
    parent: int | None
    source: str | None


def described(error: BaseException, options: Options, mechanism: Part) -> tuple[Event, Part]:
    """
    Return the event for `error`, and its hint, as sentry_sdk makes them.

    Past `MAX_EXCEPTIONS` in a chain or a group only half from each end are shown, and the context "exceptions" says how many there are:
    the SDK would describe each, by a call within a call, and lose an event of ten thousand.
    """
    links = list(_links(error))
    if len(links) <= MAX_EXCEPTIONS:
        return event_from_exception(error, options, mechanism)
    half = MAX_EXCEPTIONS // 2
    values = [_value(link, options, mechanism) for link in (*links[:half], *links[-half:])]
    event: Event = {
        "level": "error",
        "exception": {"values": values[::-1]},
        "contexts": {"exceptions": {"total": len(links), "shown": len(values)}},
    }
    return event, {"exc_info": (type(error), error, error.__traceback__)}


def _links(error: BaseException) -> Iterator[_Link]:
    """Yield what is to be shown, in the SDK's order: an exception, what led to it, and the members of a group."""
    waiting = [_Link(0, error, None, None)]
    seen: set[int] = set()
    while waiting and len(seen) < _MAX_COUNTED:
        link = waiting.pop()
        if id(link.error) in seen:
            continue
        link = link._replace(number=len(seen))
        seen.add(id(link.error))
        yield link
        waiting += reversed(list(_led_to(link)))


def _led_to(link: _Link) -> Iterator[_Link]:
    error, number = link.error, link.number
    cause = error.__cause__ if error.__suppress_context__ else error.__context__
    if cause is not None:
        yield _Link(0, cause, number, "__cause__" if error.__suppress_context__ else "__context__")
    if isinstance(error, BaseExceptionGroup):
        for index, member in enumerate(error.exceptions):
            yield _Link(0, member, number, f"exceptions[{index}]")


def _value(link: _Link, options: Options, mechanism: Part) -> Part:
    value: Part = single_exception_from_error_tuple(
        type(link.error),
        link.error,
        link.error.__traceback__,
        client_options=dict(options),
        mechanism=mechanism,
        exception_id=link.number,
        parent_id=link.parent,
        source=link.source,
    )
    return value
