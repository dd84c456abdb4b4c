"""
Jobs of RQ and django-rq as units of work, in a work horse or in the worker itself.

RQ has no signals, and an exception handler may end the chain of the others: public methods are replaced, here alone.
"""

from __future__ import annotations

import logging
from functools import cache, wraps
from typing import Any

from rq.job import Job
from rq.worker import BaseWorker, Worker

from crm_monitoring import faults
from crm_monitoring.integrations.asked import KEY, asking, begin_job
from crm_monitoring.units import end_unit
from crm_monitoring.work import Unit

_running: dict[str | None, Unit | None] = {}
_create, _perform, _handle = Job.create.__func__, BaseWorker.perform_job, BaseWorker.handle_exception
_handle_death = Worker.handle_work_horse_killed


class WorkHorseKilledError(Exception):
    """The process that ran a job has died, and could tell nobody."""


@cache
def install() -> None:
    """Make every job that starts from here on a unit of work, which knows who has asked for it."""
    Job.create = classmethod(_create_signed)
    BaseWorker.perform_job = _perform_watched
    BaseWorker.handle_exception = _handle_watched
    Worker.handle_work_horse_killed = _handle_death_watched
    logging.getLogger("rq.worker").addFilter(_is_news)


@wraps(_create)
def _create_signed(cls: type[Job], *args: Any, **kwargs: Any) -> Job:
    job = _create(cls, *args, **kwargs)
    asked = asking()
    if asked:
        # Not into the dict, which may be that of other jobs too.
        job.meta = {**job.meta, KEY: asked}
    return job


@wraps(_perform)
def _perform_watched(self: BaseWorker, job: Job, *args: Any, **kwargs: Any) -> Any:
    _running[job.id] = _begin(job)
    try:
        return _perform(self, job, *args, **kwargs)
    finally:
        end_unit(_running.pop(job.id, None))


@wraps(_handle)
def _handle_watched(self: BaseWorker, job: Job, *exc_info: Any) -> Any:
    try:
        return _handle(self, job, *exc_info)
    finally:
        _fail(_running.pop(job.id, None), job, exc_info[1])


@wraps(_handle_death)
def _handle_death_watched(self: Worker, job: Job, pid: int, status: int, *args: Any) -> Any:
    _fail(_begin(job), job, WorkHorseKilledError(f"waitpid returned {status}"))
    return _handle_death(self, job, pid, status, *args)


@faults.guarded
def _begin(job: Job) -> Unit | None:
    return begin_job(job.func_name, job.id, job.meta.get(KEY))


@faults.guarded
def _fail(unit: Unit | None, job: Job, error: BaseException) -> None:
    end_unit(unit, error, is_failure=not job.should_retry)


def _is_news(record: logging.LogRecord) -> bool:
    """Leave out RQ's own line of a failure, which has the job's arguments: the unit's has the traceback too."""
    return _running.get(getattr(record, "job_id", None)) is None
