"""Settings of a site whose dashboard is kept on a server that accepts and never answers."""

from __future__ import annotations

import os

from demo_project.settings import *  # noqa: F403

DEBUG = False
MIDDLEWARE = ["crm_monitoring.middleware.MonitoringMiddleware"]
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"},
    "dashboard": {
        "ENGINE": os.environ["SILENT_ENGINE"],
        "HOST": "127.0.0.1",
        "PORT": os.environ["SILENT_PORT"],
        "NAME": "dashboard",
        "USER": "dashboard",
        "PASSWORD": "dashboard",  # noqa: S105 - of nobody
    },
}
ROOT_URLCONF = "tests.e2e.counted"
DATABASE_ROUTERS = ["crm_monitoring.dashboard.router.DashboardRouter"]
CRM_MONITORING = {"LOG_LEVEL": "WARNING", "DASHBOARD_DATABASE": "dashboard", "REPORT_SERVER_ERRORS": False}

if "mysql" in DATABASES["dashboard"]["ENGINE"]:
    import pymysql

    pymysql.version_info = (2, 2, 7, "final", 0)
    pymysql.install_as_MySQLdb()
