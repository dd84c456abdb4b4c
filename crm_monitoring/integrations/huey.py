"""Tasks of huey as units of work, by its signals."""

from __future__ import annotations

import logging
import sys
from collections import OrderedDict
from functools import cache, wraps
from typing import Any

from huey import signals
from huey.api import Huey, Task
from huey.signals import Signal

from crm_monitoring import faults
from crm_monitoring.integrations.asked import KEY, asking, begin_job
from crm_monitoring.units import end_unit
from crm_monitoring.work import Unit

_running: dict[str, Unit | None] = {}
_errors: dict[str, BaseException | None] = {}
_send, _execute = Signal.send, Huey.execute


@cache
def install() -> None:
    """Make every task that starts from here on a unit of work, which knows who has asked for it."""
    # Each Huey has signals of its own, and no list has them all: what they share is replaced, here alone.
    Signal.send = _send_heard
    Huey.execute = _execute_watched
    logging.getLogger("huey").addFilter(_is_news)


@wraps(_send)
def _send_heard(self: Signal, signal: str, task: Task, *args: Any, **kwargs: Any) -> None:
    _hear(signal, task)
    _send(self, signal, task, *args, **kwargs)


@wraps(_execute)
def _execute_watched(self: Huey, task: Task, *args: Any, **kwargs: Any) -> Any:
    try:
        return _execute(self, task, *args, **kwargs)
    finally:
        end_unit(_running.pop(task.id, None), _errors.pop(task.id, None))


@faults.guarded
def _hear(signal: str, task: Task) -> None:
    if signal == signals.SIGNAL_ENQUEUED:
        _sign(task)
    elif signal == signals.SIGNAL_EXECUTING:
        _running[task.id] = begin_job(f"{type(task).__module__}.{task.name}", task.id, getattr(task.kwargs, KEY, None))
    elif signal in (signals.SIGNAL_ERROR, signals.SIGNAL_TIMEOUT):
        _errors[task.id] = sys.exc_info()[1]
    elif signal == signals.SIGNAL_RETRYING:
        end_unit(_running.pop(task.id, None), _errors.pop(task.id, None), is_failure=False)


def _sign(task: Task) -> None:
    asked = asking()
    if asked and not hasattr(task.kwargs, KEY):
        # A message has no place for it. A mapping of the standard library keeps it as an attribute, which is pickled too and which
        # no function is called with: who runs the task need not have us.
        task.kwargs = OrderedDict(task.kwargs)
        setattr(task.kwargs, KEY, asked)


def _is_news(record: logging.LogRecord) -> bool:
    """Leave out huey's own line of a failure: the unit's has the traceback too."""
    return not (_running and record.exc_info and str(record.msg).startswith("Unhandled exception in task"))
