"""
When rules are looked at: after a flush that has news, by whichever process comes first, and by the command.

All processes together look at most every `EVERY_SECONDS`. A thread waits for its turn, sends, and ends within half a minute;
what it leaves unsent is in the database.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass, field
from time import monotonic, sleep, time

from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from crm_monitoring.dashboard import config
from crm_monitoring.dashboard.alerts import bundling, channels, delivery, evaluation, rules, writing
from crm_monitoring.dashboard.alerts.delivery import Outcome
from crm_monitoring.dashboard.alerts.evaluation import Change, Step
from crm_monitoring.dashboard.alerts.rules import Rule
from crm_monitoring.dashboard.fields import moment_of
from crm_monitoring.dashboard.models import Delivery
from crm_monitoring.dashboard.store import alerts, answered, database, deliveries, deploys, leases
from crm_monitoring.dashboard.store.alerts import Queued
from crm_monitoring.extending import after_fork
from crm_monitoring.faults import guarded

EVERY_SECONDS = 15.0

_LEASE = "alerts"
_POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Round:
    """What one round did: the alerts that changed, None where it was not its turn, and what became of the messages."""

    changes: Sequence[Change] | None
    outcomes: Sequence[Outcome]


def problems() -> list[str]:
    """Return a sentence for each rule or channel that cannot be used, and for each channel that takes no messages."""
    unusable = (*rules.problems(), *channels.problems())
    found = sorted({f"{problem.id}: {problem.key} cannot be used as it is set." for problem in unusable})
    try:
        failing = answered(deliveries.failing)
    except Error:
        # That the database cannot be asked is told by whoever writes to it.
        return found
    return found + [
        f"Alerts are waiting for the channel {channel!r}, which last failed with {error}." for channel, error in failing
    ]


# -- one round ------------------------------------------------------------------------------------------------------------


def run_round() -> Round:
    """
    Look at the rules once all processes have let `EVERY_SECONDS` pass, and send what is due.

    Where another process had its turn meanwhile, it has seen what was written before this call.

    Raises:
        django.db.Error: if the database cannot be asked.
    """
    changes = evaluate(time()) if _wait_for_turn() else None
    return Round(changes, delivery.deliver() if deliveries.is_waiting(time()) else [])


def _wait_for_turn() -> bool:
    deadline = monotonic() + EVERY_SECONDS
    while not leases.take(_LEASE, EVERY_SECONDS):
        if monotonic() >= deadline:
            return False
        sleep(_POLL_SECONDS)
    return True


def look(now: float, given: Sequence[Rule] | None = None) -> list[tuple[Rule, list[Change]]]:
    """
    Return what would become of the subjects of each rule; changes nothing.

    Args:
        given: The rules to look at, those that are active unless it is given.
    """
    looked_at = rules.active() if given is None else given
    quiet = _quiet(now)
    return [(rule, _changes(rule, looked_at, now, quiet)) for rule in looked_at]


def _changes(rule: Rule, active: Sequence[Rule], now: float, quiet: set[str]) -> list[Change]:
    if rule.is_about_issues:
        return bundling.changes_of_issues(rule, _channels(rule), _names_of_issue_rules(active), now)
    return evaluation.changes(rule, list(rule.findings(now)), alerts.of(rule.name), now, quiet)


def _names_of_issue_rules(active: Sequence[Rule]) -> list[str]:
    return [rule.name for rule in active if rule.is_about_issues]


def _quiet(now: float) -> set[str]:
    seconds = config.get().DEPLOY_QUIET_SECONDS
    return deploys.since(moment_of(now - seconds)) if seconds else set()


def evaluate(now: float) -> list[Change]:
    """
    Look at every rule, change its alerts and queue their messages.

    Returns:
        The changes of which this call told people, none of those that another process made first.
    """
    return _evaluate(now)[0]


def _evaluate(now: float) -> tuple[list[Change], bool]:
    """Return what `evaluate` does, and whether somebody has to look again soon though nothing happens."""
    active, quiet = rules.active(), _quiet(now)
    told: list[Change] = []
    waits = False
    for rule in active:
        changes = _changes(rule, active, now, quiet)
        waits |= any(change.waits for change in changes)
        told += _tell_of_issues(rule, changes, now) if rule.is_about_issues else _tell(changes, now)
    alerts.forget({rule.name for rule in active}, now)
    return told, waits


def _tell(changes: Sequence[Change], now: float) -> list[Change]:
    return [change for change in changes if _make(change, now) and change.step]


def _make(change: Change, now: float) -> bool:
    if not change.becomes and change.step is None:
        return False
    queued = None if change.step is None else _queued(change, change.step, now)
    return alerts.advance(change.alert, change.becomes, queued, now)


def _queued(change: Change, step: Step, now: float) -> Queued:
    return Queued(
        kind=Delivery.Kind(step.value),
        channels=_channels(change.rule),
        body=lambda alert: writing.of_change(change, alert, moment_of(now)).to_json(),
    )


def _tell_of_issues(rule: Rule, changes: Sequence[Change], now: float) -> list[Change]:
    alerts.end_of_issues(rule.name, moment_of(now - rule.window), now)
    told = [change for change in changes if change.step]
    if not told:
        return []
    queued = Queued(
        kind=Delivery.Kind.START,
        channels=_channels(rule),
        body=lambda alert: writing.of_issues(told, alert, moment_of(now)).to_json(),
    )
    is_ours = alerts.tell_of_issues(rule.name, bundling.alerts_of(told, now), queued, now)
    return told if is_ours else []


def _channels(rule: Rule) -> list[str]:
    usable = [channel.name for channel in channels.active()]
    return [name for name in usable if not rule.channels or name in rule.channels]


# -- after a flush --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Running:
    """The thread of this process, if there is one; `has_looked` once news come too late for it, `again` if some came."""

    thread: threading.Thread | None = None
    has_looked: bool = False
    again: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)


_running = _Running()


def after_flush() -> None:
    """Look at the rules soon, in a thread; not in the tests of a host."""
    if not config.is_in_tests():
        with _running.lock:
            if _running.thread is not None and _running.thread.is_alive():
                _running.again = True
            else:
                _start()


def _start() -> None:
    _running.again = False
    # In a context of its own: it is nobody's request, command or trace.
    _running.thread = threading.Thread(target=Context().run, args=(_run,), name="crm_monitoring-alerts", daemon=True)
    # An interpreter that ends starts none; what is unsent is the next process's.
    with suppress(RuntimeError):
        _running.thread.start()


def _run() -> None:
    _look_at_alerts()
    with _running.lock:
        _running.thread = None
        if _running.again:
            # What came while it sent is another round's.
            _start()


@guarded
def _look_at_alerts() -> None:
    try:
        if _wait_for_turn():
            with _running.lock:
                _running.again = False
            _, waits = _evaluate(time())
            with _running.lock:
                _running.again |= waits
        if deliveries.is_waiting(time()):
            delivery.deliver()
    except Error:
        # What is not changed or sent now is found by the next round; whoever writes tells of a database that fails.
        pass
    finally:
        # SQLite's own close() spares a database in memory, but this connection is the thread's alone.
        BaseDatabaseWrapper.close(connections[database()])


def reset() -> None:
    """Forget the thread, as in a forked child, which has none."""
    global _running
    _running = _Running()
    delivery.reset()


after_fork(reset)
