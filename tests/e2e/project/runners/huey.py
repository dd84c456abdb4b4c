"""huey's tasks, as `manage.py run_huey` finds them."""

from __future__ import annotations

from huey.contrib.djhuey import HUEY

from tests.e2e.project.runners import jobs

TASKS = {job.__name__: HUEY.task(retries=int(job is jobs.recovers))(job) for job in jobs.JOBS}


def ask(job: str, path: str) -> str:
    return str(TASKS[job](path).id)
