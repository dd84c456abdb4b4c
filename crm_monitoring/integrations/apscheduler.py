"""
APScheduler's jobs as units of work.

Its events come to the scheduler, after the job and in another thread, so what its executors run a job by is replaced, here alone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import cache, wraps
from typing import Any

from apscheduler.executors import base

from crm_monitoring.integrations.asked import begin_job
from crm_monitoring.units import end_unit


@cache
def install() -> None:
    """Make every run of a job from here on a unit of work."""
    _put("run_job", _watched(base.run_job))
    _put("run_coroutine_job", _watched_coroutine(base.run_coroutine_job))


def _put(name: str, watched: Callable[..., Any]) -> None:
    # Executors that are imported already have a name of their own for it.
    for module in [module for path, module in sys.modules.items() if path.startswith("apscheduler.executors.")]:
        if hasattr(module, name):
            setattr(module, name, watched)


def _watched(run: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(run)
    def watched(job: Any, *args: Any, **kwargs: Any) -> Any:
        unit = begin_job(str(job.name), job.id)
        events: Any = ()
        try:
            events = run(job, *args, **kwargs)
        finally:
            end_unit(unit, _error_of(events))
        return events

    return watched


def _watched_coroutine(run: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(run)
    async def watched(job: Any, *args: Any, **kwargs: Any) -> Any:
        unit = begin_job(str(job.name), job.id)
        events: Any = ()
        try:
            events = await run(job, *args, **kwargs)
        finally:
            end_unit(unit, _error_of(events))
        return events

    return watched


def _error_of(events: Iterable[Any]) -> BaseException | None:
    """Return what the job has raised: its runner has logged that, and hands it on as an event."""
    return next((event.exception for event in events if getattr(event, "exception", None) is not None), None)
