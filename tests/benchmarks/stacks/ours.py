"""crm_monitoring as its README says, everything on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.benchmarks import sinks
from tests.benchmarks.delivery import Delivery
from tests.benchmarks.samples import EVENT, LINE
from tests.benchmarks.stacks import Tools, sentry

# The others have no quota: here too every failure makes its event.
_NO_QUOTA = 10**9

EMIT = "emit a record"


def configure(settings: dict[str, Any], rate: float) -> None:
    """Add the app, the middleware and the one setting."""
    settings["INSTALLED_APPS"] += ["crm_monitoring"]
    settings["MIDDLEWARE"].insert(0, "crm_monitoring.middleware.MonitoringMiddleware")
    settings["CRM_MONITORING"] = {
        "SENTRY_DSN": sinks.DSN,
        "ENVIRONMENT": "production",
        "SENTRY_RELEASE": sinks.RELEASE,
        "TRACES_SAMPLE_RATE": rate,
        "SENTRY_OPTIONS": {"transport": sentry.SinkTransport},
        "EVENTS_BURST": _NO_QUOTA,
        "EVENTS_OVERALL_PER_MINUTE": _NO_QUOTA,
        "HOOKS": ["tests.benchmarks.sinks.deliver"] if sinks.is_keeping() else [],
    }


def tools() -> Tools:
    """Return the public functions."""
    from crm_monitoring import PerformanceMonitor, add_breadcrumb, get_logger

    logger = get_logger("benchmark")
    return Tools(logger.info, logger.debug, PerformanceMonitor, add_breadcrumb)


def operations() -> dict[str, Callable[[], Any]]:
    """Return single operations that have no other way to be counted."""
    from crm_monitoring import hooks
    from crm_monitoring.records import RequestRecord
    from crm_monitoring.scrubbing.configured import scrub

    def emit() -> None:
        hooks.emit(
            RequestRecord(
                request_id="0" * 32,
                method="GET",
                route="trivial/",
                path="/trivial/",
                status=200,
                started=0.0,
                duration_ms=1.0,
                db_queries=0,
                db_ms=0.0,
            )
        )

    return {"scrub a line": lambda: scrub(LINE), "scrub an event of 40 kB": lambda: scrub(EVENT), EMIT: emit}


def delivered() -> Delivery:
    """Read what the transport and the hook were given."""
    delivery = sentry.delivered()
    for thing in sinks.kept:
        kind = type(thing).__name__
        if kind.endswith("Record"):
            delivery.records[kind] = delivery.records.get(kind, 0) + 1
    return delivery
