"""Tasks of the django-tasks package, which is Django's own tasks for earlier versions, as units of work by its signals."""

from __future__ import annotations

import sys
from typing import Any

from django_tasks import TaskResultStatus
from django_tasks.signals import task_finished, task_started

from crm_monitoring import faults
from crm_monitoring.units import begin_unit, end_unit
from crm_monitoring.work import Unit

_running: dict[str, Unit | None] = {}


def install() -> None:
    """Make every task that starts from here on a unit of work. Safe to call again."""
    task_started.connect(_begin, dispatch_uid="crm_monitoring")
    task_finished.connect(_end, dispatch_uid="crm_monitoring")


@faults.guarded
def _begin(sender: Any, task_result: Any, **kwargs: Any) -> None:
    name = task_result.task.module_path
    _running[task_result.id] = begin_unit(name, "task", {"task": name, "task_id": str(task_result.id)})


@faults.guarded
def _end(sender: Any, task_result: Any, **kwargs: Any) -> None:
    is_failure = task_result.status == TaskResultStatus.FAILED
    # Backends send the signal where they handle the exception.
    end_unit(_running.pop(task_result.id, None), sys.exc_info()[1] if is_failure else None, is_failure=is_failure)
