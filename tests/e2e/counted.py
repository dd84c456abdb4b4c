"""Settings and addresses of a site that only answers, on the database of the variable E2E_DATABASE: to be counted."""

from __future__ import annotations

import json
import os

from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from demo_project.settings import *  # noqa: F403

DEBUG = False
MIDDLEWARE = ["crm_monitoring.middleware.MonitoringMiddleware"]
ROOT_URLCONF = __name__
DATABASES = {"default": json.loads(os.environ["E2E_DATABASE"])}
# A status of 500 is told in the log, which is enough.
CRM_MONITORING = {"LOG_LEVEL": "CRITICAL", "REPORT_SERVER_ERRORS": False}


def answer(request: HttpRequest, status: int) -> HttpResponse:
    return HttpResponse(str(os.getpid()), status=status)


async def async_answer(request: HttpRequest, status: int) -> HttpResponse:
    return HttpResponse(str(os.getpid()), status=status)


urlpatterns = [
    path("health/", include("crm_monitoring.urls")),
    path("sync/<int:status>/", answer),
    path("async/<int:status>/", async_answer),
]
