"""RQ's queue: `rq worker -u URL QUEUE`, or django-rq's `manage.py rqworker`."""

from __future__ import annotations

import os

from redis import Redis
from rq import Queue, Retry

from tests.e2e.project.runners import jobs

QUEUE = os.environ["E2E_QUEUE"]


def ask(job: str, path: str) -> str:
    queue = Queue(QUEUE, connection=Redis.from_url(os.environ["E2E_REDIS"]))
    retry = Retry(max=1) if job == "recovers" else None
    return str(queue.enqueue(getattr(jobs, job), path, retry=retry).id)
