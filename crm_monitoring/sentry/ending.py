"""Sentry's part in the end of a process: it sends what is held, says what was held back, sends what waits, and tells what was lost."""

from __future__ import annotations

import logging
from collections.abc import Callable

import sentry_sdk

from crm_monitoring import conf, faults, process
from crm_monitoring.process import Stage
from crm_monitoring.sentry import sessions
from crm_monitoring.sentry.events import capture_crash
from crm_monitoring.sentry.failures import send_all_held
from crm_monitoring.sentry.transport import lose_waiting

_log = logging.getLogger("crm_monitoring")


def prepare(tell_held_back: Callable[[], object]) -> None:
    """Take part; called when the client has started. Safe to call again."""
    process.at_end(send_all_held, Stage.REPORT)
    process.at_end(tell_held_back, Stage.REPORT)
    process.at_end(sessions.flush, Stage.REPORT)
    process.at_end(_close, Stage.CLOSE)
    process.at_end(_tell_lost, Stage.TELL)
    process.at_crash(_report_crash)
    process.allow(sentry_sdk.get_client().options.get("shutdown_timeout", conf.get().SHUTDOWN_SECONDS))


def _report_crash(error: BaseException) -> None:
    capture_crash(error, "process")


def _close() -> None:
    sentry_sdk.get_client().close()


def _tell_lost() -> None:
    lose_waiting()
    lost = faults.tell_losses()
    if lost:
        _log.warning("events_lost", extra={"lost": lost})
