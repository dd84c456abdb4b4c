"""Tasks of `django.tasks` as units of work, from Django 6.0 on, by the signals of whatever backend runs them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from django.tasks import TaskResultStatus
from django.tasks.signals import task_finished, task_started
from django_structlog.app_settings import app_settings
from django_structlog.tasks.signals import bind_extra_task_metadata

from crm_monitoring import faults
from crm_monitoring.logs import bind, bound, rebind
from crm_monitoring.units import begin_unit, end_unit, identify
from crm_monitoring.work import Unit

if TYPE_CHECKING:
    from django.tasks import TaskResult

_running: dict[str, Unit | None] = {}


def install() -> None:
    """Make every task that starts from here on a unit of work. Safe to call again."""
    task_started.connect(_begin_task, dispatch_uid="crm_monitoring")
    bind_extra_task_metadata.connect(_bind_task, dispatch_uid="crm_monitoring")
    task_finished.connect(_end_task, dispatch_uid="crm_monitoring")


@faults.guarded
def _begin_task(sender: Any, task_result: TaskResult[Any, Any], **kwargs: Any) -> None:
    fields = _fields_of(task_result)
    _running[task_result.id] = begin_unit(fields["task"], "task", fields)


@faults.guarded
def _bind_task(sender: Any, task_result: TaskResult[Any, Any], **kwargs: Any) -> None:
    """Called by django-structlog, which has put what was bound where the task was enqueued in place of what is bound here."""
    bind(_fields_of(task_result))
    unit = _running.get(task_result.id)
    if unit is not None:
        identify(unit, bound().get("request_id"))


def _fields_of(task_result: TaskResult[Any, Any]) -> dict[str, str]:
    return {"task": task_result.task.module_path, "task_id": task_result.id}


@faults.guarded
def _end_task(sender: Any, task_result: TaskResult[Any, Any], **kwargs: Any) -> None:
    is_failure = task_result.status == TaskResultStatus.FAILED
    fields = bound()
    # Backends send the signal where they handle the exception.
    end_unit(_running.pop(task_result.id, None), sys.exc_info()[1] if is_failure else None, is_failure=is_failure)
    if app_settings.DJANGO_TASKS_ENABLED:
        # django-structlog writes its last line of the task after this, and clears at the next task's start.
        rebind(fields)
