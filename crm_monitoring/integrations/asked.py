"""What goes along with a job from who asks for it to who runs it: the id and the trace of the request, task or command."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from crm_monitoring import faults
from crm_monitoring.logs import bound
from crm_monitoring.sentry import TRACE_HEADERS, trace_headers
from crm_monitoring.units import begin_unit
from crm_monitoring.work import Unit, current_work

KEY = "crm_monitoring"
"""Where a job carries it, in a mapping with the others' data."""

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@faults.guarded
def asking() -> dict[str, str] | None:
    """Return what the job takes along, None where nobody asks: what a scheduler starts has an id and a trace of its own."""
    request_id = bound().get("request_id")
    return None if current_work() is None or not request_id else {"request_id": request_id, **trace_headers()}


@faults.guarded
def begin_job(name: str, job_id: str, asked: object = None) -> Unit | None:
    """
    Begin the run of a job as a unit of work. `end_unit` must follow.

    Args:
        name: What is done, the same for every run.
        job_id: The runner's own id of this job.
        asked: What `asking` has returned, as it has arrived here.
    """
    sent = asked if isinstance(asked, Mapping) else _NOTHING
    headers = {name: sent[name] for name in TRACE_HEADERS if sent.get(name)}
    return begin_unit(name, "job", {"job": name, "job_id": str(job_id), "request_id": sent.get("request_id")}, headers)
