"""Tasks of django-q2 as units of work, by its signals, and its interface for error reporters."""

from __future__ import annotations

import logging
import sys
from functools import cache
from typing import Any

from django_q import conf
from django_q.signals import post_execute_in_worker, pre_enqueue, pre_execute
from django_q.utils import get_func_repr

from crm_monitoring import faults
from crm_monitoring.integrations.asked import KEY, asking, begin_job
from crm_monitoring.units import end_unit
from crm_monitoring.work import Unit

_running: dict[str, Unit | None] = {}
_errors: dict[str, BaseException | None] = {}


@cache
def install() -> None:
    """Make every task that starts from here on a unit of work, which knows who has asked for it."""
    pre_enqueue.connect(_sign, dispatch_uid="crm_monitoring")
    pre_execute.connect(_begin, dispatch_uid="crm_monitoring")
    post_execute_in_worker.connect(_end, dispatch_uid="crm_monitoring")
    # The signals know a failure as text only. Its worker takes this over when it is imported.
    conf.error_reporter = conf.error_reporter or conf.ErrorReporter(())
    conf.error_reporter.targets.append(_Reporter())
    logging.getLogger("django-q").addFilter(_is_news)


class _Reporter:
    """What django-q2 calls where it handles what a task has raised."""

    @faults.guarded
    def report(self) -> None:
        """Remember it until the task's end: a process of django-q2 executes one at a time."""
        _errors.update(dict.fromkeys(_running, sys.exc_info()[1]))


@faults.guarded
def _sign(sender: object, task: dict[str, Any], **kwargs: Any) -> None:
    asked = asking()
    if asked:
        task.setdefault(KEY, asked)


@faults.guarded
def _begin(sender: object, task: dict[str, Any], **kwargs: Any) -> None:
    _running[task["id"]] = begin_job(get_func_repr(task["func"]), task["id"], task.pop(KEY, None))


@faults.guarded
def _end(sender: object, task: dict[str, Any], **kwargs: Any) -> None:
    error = _errors.pop(task["id"], None)
    end_unit(_running.pop(task["id"], None), error, is_failure=error is not None)


def _is_news(record: logging.LogRecord) -> bool:
    """Leave out the monitor's line of a failure, a traceback as text: the unit's has it too."""
    return not (record.levelno >= logging.ERROR and (record.module, record.funcName) == ("monitor", "monitor"))
