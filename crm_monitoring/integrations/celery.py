"""Celery's tasks as units of work, by Celery's own signals: a worker's lines are ours, and carry the request that asked for the task."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from celery import signals, states
from django_structlog.celery.signals import bind_extra_task_metadata

from crm_monitoring import conf, faults, process
from crm_monitoring.logs import bind, bound
from crm_monitoring.sentry import TRACE_HEADERS, trace_headers
from crm_monitoring.units import begin_unit, end_unit
from crm_monitoring.work import Unit, current_work

if TYPE_CHECKING:
    from celery import Task

HEADER = "crm_monitoring_request_id"
"""The header of a task's message that holds the id of the request, task or command that it was asked for by."""

_LOGGERS_OF_TASKS = ("celery.app.trace", "celery.worker.strategy")

_running: dict[str, Unit | None] = {}


def install() -> None:
    """Make every task that starts from here on a unit of work. Safe to call again."""
    signals.before_task_publish.connect(_send_ids, dispatch_uid="crm_monitoring")
    signals.task_prerun.connect(_begin_task, dispatch_uid="crm_monitoring")
    bind_extra_task_metadata.connect(_bind_task, dispatch_uid="crm_monitoring")
    signals.task_postrun.connect(_end_task, dispatch_uid="crm_monitoring")
    signals.worker_process_shutdown.connect(_end_process, dispatch_uid="crm_monitoring")
    for name in _LOGGERS_OF_TASKS:
        logging.getLogger(name).addFilter(_without_arguments)
    if conf.get().CONFIGURE_LOGGING:
        signals.setup_logging.connect(_keep_logging, dispatch_uid="crm_monitoring")


def _keep_logging(**kwargs: Any) -> None:
    """Do nothing: where somebody listens, Celery leaves the root logger and standard output as they are."""


def _without_arguments(record: logging.LogRecord) -> bool:
    """Take from Celery's own lines what their text does not show: the task's arguments, whose names nobody knows, and its traceback again."""
    vars(record).pop("data", None)
    return True


@faults.guarded
def _send_ids(headers: dict[str, Any] | None = None, **kwargs: Any) -> None:
    # What nobody has asked for, as what beat sends, begins a trace of its own.
    known = {HEADER: bound().get("request_id"), **(trace_headers() if current_work() is not None else {})}
    if headers is None:
        return
    for name, value in known.items():
        if value is not None:
            headers.setdefault(name, value)
    work = current_work()
    if work is not None:
        work.note_asked(str(headers.get("task")), str(headers.get("id")))


@faults.guarded
def _begin_task(task_id: str, task: Task[..., Any], **kwargs: Any) -> None:
    sent = vars(task.request)
    fields = {**_fields_of(task_id, task), "request_id": sent.get(HEADER)}
    headers = {name: sent[name] for name in TRACE_HEADERS if sent.get(name)}
    _running[task_id] = begin_unit(task.name, "task", fields, headers)


@faults.guarded
def _bind_task(task: Task[..., Any], **kwargs: Any) -> None:
    """Called by django-structlog's worker, which has put what was bound where the task was asked for in place of what is bound here."""
    bind(_fields_of(task.request.id, task))


def _fields_of(task_id: str, task: Task[..., Any]) -> dict[str, str]:
    return {"task": task.name, "task_id": task_id}


@faults.guarded
def _end_task(task_id: str, task: Task[..., Any], retval: Any = None, state: str = "", **kwargs: Any) -> None:
    error = retval if state == states.FAILURE and isinstance(retval, BaseException) else None
    is_failure = error is not None and not isinstance(error, tuple(task.throws or ()))
    end_unit(_running.pop(task_id, None), error, is_failure=is_failure)


@faults.guarded
def _end_process(**kwargs: Any) -> None:
    """Called in a worker's child, which ends by `os._exit`."""
    process.end()
