"""Ask a runner for jobs, each in a unit of work of its own: `python -m tests.e2e.project.runners.ask rq fails:/tmp/1 ...`."""

from __future__ import annotations

import json
import sys
from importlib import import_module

import django

django.setup()

from crm_monitoring import unit_of_work  # noqa: E402
from crm_monitoring.sentry import current_trace_id  # noqa: E402

runner = import_module(f"tests.e2e.project.runners.{sys.argv[1]}")
for asked in sys.argv[2:]:
    job, _, path = asked.partition(":")
    with unit_of_work("asks", "asking") as unit:
        job_id = runner.ask(job, path)
        answer = {"job": job, "job_id": str(job_id), "request_id": unit.request_id, "trace_id": current_trace_id()}
    sys.stderr.write(json.dumps(answer) + "\n")
