"""The keys of CRM_MONITORING that the dashboard has."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from crm_monitoring import conf
from crm_monitoring.conf import key, parsing


class DashboardConfig(conf.Keys):
    """The effective values of the dashboard's keys."""

    INBOX: bool = key(
        False, parsing.flag, "Dashboard: whether the inbox keeps events even with a DSN. Without one it always does."
    )
    DASHBOARD_DATABASE: str = key(
        "default", parsing.text, "Dashboard: the alias in DATABASES of the database that it is kept in."
    )
    DASHBOARD_TIMEOUT: float = key(
        1.0,
        parsing.number(),
        "Dashboard: seconds that its database has to take a connection, and to answer. Nothing of yours waits for it.",
    )
    TEST_MODE: bool | None = key(
        None,
        parsing.flag,
        "Dashboard: whether the project's tests run, so that nothing is written by itself and nobody is notified. "
        "None: in processes that pytest or `manage.py test` has started.",
    )
    APDEX_MS: float = key(
        500.0,
        parsing.number(),
        "Dashboard: a request within this satisfies, one within four times this is tolerable.",
    )
    SLOW_REQUEST_MS: float = key(
        1000.0, parsing.number(), "Dashboard: requests over this are slow, and the inbox keeps their spans."
    )
    EVENTS_PER_ISSUE: int = key(50, parsing.whole(), "Dashboard: events kept per issue, the first and the newest.")
    KEPT_REQUESTS_MB: int = key(
        100,
        parsing.whole(),
        "Dashboard: megabytes for requests and units of work that are kept whole: failed, slow, and a sample. 0 keeps none.",
    )
    RETENTION_DAYS: int = key(30, parsing.whole(), "Dashboard: days after which metrics and events are deleted.")
    ALERTS: Mapping[str, Any] = key(
        {},
        parsing.mapping,
        "Dashboard: rules of alerts by name, each a dict of options. False turns one of the defaults off.",
    )
    ALERT_CHANNELS: Mapping[str, Any] = key(
        {},
        parsing.mapping,
        "Dashboard: where alerts go, by name: e-mail, Slack, webhooks. Empty: nowhere, and no rule is evaluated.",
        secret=True,
    )
    DEPLOY_QUIET_SECONDS: int = key(
        0,
        parsing.whole(),
        "Dashboard: seconds after `monitoring deploy` in which no alert of a figure begins there. New issues are told all the same.",
    )
    CARDS: tuple[str, ...] = key(
        (),
        parsing.names,
        "Dashboard: dotted paths of functions that get the `Figures` of a window and return a `Card` for the overview.",
    )
    SITE_URL: str = key("", parsing.site, "Where people find the site, for the links in alerts.")
    SENTRY_URL: str = key(
        "https://sentry.io/",
        parsing.site,
        "Where `monitoring deploy` finds Sentry's API.",
        env="SENTRY_URL",
        unusable="",
    )
    SENTRY_AUTH_TOKEN: str = key("", conf.token, "Token for `monitoring deploy`.", env="SENTRY_AUTH_TOKEN", secret=True)
    SENTRY_ORG: str = key("", parsing.text, "Sentry's organisation, for `monitoring deploy`.", env="SENTRY_ORG")
    SENTRY_PROJECT: str = key("", parsing.text, "Sentry's project, for `monitoring deploy`.", env="SENTRY_PROJECT")


def get() -> DashboardConfig:
    """Return the effective values."""
    return conf.read(DashboardConfig)


def is_in_tests() -> bool:
    """Whether the project's tests run: as TEST_MODE says, else by what has started the process."""
    given = get().TEST_MODE
    return is_test_run() if given is None else given


def is_test_run() -> bool:
    """Whether pytest or `manage.py test` has started this process."""
    # Only pytest loads its plugins.
    return "crm_monitoring.pytest_plugin" in sys.modules or sys.argv[1:2] == ["test"]
