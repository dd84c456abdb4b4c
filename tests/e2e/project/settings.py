from __future__ import annotations

import os

from demo_project.settings import *  # noqa: F403
from demo_project.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.e2e.project"]

ROOT_URLCONF = "tests.e2e.project.urls"
if "E2E_TRACES_SAMPLE_RATE" in os.environ:
    CRM_MONITORING = {"TRACES_SAMPLE_RATE": float(os.environ["E2E_TRACES_SAMPLE_RATE"])}

if "E2E_RUNNER_APP" in os.environ:
    # Before the dashboard, so that the ids of its permissions stay.
    INSTALLED_APPS[1:1] = {"tests.e2e.project.runners": None, os.environ["E2E_RUNNER_APP"]: None}
if "E2E_REDIS" in os.environ:
    RQ_QUEUES = {os.environ["E2E_QUEUE"]: {"URL": os.environ["E2E_REDIS"]}}
    HUEY = {"name": os.environ["E2E_QUEUE"], "immediate": False, "connection": {"url": os.environ["E2E_REDIS"]}}
    Q_CLUSTER = {
        "name": os.environ["E2E_QUEUE"],
        "redis": os.environ["E2E_REDIS"],
        "workers": 2,
        "timeout": 30,
        "retry": 60,
    }
    if os.environ["E2E_RUNNER_APP"] == "django_tasks_db":
        TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}
