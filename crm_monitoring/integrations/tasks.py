"""Tasks of `django.tasks` as units of work, from Django 6.0 on, by the signals of whatever backend runs them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import structlog
from django.tasks import TaskResultStatus
from django.tasks.signals import task_finished, task_started
from django_structlog.app_settings import app_settings
from django_structlog.tasks.signals import bind_extra_task_metadata

from crm_monitoring import faults
from crm_monitoring.integrations.work import TASK, Run
from crm_monitoring.sentry import capture_crash, set_tag

if TYPE_CHECKING:
    from django.tasks import TaskResult

_running: dict[str, Run] = {}


def install() -> None:
    """Make every task that starts from here on a unit of work. Safe to call again."""
    task_started.connect(_begin_task, dispatch_uid="crm_monitoring")
    bind_extra_task_metadata.connect(_bind_task, dispatch_uid="crm_monitoring")
    task_finished.connect(_end_task, dispatch_uid="crm_monitoring")


@faults.guarded
def _begin_task(sender: Any, task_result: TaskResult[Any, Any], **kwargs: Any) -> None:
    fields = _fields_of(task_result)
    _running[task_result.id] = Run(fields["task"], "task", fields, {"task_id": task_result.id}, TASK)


@faults.guarded
def _bind_task(sender: Any, task_result: TaskResult[Any, Any], **kwargs: Any) -> None:
    """Called by django-structlog, which has put what was bound where the task was enqueued in place of what is bound here."""
    structlog.contextvars.bind_contextvars(**_fields_of(task_result))
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    if request_id is not None:
        set_tag("request_id", request_id)


def _fields_of(task_result: TaskResult[Any, Any]) -> dict[str, str]:
    return {"task": task_result.task.module_path, "task_id": task_result.id}


@faults.guarded
def _end_task(sender: Any, task_result: TaskResult[Any, Any], **kwargs: Any) -> None:
    run = _running.pop(task_result.id, None)
    if run is None:
        return
    # Backends send the signal where they handle the exception.
    error = sys.exc_info()[1] if task_result.status == TaskResultStatus.FAILED else None
    try:
        if error is not None:
            capture_crash(error, "task")
    finally:
        run.end(error)
        # django-structlog writes its last line of the task after this, and clears at the next task's start.
        if not app_settings.DJANGO_TASKS_ENABLED:
            run.unbind()
