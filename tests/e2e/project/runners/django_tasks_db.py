"""Tasks of the django-tasks package, in the database: `manage.py db_worker`."""

from __future__ import annotations

from django_tasks import task

from tests.e2e.project.runners import jobs


@task
def succeeds(path: str) -> None:
    jobs.succeeds(path)


@task
def fails(path: str) -> None:
    jobs.fails(path)


def ask(job: str, path: str) -> str:
    return str({"succeeds": succeeds, "fails": fails}[job].enqueue(path).id)
