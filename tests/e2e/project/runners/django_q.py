"""django-q2's cluster: `manage.py qcluster`."""

from __future__ import annotations

from django_q.tasks import async_task


def ask(job: str, path: str) -> str:
    return str(async_task(f"tests.e2e.project.runners.jobs.{job}", path))
