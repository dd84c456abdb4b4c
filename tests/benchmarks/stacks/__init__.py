"""
What is compared: each stack set up as its README says, in a module of its own, imported only in the process that runs it.

A stack's module has `configure(settings, rate)`, which puts into Django's settings what the README asks for; `tools()`, what
the views log, measure and note with; `delivered()`, what came out in verify mode; and perhaps
`operations()`, to count singly, and `settle()`, before callgrind counts.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from types import ModuleType
from typing import Any


@dataclass(frozen=True)
class Stack:
    """
    One candidate.

    Attributes:
        module: The module of this package that sets it up.
        packages: Distributions it needs, whose versions go into the report.
        rated: Whether it samples traces, so that the rate makes a difference.
        part: A module that must exist, where the distribution alone does not tell.
    """

    name: str
    title: str
    module: str
    packages: tuple[str, ...] = ()
    rated: bool = False
    part: str = ""

    @property
    def versions(self) -> dict[str, str]:
        """The versions of the packages that are installed."""
        return {name: found for name in self.packages if (found := _version(name)) is not None}

    @property
    def missing(self) -> list[str]:
        """What it needs and is not installed."""
        missing = [name for name in self.packages if _version(name) is None]
        return missing if not self.part or find_spec(self.part) else [*missing, self.part]

    def load(self) -> ModuleType:
        """Import what sets it up."""
        return import_module(f"{__name__}.{self.module}")


@dataclass(frozen=True)
class Tools:
    """
    What the site uses, each the stack's own way.

    Attributes:
        info: A log call with fields that is written, where the stack writes any.
        debug: One below the level.
        monitor: A block that is measured.
        urls: What the README wants in the urlconf.
    """

    info: Callable[..., Any]
    debug: Callable[..., Any]
    monitor: Callable[[str], AbstractContextManager[Any]]
    breadcrumb: Callable[[str], Any]
    urls: list[Any] = field(default_factory=list)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


_SENTRY = ("sentry-sdk",)
_STRUCTLOG = ("structlog", "django-structlog")

STACKS = {
    stack.name: stack
    for stack in (
        Stack("bare", "bare Django", "bare", ("django",)),
        Stack("ours", "crm_monitoring", "ours", ("crm-monitoring", "orjson"), rated=True),
        Stack(
            "ours-dashboard",
            "crm_monitoring + dashboard",
            "ours_dashboard",
            ("crm-monitoring",),
            rated=True,
            part="crm_monitoring.dashboard.apps",
        ),
        Stack("glue", "sentry-sdk + django-structlog", "glue", (*_SENTRY, *_STRUCTLOG), rated=True),
        Stack("sentry", "sentry-sdk", "sentry", _SENTRY, rated=True),
        Stack("structlog", "django-structlog", "structlog", _STRUCTLOG),
        Stack("elastic", "elastic-apm", "elastic", ("elastic-apm",), rated=True),
        Stack(
            "otel",
            "opentelemetry",
            "otel",
            (
                "opentelemetry-sdk",
                "opentelemetry-instrumentation-django",
                "opentelemetry-instrumentation-asgi",
                "opentelemetry-instrumentation-sqlite3",
            ),
            rated=True,
        ),
        Stack("ddtrace", "ddtrace", "ddtrace", ("ddtrace",), rated=True),
        Stack("prometheus", "django-prometheus", "prometheus", ("django-prometheus",)),
        Stack("silk", "django-silk", "silk", ("django-silk",), rated=True),
    )
}
