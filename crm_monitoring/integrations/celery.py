"""Celery's tasks as units of work, by Celery's own signals: a worker's lines are ours, and carry the request that asked for the task."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import structlog
from celery import signals, states
from django_structlog.celery.signals import bind_extra_task_metadata

from crm_monitoring import conf, faults, process
from crm_monitoring.integrations.work import TASK, Run
from crm_monitoring.sentry import capture_crash, current_trace_id

if TYPE_CHECKING:
    from celery import Task

HEADER = "crm_monitoring_request_id"
"""The header of a task's message that holds the id of the request, task or command that it was asked for by."""

_LOGGERS_OF_TASKS = ("celery.app.trace", "celery.worker.strategy")

_running: dict[str, Run] = {}


def install() -> None:
    """Make every task that starts from here on a unit of work. Safe to call again."""
    signals.before_task_publish.connect(_send_request_id, dispatch_uid="crm_monitoring")
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
def _send_request_id(headers: dict[str, Any] | None = None, **kwargs: Any) -> None:
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    if headers is not None and request_id is not None:
        headers.setdefault(HEADER, request_id)


@faults.guarded
def _begin_task(task_id: str, task: Task[..., Any], **kwargs: Any) -> None:
    fields = _fields_of(task_id, task)
    tags: dict[str, str] = {name: fields[name] for name in ("task_id", "request_id") if name in fields}
    _running[task_id] = Run(task.name, "task", fields, tags, TASK)


@faults.guarded
def _bind_task(task: Task[..., Any], **kwargs: Any) -> None:
    """Called by django-structlog's worker, which has put what was bound where the task was asked for in place of what is bound here."""
    structlog.contextvars.bind_contextvars(**_fields_of(task.request.id, task))


def _fields_of(task_id: str, task: Task[..., Any]) -> dict[str, str]:
    ids = {"request_id": getattr(task.request, HEADER, None), "trace_id": current_trace_id()}
    return {
        "task": task.name,
        "task_id": task_id,
        **{name: str(value) for name, value in ids.items() if value is not None},
    }


@faults.guarded
def _end_task(task_id: str, task: Task[..., Any], retval: Any = None, state: str = "", **kwargs: Any) -> None:
    run = _running.pop(task_id, None)
    if run is None:
        return
    error = retval if state == states.FAILURE and isinstance(retval, BaseException) else None
    try:
        if error is not None and not isinstance(error, tuple(task.throws or ())):
            capture_crash(error, "celery")
    finally:
        run.end(error)
        run.unbind()


def _end_process(**kwargs: Any) -> None:
    """Called in a worker's child, which ends by `os._exit`."""
    process.end()
