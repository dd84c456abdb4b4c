"""The one place that knows everybody: puts the parts together when Django starts."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import django
from django.apps import AppConfig
from django.core.signals import setting_changed

from crm_monitoring import asgi, conf, faults, hooks, logs, queries, requests, scrubbing, sentry
from crm_monitoring.integrations import commands, threads
from crm_monitoring.on_import import when_imported

# What a process imports that asks for jobs or runs them, and which module of ours knows them.
_RUNNERS = {
    "apscheduler.executors.base": "apscheduler",
    "celery": "celery",
    "django_q.signals": "django_q",
    "django_tasks.signals": "django_tasks",
    "dramatiq": "dramatiq",
    "huey": "huey",
    "rq": "rq",
}


class MonitoringConfig(AppConfig):
    """Configures logging and Sentry before any other app is ready."""

    name = "crm_monitoring"
    verbose_name = "Monitoring"

    def ready(self) -> None:
        """Start the monitoring. Opens no connection, starts no thread and no process; may run more than once."""
        from crm_monitoring import checks

        start()
        checks.register()
        setting_changed.connect(_settings_changed, dispatch_uid="crm_monitoring")


def start() -> None:
    """Put the setting into effect. Logging first: what wraps the hooks of Python then wraps ours."""
    for part in (
        _init_logging,
        sentry.init_sentry,
        queries.install,
        commands.install,
        threads.install,
        _watch_server,
        _watch_tasks,
    ):
        try:
            part()
        except Exception as error:
            faults.record(f"Starting {part.__name__}", error)


def _init_logging() -> None:
    logs.init_structured_logging(sentry.observe_line)


def _watch_server() -> None:
    when_imported("django.core.handlers.asgi", asgi.install)


def _watch_tasks() -> None:
    if django.VERSION >= (6, 0):  # pragma: no branch - coverage is measured on a later Django
        from crm_monitoring.integrations import tasks

        tasks.install()
    for library, integration in _RUNNERS.items():
        when_imported(library, _installer(integration))
    # A project may have an app of this name.
    if find_spec("channels") and find_spec("channels.consumer"):
        from crm_monitoring.integrations import channels

        channels.install()


@cache
def _installer(integration: str) -> Callable[[], None]:
    def install() -> None:
        import_module(f"crm_monitoring.integrations.{integration}").install()

    return install


def _settings_changed(*, setting: str, **kwargs: Any) -> None:
    if setting in ("CRM_MONITORING", "DEBUG", "LOGGING"):
        conf.reset()
        hooks.reset()
        scrubbing.reset()
        start()
    if setting in ("CRM_MONITORING", "STATIC_URL", "MEDIA_URL"):
        requests.forget_unmonitored_paths()
    if setting in ("LANGUAGES", "LANGUAGE_CODE", "MIDDLEWARE", "ROOT_URLCONF", "USE_I18N"):
        requests.forget_routes()
