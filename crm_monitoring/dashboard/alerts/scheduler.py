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
from crm_monitoring.dashboard.alerts import channels, delivery, evaluation, messages, rules
from crm_monitoring.dashboard.alerts.delivery import Outcome
from crm_monitoring.dashboard.alerts.evaluation import Change, Step
from crm_monitoring.dashboard.alerts.rules import Finding, Rule
from crm_monitoring.dashboard.fields import moment_of
from crm_monitoring.dashboard.models import Alert
from crm_monitoring.dashboard.store import alerts, database, leases
from crm_monitoring.dashboard.store.alerts import Wanted
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
        failing = alerts.failing()
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
    return Round(changes, delivery.deliver() if alerts.is_waiting(time()) else [])


def _wait_for_turn() -> bool:
    deadline = monotonic() + EVERY_SECONDS
    while not leases.take(_LEASE, EVERY_SECONDS):
        if monotonic() >= deadline:
            return False
        sleep(_POLL_SECONDS)
    return True


def look(now: float) -> list[tuple[Rule, list[Finding], list[Change]]]:
    """Return what each rule finds, and what would change; changes nothing."""
    found = [(rule, list(rule.findings(now))) for rule in rules.active()]
    return [(rule, all_of, evaluation.changes(rule, all_of, alerts.of(rule.name), now)) for rule, all_of in found]


def evaluate(now: float) -> list[Change]:
    """
    Look at every rule, change its alerts and queue their messages.

    Returns:
        The changes that this call made, none of those that another process made first.
    """
    made: list[Change] = []
    for rule, found, changes in look(now):
        made += [change for change in changes if _make(change, now)]
        _keep_values(rule, found)
    alerts.forget({rule.name for rule in rules.active()}, now)
    return made


def _keep_values(rule: Rule, found: Sequence[Finding]) -> None:
    values = {(finding.environment, finding.subject): finding.value for finding in found}
    for key, alert in alerts.of(rule.name).items():
        if alert.state == Alert.State.FIRING and values.get(key, alert.value) != alert.value:
            alerts.measure(alert, values[key])


def _make(change: Change, now: float) -> bool:
    wanted = _wanted(change, now)
    if change.step is Step.START:
        return alerts.start(wanted, now)
    if change.step is Step.REMINDER:
        return alerts.remind(wanted, now, change.rule.cooldown)
    return alerts.end(wanted, now)


def _wanted(change: Change, now: float) -> Wanted:
    about = change.about
    began = change.finding.since if change.finding else None
    return Wanted(
        rule=change.rule.name,
        environment=about.environment,
        subject=about.subject,
        title=about.title,
        value=about.value,
        since=began or moment_of(now),
        again=began is not None,
        channels=_channels(change.rule),
        body=lambda alert: messages.of_change(change, alert, moment_of(now)).to_json(),
    )


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
            evaluate(time())
        if alerts.is_waiting(time()):
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
