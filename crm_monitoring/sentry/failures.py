"""
One event for one failure, however often it is reported on its way.

A failure is a chain of exceptions: causes, contexts and the members of groups. Within a request, a command or a task reports are
held until it ends, or for some seconds, and each chain is sent once: with its outermost exception as the title, the fields of
every report, and `handled` false exactly when it escaped. Elsewhere the first report of a chain is sent at once, and later ones
get its id.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from contextlib import suppress
from contextvars import Context
from datetime import UTC, datetime
from time import perf_counter, time
from types import MappingProxyType
from typing import NamedTuple, cast
from uuid import uuid4

import sentry_sdk
from django.core.exceptions import RequestAborted
from django.http import UnreadablePostError

from crm_monitoring import background, conf, faults, process, severity
from crm_monitoring.registry import Registry
from crm_monitoring.sentry.breadcrumbs import UNTIL
from crm_monitoring.sentry.exceptions import described
from crm_monitoring.sentry.making import making
from crm_monitoring.sentry.marks import chain_of, event_of, mark
from crm_monitoring.sentry.mode import mode
from crm_monitoring.sentry.sdk import Event, Part, use_isolation_scope, use_scope
from crm_monitoring.work import HeldFailure, Unit, Work, current_work, use

MAX_HELD = 20
# With the second that writing it may take, a failure is told of within ten.
MAX_HELD_SECONDS = 8.0
_JOIN_SECONDS = 1.0
# A client that has gone away, or a server that shuts down.
_ignoring = Registry[[BaseException], bool]("The rule of what is no failure")
ignore_also = _ignoring.add
_GONE = (asyncio.CancelledError, RequestAborted, UnreadablePostError)


class _Held:
    """
    What holds reports in this process.

    Attributes:
        works: Requests and units that hold some.
        sending: Held while the background sends.
    """

    def __init__(self) -> None:
        self.start_over()

    def start_over(self) -> None:
        self.works: set[Work] = set()
        self.sending = threading.RLock()


_held = _Held()


class Report(NamedTuple):
    """What one report says of a failure besides its exception."""

    handled: bool = True
    mechanism: str = "generic"
    level: str = "error"
    logger: str | None = None
    line: str | None = None
    fields: Mapping[str, object] = MappingProxyType({})
    extra: Mapping[str, object] = MappingProxyType({})
    tags: Mapping[str, object] = MappingProxyType({})


class Failure:
    """A failure that is still under way: what is known of it so far."""

    def __init__(self, error: BaseException, about: Report) -> None:
        self.event_id = uuid4().hex
        self.since = perf_counter()
        self._error = error
        self._known: dict[int, BaseException] = {}
        self._event: Part = {"event_id": self.event_id, "timestamp": datetime.now(UTC), "level": about.level}
        self._mechanism = {"type": about.mechanism, "handled": True}
        self._lines: list[str] = []
        self._fields: Part = {}
        self._extra: Part = {}
        self._tags: Part = {}
        self.add(error, about)

    def add(self, error: BaseException, about: Report) -> None:
        """Take in one more report of the same failure."""
        chain = {id(one): one for one in chain_of(error)}
        if id(self._error) in chain:
            self._error = error
        self._known.update(chain)
        if not about.handled:
            self._mechanism = {"type": about.mechanism, "handled": False}
        self._event["level"] = max(self._event["level"], about.level, key=severity.rank_in_sentry)
        self._event.setdefault("logger", about.logger)
        self._extra.update(about.extra)
        self._tags.update(about.tags)
        self._fields.update(about.fields)
        if about.line is not None:
            self._lines.append(about.line)
        # Later scopes know more: the breadcrumbs since, the user that was read meanwhile.
        self._until = time()
        self._scopes = (sentry_sdk.get_isolation_scope().fork(), sentry_sdk.get_current_scope().fork())

    def is_of(self, error: BaseException) -> bool:
        """Whether `error` belongs to this failure: their chains share an exception."""
        return any(id(one) in self._known for one in chain_of(error))

    def send(self) -> str | None:
        """Send the event; returns its id, or None where it was dropped."""
        isolation, current = self._scopes
        with making(), use_isolation_scope(isolation), use_scope(current):
            options = sentry_sdk.get_client().options
            event, hint = described(self._error, options, self._mechanism)
            hint[UNTIL] = self._until
            # A copy: the thread that reports may add to it meanwhile.
            event.update(cast(Event, {name: value for name, value in self._event.copy().items() if value}))
            if self._lines:
                event.setdefault("contexts", {})["log"] = {"events": self._lines, **self._fields}
                _say(event["exception"]["values"][-1], self._lines[-1])
            # What is said of this failure counts more than what is said of all.
            return sentry_sdk.capture_event(event, hint=hint, extras=self._extra, tags=self._tags)


def _say(value: Part, line: str) -> None:
    """Give an exception without a text of its own what was logged of it."""
    if not value.get("value"):
        value["value"] = line


def report(error: BaseException, about: Report) -> str | None:
    """
    Report a failure, or one more time the same.

    Returns:
        The id of the event that stands for it, or None where nothing is sent.
    """
    if not mode().sends or is_ignored(error):
        return None
    sent = event_of(error)
    if sent is not None:
        return sent
    work = current_work()
    if work is None or work.concluded:
        return Failure(error, about).send()
    send_overdue(work)
    return _hold(work, error, about)


def _hold(work: Work, error: BaseException, about: Report) -> str:
    # Copies, here and below: the list shrinks in the background.
    for known in work.reports.copy():
        if known.is_of(error):
            known.add(error, about)
            return known.event_id
    if len(work.reports) >= MAX_HELD:
        _send_first(work)
    new = Failure(error, about)
    work.reports.append(new)
    _held.works.add(work)
    if work.concluded:
        # Meanwhile, by another thread, which may have missed this one.
        send_held(work)
    else:
        background.wake(MAX_HELD_SECONDS)
    return new.event_id


def send_overdue(work: Work) -> None:
    """Send what has been held for long: a stream may run for hours, and a command for ever."""
    while (first := _first(work)) is not None and perf_counter() - first.since > MAX_HELD_SECONDS:
        _send_first(work)


def send_held(work: Work) -> None:
    """Send every failure of the request, command or task, each once."""
    _held.works.discard(work)
    while work.reports:
        _send_first(work)


@faults.guarded
def _send_first(work: Work) -> None:
    try:
        first = work.reports.pop(0)
    except IndexError:
        # Another thread was faster.
        return
    first.send()


def _first(work: Work) -> HeldFailure | None:
    return next(iter(work.reports), None)


def _send_in_time() -> float | None:
    """Send what has been held for long, though nothing else may happen in the work until then."""
    with _held.sending:
        for work in _held.works.copy():
            # As part of the work: its event shows the request.
            Context().run(_send_overdue_of, work)
    ages = [perf_counter() - first.since for work in _held.works.copy() if (first := _first(work)) is not None]
    return max(0.0, MAX_HELD_SECONDS - max(ages)) if ages else None


def _send_overdue_of(work: Work) -> None:
    use(work)
    send_overdue(work)


def leave_unit(unit: Unit, error: BaseException | None = None) -> None:
    """
    Send what the unit holds, and leave it.

    Args:
        error: What escapes it. Who reports that outside once more gets the id of the event it has made here.
    """
    unit.concluded = True
    try:
        send_held(unit)
        _wait_for_others()
        made = None if error is None else event_of(error)
    finally:
        unit.leave()
    if error is not None and made is not None:
        mark(error, made)


def _wait_for_others() -> None:
    # Another thread may be sending something of it right now, and the process end next.
    _held.sending.acquire(timeout=_JOIN_SECONDS)
    # It was not had in time.
    with suppress(RuntimeError):
        _held.sending.release()


def send_all_held() -> None:
    """Send what the requests, commands and tasks of this process hold: it ends while they run, or somebody waits for all."""
    for work in _held.works.copy():
        Context().run(_send_held_of, work)
    _wait_for_others()


def _send_held_of(work: Work) -> None:
    use(work)
    send_held(work)


def admit(error: BaseException, event_id: str) -> bool:
    """Whether the event `event_id` may stand for this failure: none does yet, and it is one. From then on it does."""
    made = event_of(error)
    if is_ignored(error) or made not in (None, event_id) or is_held(error, event_id):
        return False
    # One that the quota holds back too: reported again, it is counted once.
    mark(error, event_id)
    return True


def is_held(error: BaseException, event_id: str | None = None) -> bool:
    """Whether what runs here holds a report of this failure, that will be another event than this one."""
    work = current_work()
    return work is not None and any(one.is_of(error) and one.event_id != event_id for one in work.reports.copy())


def is_ignored(error: BaseException) -> bool:
    """Whether nothing failed, for somebody has gone, or IGNORED_EXCEPTIONS names the exception's class, or one that it derives from."""
    if isinstance(error, _GONE) or any(ignores for _, ignores in _ignoring.results(error)):
        return True
    ignored = conf.get().IGNORED_EXCEPTIONS
    return any(
        kind.__name__ in ignored or f"{kind.__module__}.{kind.__qualname__}" in ignored for kind in type(error).__mro__
    )


process.after_fork(_held.start_over)
background.add(_send_in_time)
