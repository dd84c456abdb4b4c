"""What `manage.py check` says of a project's own settings, where they keep the monitoring from what it is there for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage
from django.utils.module_loading import import_string

from crm_monitoring import conf
from crm_monitoring.checks.exception_handlers import hides_crashes

KEY_NOT_READ = "crm_monitoring.W030"
"""A key such as `SENTRY_DSN` is at the top of the settings, where it is not read. Move it into `CRM_MONITORING`."""
CRASHES_HIDDEN = "crm_monitoring.W031"
"""The `EXCEPTION_HANDLER` of Django REST framework answers every crash, so none is reported. Return None for what it does not know."""


def check_project(**kwargs: Any) -> list[CheckMessage]:
    """Report what is set where nobody reads it, and who hides what would be reported."""
    return [*_keys_not_read(), *_crashes_hidden()]


def _keys_not_read() -> Iterable[CheckMessage]:
    given = getattr(settings, "CRM_MONITORING", None) or {}
    for name in conf.known_keys():
        # Other keys have names that a project may well use for something else.
        if name.startswith("SENTRY_") and getattr(settings, name, None) and name not in given:
            yield checks.Warning(
                f"{name} is set at the top of the settings, where it is not read.",
                hint=f"Write CRM_MONITORING = {{{name!r}: {name}}}.",
                id=KEY_NOT_READ,
            )


def _crashes_hidden() -> Iterable[CheckMessage]:
    framework = getattr(settings, "REST_FRAMEWORK", None) or {}
    path = framework.get("EXCEPTION_HANDLER")
    handler = _imported(path) if isinstance(path, str) else path
    if callable(handler) and hides_crashes(handler):
        yield checks.Warning(
            f"REST_FRAMEWORK['EXCEPTION_HANDLER'] {path!r} answers every exception: a crash of a view is not reported.",
            hint="Let it return None for exceptions it does not know, as rest_framework.views.exception_handler does; "
            "or call crm_monitoring.capture_exception(exc) before it answers.",
            id=CRASHES_HIDDEN,
        )


def _imported(path: str) -> Any:
    try:
        return import_string(path)
    except Exception:
        # That it cannot be imported is for Django REST framework to say.
        return None
