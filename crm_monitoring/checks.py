"""What `manage.py check` says of the setting and of its surroundings: each with an id, a sentence and what to do."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage
from django.utils.module_loading import import_string

from crm_monitoring import conf, logs
from crm_monitoring.sentry import status

MIDDLEWARE = "crm_monitoring.middleware.MonitoringMiddleware"
DJANGO_STRUCTLOG_MIDDLEWARE = "django_structlog.middlewares.RequestMiddleware"
MAY_STAND_BEFORE = ("django_prometheus.middleware.PrometheusBeforeMiddleware",)

BAD_HOOK = "crm_monitoring.E010"
BAD_SENTRY_OPTIONS = "crm_monitoring.E011"
MIDDLEWARE_MISSING = "crm_monitoring.W001"
MIDDLEWARE_TWICE = "crm_monitoring.W002"
MIDDLEWARE_PLACE = "crm_monitoring.W003"
APP_PLACE = "crm_monitoring.W004"
PRINTED_TWICE = "crm_monitoring.W005"
PII_WITH_ASGI = "crm_monitoring.W006"
SECOND_REQUEST_LOG = "crm_monitoring.W007"
NO_DSN = "crm_monitoring.W008"
CONSOLE_IN_PRODUCTION = "crm_monitoring.W009"
TRACES_EVERYTHING = "crm_monitoring.W010"


def register() -> None:
    """Register the checks; twice has no effect."""
    checks.register(check_setting, "crm_monitoring")
    checks.register(check_surroundings, "crm_monitoring")
    checks.register(check_deployment, "crm_monitoring", deploy=True)


def check_setting(**kwargs: Any) -> list[CheckMessage]:
    """Report what of CRM_MONITORING cannot be used."""
    return [*_problems(), *_hooks(), *_sentry_options()]


def check_surroundings(**kwargs: Any) -> list[CheckMessage]:
    """Report where the app or its middleware stand wrong, and what would print a line twice."""
    return [*_middleware(), *_app_place(), *_second_printers(), *_pii_with_asgi()]


def check_deployment(**kwargs: Any) -> list[CheckMessage]:
    """Report what is fine on a laptop and not in production."""
    config = conf.get()
    found: list[CheckMessage] = []
    if not status().enabled:
        found.append(
            checks.Warning(
                "No SENTRY_DSN is set: errors are logged and reported nowhere.",
                hint="Set the environment variable SENTRY_DSN, or CRM_MONITORING['SENTRY_DSN'].",
                id=NO_DSN,
            )
        )
    if logs.log_format() == "console":
        found.append(
            checks.Warning(
                "Log lines are coloured for people; a log collector cannot read them.",
                hint="Write CRM_MONITORING = {'LOG_FORMAT': 'json'}.",
                id=CONSOLE_IN_PRODUCTION,
            )
        )
    if config.traces_sample_rate() == 1.0 and config.ENVIRONMENT == "production":
        found.append(
            checks.Warning(
                "Every request in production is traced, which costs quota and time.",
                hint="Write CRM_MONITORING = {'TRACES_SAMPLE_RATE': 0.1}, or leave the key out.",
                id=TRACES_EVERYTHING,
            )
        )
    return found


def _problems() -> Iterable[CheckMessage]:
    for problem in conf.load().problems:
        yield checks.Error(problem.message, hint=problem.hint, id=problem.id)


def _hooks() -> Iterable[CheckMessage]:
    for path in conf.get().HOOKS:
        try:
            hook = import_string(path)
        except ImportError as error:
            yield checks.Error(
                f"CRM_MONITORING['HOOKS'] names {path!r}, which cannot be imported: {error}.",
                hint='Write the dotted path of a callable, "project.module.function".',
                id=BAD_HOOK,
            )
        else:
            if not callable(hook):
                yield checks.Error(
                    f"CRM_MONITORING['HOOKS'] names {path!r}, which is not callable.",
                    hint="A hook is a function that takes one record.",
                    id=BAD_HOOK,
                )


def _sentry_options() -> Iterable[CheckMessage]:
    refusal = status().refusal
    if refusal:
        yield checks.Error(
            refusal, hint="Its keys are the options of sentry_sdk.init; look for a misspelt one.", id=BAD_SENTRY_OPTIONS
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
    elif count > 1:
        yield checks.Warning(
            f"The monitoring middleware stands {count} times in MIDDLEWARE.",
            hint="Leave the first one.",
            id=MIDDLEWARE_TWICE,
        )
    elif [name for name in middleware[: middleware.index(MIDDLEWARE)] if name not in MAY_STAND_BEFORE]:
        yield checks.Warning(
            f"The monitoring middleware stands behind {middleware[0]!r}: it does not see what fails or answers before it.",
            hint=f"Move {MIDDLEWARE!r} to the first place in MIDDLEWARE.",
            id=MIDDLEWARE_PLACE,
        )
    if DJANGO_STRUCTLOG_MIDDLEWARE in middleware:
        yield checks.Warning(
            "django-structlog's middleware runs besides ours: every request is logged twice, and its user is read from the database.",
            hint=f"Take {DJANGO_STRUCTLOG_MIDDLEWARE!r} out of MIDDLEWARE; ours extends it, and sends its signals.",
            id=SECOND_REQUEST_LOG,
        )


def _app_place() -> Iterable[CheckMessage]:
    before = []
    for config in apps.get_app_configs():
        if config.name == "crm_monitoring":
            break
        if not config.name.startswith("django.contrib."):
            before.append(config.name)
    if before:
        yield checks.Warning(
            f"'crm_monitoring' stands behind {before[0]!r} in INSTALLED_APPS: what fails while that app starts is not reported.",
            hint="Move 'crm_monitoring' to the first place in INSTALLED_APPS.",
            id=APP_PLACE,
        )


def _second_printers() -> Iterable[CheckMessage]:
    handlers = logging.getLogger().handlers
    ours = any(type(handler) is logs.Handler for handler in handlers)
    if ours and any(logs.is_console(handler) for handler in handlers):
        yield checks.Warning(
            "The root logger has a console handler besides ours: every line is printed twice.",
            hint="Take the handler out of LOGGING['root'], or set CRM_MONITORING['CONFIGURE_LOGGING'] to False.",
            id=PRINTED_TWICE,
        )


def _pii_with_asgi() -> Iterable[CheckMessage]:
    options = conf.get().SENTRY_OPTIONS
    if getattr(settings, "ASGI_APPLICATION", None) and (
        options.get("send_default_pii") or options.get("data_collection") is not None
    ):
        yield checks.Warning(
            "SENTRY_OPTIONS turns on the collection of personal data, which under ASGI reads the user from the database in async code.",
            hint="Take the option out, and call set_user_context() where the user is known.",
            id=PII_WITH_ASGI,
        )
