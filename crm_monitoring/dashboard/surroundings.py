"""What `manage.py check` says of the project around the dashboard: its addresses, users, static files, databases and mail."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage
from django.db import DEFAULT_DB_ALIAS, Error, connections
from django.urls import Resolver404, resolve, reverse

from crm_monitoring.dashboard import config
from crm_monitoring.dashboard.store import database

NAME = "crm_monitoring.dashboard"
STYLE = "crm_monitoring/dashboard/dashboard.css"
AUTHENTICATION = "django.contrib.auth.middleware.AuthenticationMiddleware"
_TIME_OUTS = {"postgresql": "connect_timeout", "postgis": "connect_timeout", "mysql": "connect_timeout"}

NOBODY_CAN_LOG_IN = "crm_monitoring.E017"
"""The dashboard's pages cannot know who asks: no `AuthenticationMiddleware`, or a user model without `is_staff`. Add what is missing."""
IN_TENANTS = "crm_monitoring.E018"
"""The dashboard is in `TENANT_APPS`, so each schema would have a part of the figures. Move it to `SHARED_APPS`."""
NOT_INCLUDED = "crm_monitoring.W040"
"""The dashboard is installed but its pages have no address. Add `include("crm_monitoring.dashboard.urls")` to `urls.py`."""
NO_SITE_URL = "crm_monitoring.W041"
"""Alerts have channels and no `SITE_URL`, so messages have no links. Set it."""
STYLE_NOT_SERVED = "crm_monitoring.W042"
"""`--deploy`: nobody serves the dashboard's style. Run `collectstatic`, or let WhiteNoise serve it."""
LOGIN_LEADS_NOWHERE = "crm_monitoring.W043"
"""`LOGIN_URL` leads nowhere, so nobody who is not logged in can open the dashboard. Set it."""
NO_TIME_OUT = "crm_monitoring.W044"
"""`--deploy`: connecting to the dashboard's database has no time-out. Set `connect_timeout` in its `OPTIONS`."""
NOT_LAST = "crm_monitoring.W045"
"""The dashboard comes before other apps in `INSTALLED_APPS`, which shifts the ids of their permissions. Move it to the end."""
DEFAULT_SENDER = "crm_monitoring.W046"
"""Alerts go out by e-mail from Django's default `SERVER_EMAIL`, which mail servers refuse. Set it."""
NOT_MIGRATED = "crm_monitoring.E019"
"""`monitoring check`: the dashboard's tables are missing or old, or their database cannot be read. Run `migrate`."""


def check_surroundings(**kwargs: Any) -> list[CheckMessage]:
    """Report what keeps people from the dashboard's pages, and alerts from people."""
    if not apps.is_installed(NAME):
        return []
    return [*_tenants(), *_order(), *_pages(), *_channels()]


def check_deployment(**kwargs: Any) -> list[CheckMessage]:
    """Report what is fine on a laptop and not in production."""
    return [*_style(), *_time_out()] if apps.is_installed(NAME) else []


def check_tables() -> Iterable[CheckMessage]:
    """Report tables that are not there, or are those of another version; this asks the database."""
    alias = database()
    if alias not in connections:
        return
    option = "" if alias == DEFAULT_DB_ALIAS else f" --database={alias}"
    complaint = _complaint_of_tables(alias)
    if complaint:
        yield checks.Error(
            f"The database {alias!r} {complaint}.",
            hint=f"Run `manage.py migrate{option}`, once the database answers.",
            id=NOT_MIGRATED,
        )


def _complaint_of_tables(alias: str) -> str | None:
    # Imported here, for only this command asks.
    from django.db.migrations.executor import MigrationExecutor

    try:
        executor = MigrationExecutor(connections[alias])
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes("crm_monitoring_dashboard"))
    except Error as error:
        return f"cannot be read: {type(error).__name__}"
    return f"lacks {len(plan)} migrations of the dashboard" if plan else None


def _tenants() -> Iterable[CheckMessage]:
    if NAME in getattr(settings, "TENANT_APPS", ()) and NAME not in getattr(settings, "SHARED_APPS", ()):
        yield checks.Error(
            "The dashboard is in TENANT_APPS: each schema would have tables with a part of the figures.",
            hint=f"Move {NAME!r} to SHARED_APPS.",
            id=IN_TENANTS,
        )


def _order() -> Iterable[CheckMessage]:
    names = [app.name for app in apps.get_app_configs()]
    behind = [
        app.name
        for app in apps.get_app_configs()
        if any(app.get_models()) and names.index(app.name) > names.index(NAME)
    ]
    if behind:
        yield checks.Warning(
            f"The dashboard comes before {behind[0]!r} in INSTALLED_APPS: the ids of that app's permissions shift, and fixtures break.",
            hint=f"Move {NAME!r} to the end of INSTALLED_APPS; only 'crm_monitoring' must be first.",
            id=NOT_LAST,
        )


def _pages() -> Iterable[CheckMessage]:
    if not _is_included():
        yield checks.Warning(
            "The dashboard is installed, but its pages have no address.",
            hint='Write path("monitoring/", include("crm_monitoring.dashboard.urls")) in urls.py.',
            id=NOT_INCLUDED,
        )
        return
    missing = [complaint for complaint in (_complaint_of_middleware(), _complaint_of_user()) if complaint]
    if missing:
        yield checks.Error(
            f"Nobody can open the dashboard: {' and '.join(missing)}.",
            hint=f"Add {AUTHENTICATION!r} to MIDDLEWARE, and a field `is_staff` to the user model.",
            id=NOBODY_CAN_LOG_IN,
        )
    yield from _login()


def _is_included() -> bool:
    try:
        return bool(reverse("crm_monitoring_dashboard:overview"))
    except Exception:
        # No such address, or a urlconf that cannot be imported: Django's own checks tell of that.
        return False


def _complaint_of_middleware() -> str | None:
    # A subclass of the project's own will do; what has no user is found by what it is called.
    if any("AuthenticationMiddleware" in str(name) for name in settings.MIDDLEWARE):
        return None
    return "there is no AuthenticationMiddleware in MIDDLEWARE"


def _complaint_of_user() -> str | None:
    if not apps.is_installed("django.contrib.auth"):
        return None
    from django.contrib.auth import get_user_model

    # A field is an attribute too, and staff may be a property.
    known = hasattr(get_user_model(), "is_staff")
    return None if known else f"the user model {settings.AUTH_USER_MODEL!r} has no is_staff"


def _login() -> Iterable[CheckMessage]:
    if not apps.is_installed("django.contrib.auth"):
        return
    # Imported here, for it needs the app that may be missing.
    from crm_monitoring.dashboard.pages.access import known_login_url

    if known_login_url() is None:
        yield checks.Warning(
            f"LOGIN_URL is {str(settings.LOGIN_URL)!r}, which leads nowhere: whoever is not logged in cannot open the dashboard.",
            hint="Set LOGIN_URL to the address or the name of your login page, or include the admin's addresses.",
            id=LOGIN_LEADS_NOWHERE,
        )


def _channels() -> Iterable[CheckMessage]:
    channels: Mapping[str, Any] = config.get().ALERT_CHANNELS
    if channels and not config.get().SITE_URL:
        yield checks.Warning(
            "CRM_MONITORING has ALERT_CHANNELS but no SITE_URL: the messages of alerts have no links.",
            hint="Write CRM_MONITORING = {'SITE_URL': 'https://www.example.org/'}.",
            id=NO_SITE_URL,
        )
    by_mail = any(isinstance(given, Mapping) and given.get("type") == "email" for given in channels.values())
    if by_mail and settings.SERVER_EMAIL == "root@localhost":
        yield checks.Warning(
            "Alerts go out by e-mail from 'root@localhost', Django's default, which mail servers refuse.",
            hint="Set SERVER_EMAIL to an address of your own.",
            id=DEFAULT_SENDER,
        )


def _style() -> Iterable[CheckMessage]:
    if _is_included() and not _is_style_served():
        yield checks.Warning(
            "Nobody serves the dashboard's style: its pages would be plain.",
            hint="Run `manage.py collectstatic`, with STATIC_ROOT where your web server or WhiteNoise looks.",
            id=STYLE_NOT_SERVED,
        )


def _is_style_served() -> bool:
    url = f"{settings.STATIC_URL or '/static/'}{STYLE}"
    if "://" in url:
        # By another host, which nobody asks here.
        return True
    if _leads_somewhere(url):
        return True
    if settings.STATIC_ROOT:
        return (Path(settings.STATIC_ROOT) / STYLE).exists()
    return bool(getattr(settings, "WHITENOISE_USE_FINDERS", False))


def _leads_somewhere(url: str) -> bool:
    try:
        return bool(resolve(f"/{url.lstrip('/')}"))
    except Resolver404:
        return False


def _time_out() -> Iterable[CheckMessage]:
    alias = database()
    if alias not in connections:
        return
    given = connections.settings[alias]
    option = _TIME_OUTS.get(given["ENGINE"].rpartition(".")[2])
    if option is not None and option not in given.get("OPTIONS", {}):
        yield checks.Warning(
            f"Connecting to the dashboard's database {alias!r} has no time-out: a server that does not answer keeps it waiting.",
            hint=f"Write DATABASES[{alias!r}]['OPTIONS'][{option!r}] = 5.",
            id=NO_TIME_OUT,
        )
