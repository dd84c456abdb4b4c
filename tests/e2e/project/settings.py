from __future__ import annotations

import os

from demo_project.settings import *  # noqa: F403
from demo_project.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.e2e.project"]

ROOT_URLCONF = "tests.e2e.project.urls"
if "E2E_TRACES_SAMPLE_RATE" in os.environ:
    CRM_MONITORING = {"TRACES_SAMPLE_RATE": float(os.environ["E2E_TRACES_SAMPLE_RATE"])}
