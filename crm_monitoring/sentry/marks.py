"""Which exceptions belong to one failure, and which event that has made: remembered on the exceptions themselves."""

from __future__ import annotations

import os
from collections.abc import Iterator
from time import perf_counter
from typing import NamedTuple

from crm_monitoring.work import Unit, current_work

_SAME_FAILURE_SECONDS = 60.0
_MAX_CHAIN = 100
_MARK = "_crm_monitoring_event"


class _Mark(NamedTuple):
    event_id: str
    moment: float
    work: int | None
    process: int


def chain_of(error: BaseException) -> Iterator[BaseException]:
    """Yield `error` and all that led to it: causes, contexts, members of groups; at most a hundred."""
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting and len(seen) < _MAX_CHAIN:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions


def event_of(error: BaseException) -> str | None:
    """Return the id of the event that the same failure has made already: in the same work, or else outside of any, lately."""
    for one in chain_of(error):
        made = _mark_of(one)
        if made is not None and _is_of_this_work(made) and perf_counter() - made.moment < _SAME_FAILURE_SECONDS:
            return made.event_id
    return None


def _is_of_this_work(made: _Mark) -> bool:
    # One exception object may be raised again and again: in another request, command or task it is another failure.
    if made.work == _number() or made.process != os.getpid():
        # From another process it came as a copy, so this is its first time here.
        return True
    work = current_work()
    # A plain thread does not know the unit that has started it.
    return made.work is None and isinstance(work, Unit) and made.moment >= work.started_clock


def _mark_of(error: BaseException) -> _Mark | None:
    # By BaseException's own methods: a class may answer for any attribute, or let none be set.
    try:
        return _Mark(*BaseException.__getattribute__(error, _MARK))
    except AttributeError:
        return None


def mark(error: BaseException, event_id: str) -> None:
    """Remember on the exceptions themselves which event they have made."""
    # Nowhere else: a list of them would keep their frames alive, and few exceptions take weak references.
    # As a plain tuple: who unpickles an exception need not have us.
    made = tuple(_Mark(event_id, perf_counter(), _number(), os.getpid()))
    for one in chain_of(error):
        BaseException.__setattr__(one, _MARK, made)


def _number() -> int | None:
    work = current_work()
    return None if work is None else work.number
