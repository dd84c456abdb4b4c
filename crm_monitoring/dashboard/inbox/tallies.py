"""
Counts events that are not kept: those that the quota holds back, and all where Sentry keeps them. An issue is true to the last one.

What is counted waits for the next flush, by issue and endpoint; past the bound it is lost, and counted as such.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from time import time
from typing import Any

from django.db import Error

from crm_monitoring import faults
from crm_monitoring.dashboard.inbox.grouping import group_of
from crm_monitoring.dashboard.inbox.untrusted import mapping
from crm_monitoring.dashboard.inbox.waiting import FULL, UNWRITABLE
from crm_monitoring.dashboard.metrics import collector, hashed
from crm_monitoring.dashboard.models import ENVIRONMENT_LENGTH, NAME_LENGTH, RELEASE_LENGTH
from crm_monitoring.dashboard.store import Group, Tally, is_values_fault, issue_writer
from crm_monitoring.dashboard.texts import one_line, string
from crm_monitoring.extending import after_fork, sentry_status

MAX_TALLIES = 500
MAX_USERS = 100
"""How many users of one tally are remembered between two flushes."""

UNWRITTEN = "inbox_unwritten_counts"

_ERRORS = ("error", "fatal")


class _Tallies:
    def __init__(self) -> None:
        self.by_key: dict[tuple[str, str], Tally] = {}
        # Reentrant: a finaliser may report a failure while its own thread is in here.
        self.lock = threading.RLock()


_held = _Tallies()


def count_held_back(outline: Mapping[str, Any]) -> None:
    """Count an event that the quota holds back."""
    group = group_of(outline)
    if group.level in _ERRORS:
        collector.count_error(group.fingerprint)
    count(outline, group)


def count(event: Mapping[str, Any], group: Group) -> None:
    """Count an event that is not kept here, by its outline or as a whole."""
    now, status = time(), sentry_status()
    endpoint = one_line(event.get("transaction"), NAME_LENGTH)
    user = string(mapping(event.get("user")).get("id"))
    with _held.lock:
        tally = _held.by_key.get((group.fingerprint, endpoint))
        if tally is None:
            if len(_held.by_key) >= MAX_TALLIES:
                faults.lose(FULL)
                return
            tally = _held.by_key[group.fingerprint, endpoint] = Tally(
                group=group,
                environment=one_line(event.get("environment") or status.environment, ENVIRONMENT_LENGTH),
                release=one_line(event.get("release") or status.release, RELEASE_LENGTH),
                endpoint=endpoint,
                first=now,
                last=now,
            )
        tally.count += 1
        tally.last = now
        if user and len(tally.users) < MAX_USERS:
            tally.users.add(hashed(user))


def write() -> None:
    """
    Write what is counted.

    Raises:
        django.db.Error: if the database cannot take it; what is not written waits for the next call.
    """
    for key in list(_held.by_key):
        with _held.lock:
            tally = _held.by_key.pop(key, None)
        if tally is not None:
            _write(key, tally)


def _write(key: tuple[str, str], tally: Tally) -> None:
    try:
        issue_writer.record_tally(tally)
    except Error as error:
        if is_values_fault(error):
            faults.lose(UNWRITABLE, tally.count)
            faults.record("Writing a count to the inbox", error)
            return
        _put_back(key, tally)
        raise


def _put_back(key: tuple[str, str], tally: Tally) -> None:
    with _held.lock:
        newer = _held.by_key.get(key)
        if newer is not None:
            tally.count, tally.last = tally.count + newer.count, newer.last
            tally.users |= newer.users
        _held.by_key[key] = tally


def has_work() -> bool:
    """Whether anything waits to be written."""
    return bool(_held.by_key)


def lose() -> None:
    """Count what waits as lost."""
    with _held.lock:
        waiting = sum(tally.count for tally in _held.by_key.values())
        _held.by_key.clear()
    if waiting:
        faults.lose(UNWRITTEN, waiting)


def reset() -> None:
    """Forget what waits, as in a forked child: it is the parent's to write."""
    global _held
    _held = _Tallies()


after_fork(reset)
