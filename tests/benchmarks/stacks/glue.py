"""What people have today: sentry-sdk and django-structlog, each as its README says."""

from __future__ import annotations

from typing import Any

from tests.benchmarks.stacks import Tools, sentry, structlog


def configure(settings: dict[str, Any], rate: float) -> None:
    """Set up the one, then the other."""
    structlog.configure(settings, rate)
    sentry.init(rate)


def tools() -> Tools:
    """Return the logger of the one and the spans of the other."""
    lines = structlog.tools()
    return Tools(lines.info, lines.debug, sentry.monitor, sentry.breadcrumb)


operations = sentry.operations
delivered = sentry.delivered
