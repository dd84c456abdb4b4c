"""What `manage.py check` says of the setting and of its surroundings: each with an id, a sentence and what to do."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from inspect import iscoroutinefunction
from itertools import takewhile
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage
from django.utils.module_loading import import_string

from crm_monitoring import conf, logs, severity
from crm_monitoring.checks import project
from crm_monitoring.sentry import get_traces_sample_rate, status

MIDDLEWARE = "crm_monitoring.middleware.MonitoringMiddleware"
DJANGO_STRUCTLOG_MIDDLEWARE = "django_structlog.middlewares.RequestMiddleware"
REQUESTS_LOGGER = "crm_monitoring.requests"
MAY_STAND_BEFORE = ("django_prometheus.middleware.PrometheusBeforeMiddleware",)

BAD_HOOK = "crm_monitoring.E010"
"""A hook cannot be imported or called. Write the dotted path of a function."""
BAD_SENTRY_OPTIONS = "crm_monitoring.E011"
"""sentry_sdk refuses one of `SENTRY_OPTIONS`. Look for a misspelt option; the others hold."""
MIDDLEWARE_MISSING = "crm_monitoring.W001"
"""The middleware is missing. Write it first in `MIDDLEWARE`."""
MIDDLEWARE_TWICE = "crm_monitoring.W002"
"""The middleware is in `MIDDLEWARE` more than once. Keep the first."""
MIDDLEWARE_PLACE = "crm_monitoring.W003"
"""The middleware comes after another. Move it to the first place."""
APP_PLACE = "crm_monitoring.W004"
"""The app comes after others in `INSTALLED_APPS`. Move it to the first place, to see those fail as they start."""
PRINTED_TWICE = "crm_monitoring.W005"
"""A console handler of the root logger prints every line again. Take it out of `LOGGING`."""
PII_WITH_ASGI = "crm_monitoring.W006"
"""Personal data is collected under ASGI. Use `set_user_context()`."""
SECOND_REQUEST_LOG = "crm_monitoring.W007"
"""django-structlog's own middleware runs too. Take it out of `MIDDLEWARE`."""
NO_DSN = "crm_monitoring.W008"
"""`--deploy`: there is no DSN, and no dashboard to keep errors. Set `SENTRY_DSN`, or add the dashboard."""
CONSOLE_IN_PRODUCTION = "crm_monitoring.W009"
"""`--deploy`: lines are coloured for people. Write `"LOG_FORMAT": "json"`."""
TRACES_EVERYTHING = "crm_monitoring.W010"
"""`--deploy`: every request in production is traced. Write a rate of 0.1, or leave the key out."""
SECOND_OWNER = "crm_monitoring.W013"
"""Another `sentry_sdk.init()` runs, too. Remove it, and move its options into `CRM_MONITORING`."""
STRUCTLOG_RECONFIGURED = "crm_monitoring.W020"
"""structlog was configured after us. Use `crm_monitoring.get_logger`, or remove `structlog.configure()`."""
REQUEST_LINES_HIDDEN = "crm_monitoring.W021"
"""`LOGGING` sets a level that hides the lines of requests. Set the root's level to INFO."""


def register() -> None:
    """Register the checks; twice has no effect."""
    checks.register(check_setting, "crm_monitoring")
    checks.register(check_surroundings, "crm_monitoring")
    checks.register(check_deployment, "crm_monitoring", deploy=True)
    checks.register(project.check_project, "crm_monitoring")


def check_setting(**kwargs: Any) -> list[CheckMessage]:
    """Report what of CRM_MONITORING cannot be used."""
    return [*_problems(), *_hooks(), *_sentry_options()]


def check_surroundings(**kwargs: Any) -> list[CheckMessage]:
    """Report where the app or its middleware stand wrong, and what would print a line twice."""
    return [
        *_middleware(),
        *_second_owner(),
        *_second_request_log(),
        *_app_place(),
        *_second_printers(),
        *_structlog_reconfigured(),
        *_request_lines_hidden(),
        *_pii_with_asgi(),
    ]


def check_deployment(**kwargs: Any) -> list[CheckMessage]:
    """Report what is fine on a laptop and not in production."""
    return [*_no_dsn(), *_console_in_production(), *_traces_everything()]


def _no_dsn() -> Iterable[CheckMessage]:
    if not (status().enabled or status().local):
        yield checks.Warning(
            "SENTRY_DSN is not set: errors are logged but not reported anywhere.",
            hint="Set the environment variable SENTRY_DSN, or CRM_MONITORING['SENTRY_DSN'].",
            id=NO_DSN,
        )


def _console_in_production() -> Iterable[CheckMessage]:
    if logs.log_format() == "console":
        yield checks.Warning(
            "Log lines are coloured for people; a log collector cannot read them.",
            hint="Write CRM_MONITORING = {'LOG_FORMAT': 'json'}.",
            id=CONSOLE_IN_PRODUCTION,
        )


def _traces_everything() -> Iterable[CheckMessage]:
    if get_traces_sample_rate() == 1.0 and status().environment == "production":
        yield checks.Warning(
            "Every request in production is traced, which costs quota and time.",
            hint="Write CRM_MONITORING = {'TRACES_SAMPLE_RATE': 0.1}, or leave the key out.",
            id=TRACES_EVERYTHING,
        )


def _problems() -> Iterable[CheckMessage]:
    for problem in conf.load().problems:
        yield checks.Error(problem.message, hint=problem.hint, id=problem.id)


def _hooks() -> Iterable[CheckMessage]:
    for path in conf.get().HOOKS:
        complaint = _hook_complaint(path)
        if complaint:
            yield checks.Error(
                f"CRM_MONITORING['HOOKS'] names {path!r}, which {complaint}.",
                hint='Write the dotted path of a function that takes one record: "project.module.function".',
                id=BAD_HOOK,
            )


def _hook_complaint(path: str) -> str | None:
    try:
        hook = import_string(path)
    except ImportError as error:
        return f"cannot be imported: {error}"
    except Exception as error:
        return f"raises {type(error).__name__} when it is imported"
    if not callable(hook):
        return "is not callable"
    return "is async" if iscoroutinefunction(hook) else None


def _sentry_options() -> Iterable[CheckMessage]:
    for refusal in status().refusals:
        yield checks.Error(
            refusal,
            hint="The names and values it takes are those of sentry_sdk.init; look for a misspelt one.",
            id=BAD_SENTRY_OPTIONS,
        )


def _middleware() -> Iterable[CheckMessage]:
    middleware = list(settings.MIDDLEWARE)
    count = middleware.count(MIDDLEWARE)
    if count == 0:
        yield checks.Warning(
            "The monitoring middleware is missing: requests get no id, no line and no transaction.",
            hint=f"Write {MIDDLEWARE!r} first in MIDDLEWARE.",
            id=MIDDLEWARE_MISSING,
        )
        return
    if count > 1:
        yield checks.Warning(
            f"The monitoring middleware is in MIDDLEWARE {count} times.",
            hint=f"Keep {MIDDLEWARE!r} in the first place only.",
            id=MIDDLEWARE_TWICE,
        )
    before = [name for name in middleware[: middleware.index(MIDDLEWARE)] if name not in MAY_STAND_BEFORE]
    if before:
        yield checks.Warning(
            f"The monitoring middleware comes after {before[0]!r}: it does not see what fails or is answered there.",
            hint=f"Move {MIDDLEWARE!r} to the first place in MIDDLEWARE.",
            id=MIDDLEWARE_PLACE,
        )


def _second_owner() -> Iterable[CheckMessage]:
    sentry = status()
    if sentry.said:
        yield checks.Warning(
            f"Another sentry_sdk.init() runs too; where CRM_MONITORING says nothing else, its options count: {', '.join(sentry.said)}.",
            hint="Remove the call; move SENTRY_DSN, ENVIRONMENT and SENTRY_RELEASE into the environment, everything else into CRM_MONITORING['SENTRY_OPTIONS'].",
            id=SECOND_OWNER,
        )


def _second_request_log() -> Iterable[CheckMessage]:
    if DJANGO_STRUCTLOG_MIDDLEWARE in settings.MIDDLEWARE:
        yield checks.Warning(
            "django-structlog's middleware runs alongside ours: every request is logged twice, and its user is read from the database.",
            hint=f"Take {DJANGO_STRUCTLOG_MIDDLEWARE!r} out of MIDDLEWARE; ours extends it, and sends its signals.",
            id=SECOND_REQUEST_LOG,
        )


def _app_place() -> Iterable[CheckMessage]:
    others = takewhile(lambda app: app.name != "crm_monitoring", apps.get_app_configs())
    before = [app.name for app in others if not app.name.startswith("django.contrib.")]
    if before:
        yield checks.Warning(
            f"'crm_monitoring' comes after {before[0]!r} in INSTALLED_APPS: what fails while that app starts is not reported.",
            hint="Move 'crm_monitoring' to the first place in INSTALLED_APPS.",
            id=APP_PLACE,
        )


def _second_printers() -> Iterable[CheckMessage]:
    handlers = logging.getLogger().handlers
    ours = any(type(handler) is logs.Handler for handler in handlers)
    if ours and any(logs.prints(handler) for handler in handlers):
        yield checks.Warning(
            "The root logger has a console handler in addition to ours: every line is printed twice.",
            hint="Take the handler out of LOGGING['root'], or set CRM_MONITORING['CONFIGURE_LOGGING'] to False.",
            id=PRINTED_TWICE,
        )


def _structlog_reconfigured() -> Iterable[CheckMessage]:
    if not logs.is_structlog_ours():
        yield checks.Warning(
            logs.STRUCTLOG_RECONFIGURED,
            hint="Remove structlog.configure(), or get loggers from crm_monitoring.get_logger(), which are not affected.",
            id=STRUCTLOG_RECONFIGURED,
        )


def _request_lines_hidden() -> Iterable[CheckMessage]:
    level = logging.getLogger(REQUESTS_LOGGER).getEffectiveLevel()
    # Who hides them by LOG_LEVEL knows.
    if level > logging.INFO >= severity.NUMBERS[conf.get().LOG_LEVEL.lower()]:
        yield checks.Warning(
            f"The lines of requests are at INFO, and their logger's level is {logging.getLevelName(level)}: only failures are logged.",
            hint=f"Set the level of the root logger, or of {REQUESTS_LOGGER!r}, to INFO in LOGGING.",
            id=REQUEST_LINES_HIDDEN,
        )


def _pii_with_asgi() -> Iterable[CheckMessage]:
    if getattr(settings, "ASGI_APPLICATION", None) and _collects_users(conf.get().SENTRY_OPTIONS):
        yield checks.Warning(
            "SENTRY_OPTIONS turns on the collection of personal data, which under ASGI reads the user from the database in async code.",
            hint="Take the option out, and call set_user_context() where the user is known.",
            id=PII_WITH_ASGI,
        )


def _collects_users(options: Mapping[str, Any]) -> bool:
    collection = options.get("data_collection")
    # An empty one turns everything on.
    return bool(options.get("send_default_pii")) or (
        isinstance(collection, Mapping) and collection.get("user_info", True)
    )
