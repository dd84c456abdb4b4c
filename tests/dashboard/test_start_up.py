from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from crm_monitoring.dashboard import alerts
from tests.e2e.processes import ROOT

CHECK = """
import json, sys
import django
from django.conf import settings
from django.core.management import call_command
settings.configure(
    INSTALLED_APPS=[
        "crm_monitoring",
        "crm_monitoring.dashboard",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
    ],
    MIDDLEWARE=["crm_monitoring.middleware.MonitoringMiddleware"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    CRM_MONITORING=json.loads(sys.argv[1]),
)
django.setup()
call_command("check", verbosity=0)
print(*sorted(name[32:] for name in sys.modules if name.startswith("crm_monitoring.dashboard.alerts.") and name.count(".") == 3))
"""


@pytest.mark.processes
@pytest.mark.parametrize(
    ("keys", "imported"),
    [
        ({}, ""),
        ({"ALERTS": {"slow": {"threshold": 2000}}}, "channels named rules"),
        (
            # What the last flush needs is there before: see `alerts.load`.
            {"ALERT_CHANNELS": {"team": {"type": "email", "to": ["team@example.org"]}}},
            "bundling channels delivery evaluation messages named rules scheduler writing",
        ),
    ],
    ids=["no alerts", "rules", "channels"],
)
def test_a_command_waits_only_for_what_it_needs_of_alerts(keys: dict[str, Any], imported: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHECK, json.dumps(keys)], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines()[-1] == imported


@pytest.mark.parametrize("channels", [{}, {"team": {"type": "email", "to": ["team@example.org"]}}], ids=["none", "one"])
def test_alerts_are_loaded_before_the_first_flush_where_somebody_is_told(
    monitoring: Any, monkeypatch: pytest.MonkeyPatch, channels: dict[str, Any]
) -> None:
    monkeypatch.delattr(alerts, "scheduler", raising=False)
    monkeypatch.delitem(sys.modules, "crm_monitoring.dashboard.alerts.scheduler", raising=False)
    monitoring(ALERT_CHANNELS=channels)

    alerts.load()

    assert ("crm_monitoring.dashboard.alerts.scheduler" in sys.modules) is bool(channels)
