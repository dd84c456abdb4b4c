"""What `manage.py check` says of the dashboard's surroundings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage
from django.db import DEFAULT_DB_ALIAS, connections
from django.utils.module_loading import import_string

from crm_monitoring.dashboard import alerts, config, surroundings
from crm_monitoring.dashboard.router import DashboardRouter
from crm_monitoring.dashboard.store import database

ROUTER = f"{DashboardRouter.__module__}.{DashboardRouter.__qualname__}"
NEEDED = ("django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions")

NO_SUCH_DATABASE = "crm_monitoring.E012"
"""`DASHBOARD_DATABASE` is not in `DATABASES`. Use an alias that is, or add it."""
CORE_MISSING = "crm_monitoring.E013"
"""The dashboard is installed without `crm_monitoring`. Write that first in `INSTALLED_APPS`."""
APPS_MISSING = "crm_monitoring.E014"
"""The dashboard is installed without Django's auth, contenttypes or sessions. Add them to `INSTALLED_APPS`."""
ROUTER_MISSING = "crm_monitoring.W011"
"""The dashboard has a database of its own and no router to it. Write `DashboardRouter` into `DATABASE_ROUTERS`."""
NOBODY_TOLD = "crm_monitoring.W012"
"""`ALERTS` has rules, but there is no channel, so nobody is notified. Set `ALERT_CHANNELS`."""


def register() -> None:
    """Register the checks; twice has no effect."""
    checks.register(check_dashboard, "crm_monitoring")
    checks.register(surroundings.check_surroundings, "crm_monitoring")
    checks.register(surroundings.check_deployment, "crm_monitoring", deploy=True)


def check_dashboard(**kwargs: Any) -> list[CheckMessage]:
    """Report what keeps the dashboard from working as it is installed."""
    if not apps.is_installed("crm_monitoring.dashboard"):
        # It was while Django started; a test of the host's has taken it out.
        return []
    return [*_core(), *_apps(), *_database(), *_alerts()]


def _core() -> Iterable[CheckMessage]:
    if not apps.is_installed("crm_monitoring"):
        yield checks.Error(
            "The dashboard is installed without the monitoring: it has nothing to show.",
            hint="Write 'crm_monitoring' first in INSTALLED_APPS.",
            id=CORE_MISSING,
        )


def _apps() -> Iterable[CheckMessage]:
    missing = [name for name in NEEDED if not apps.is_installed(name)]
    if missing:
        yield checks.Error(
            f"The dashboard cannot know who may see it without {', '.join(map(repr, missing))}.",
            hint="Add them to INSTALLED_APPS.",
            id=APPS_MISSING,
        )


def _database() -> Iterable[CheckMessage]:
    alias = database()
    if alias not in connections:
        yield checks.Error(
            f"CRM_MONITORING['DASHBOARD_DATABASE'] is {alias!r}, which is not in DATABASES.",
            hint=f"Use one of {', '.join(map(repr, sorted(connections)))}, or add it there.",
            id=NO_SUCH_DATABASE,
        )
    elif alias != DEFAULT_DB_ALIAS and not any(_is_ours(router) for router in settings.DATABASE_ROUTERS):
        yield checks.Warning(
            f"`migrate` would create the dashboard's tables in every database but ask for them in {alias!r} only.",
            hint=f"Write DATABASE_ROUTERS = [{ROUTER!r}].",
            id=ROUTER_MISSING,
        )


def _alerts() -> Iterable[CheckMessage]:
    if not alerts.are_asked_for():
        return
    # Imported here, as in `alerts`.
    from crm_monitoring.dashboard.alerts import channels, rules

    for problem in (*channels.problems(), *rules.problems()):
        yield checks.Error(problem.message, hint=problem.hint, id=problem.id)
    if config.get().ALERTS and not config.get().ALERT_CHANNELS:
        yield checks.Warning(
            "CRM_MONITORING['ALERTS'] has rules, but there is no channel: nobody is notified.",
            hint="Write CRM_MONITORING = {'ALERT_CHANNELS': {'team': {'type': 'email', 'to': ['team@example.org']}}}.",
            id=NOBODY_TOLD,
        )


def _is_ours(router: Any) -> bool:
    # Django takes dotted paths, classes' instances among them.
    return isinstance(import_string(router)() if isinstance(router, str) else router, DashboardRouter)
