"""dramatiq's actors: `python -m dramatiq tests.e2e.project.runners.dramatiq`."""

from __future__ import annotations

import os

import django
from dramatiq import actor, set_broker
from dramatiq.brokers.redis import RedisBroker

django.setup()

from tests.e2e.project.runners import jobs  # noqa: E402

QUEUE = os.environ["E2E_QUEUE"]

broker = RedisBroker(url=os.environ["E2E_REDIS"])
set_broker(broker)
ACTORS = {
    job.__name__: actor(job, queue_name=QUEUE, max_retries=int(job is jobs.recovers), min_backoff=100)
    for job in jobs.JOBS
}


def ask(job: str, path: str) -> str:
    return str(ACTORS[job].send(path).message_id)
