"""Whether the monitoring itself works, told without secrets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from crm_monitoring import conf, faults, hooks
from crm_monitoring.logs import LOST_LINES, STRUCTLOG_RECONFIGURED, effective_level, is_structlog_ours, is_structured
from crm_monitoring.registry import Registry
from crm_monitoring.sentry import DELIVERY_FAILED
from crm_monitoring.sentry import status as sentry_status

Source = Callable[[], list[str]]
Section = Callable[[], dict[str, Any]]

_sources = Registry[[], list[str]]("Asking for problems:")
_sections = Registry[[], dict[str, Any]]("The section of health by")


def register_problems(source: Source) -> None:
    """Add the sentences of an installed app to `problems`. Adding one twice has no effect."""
    _sources.add(source)


def unregister_problems(source: Source) -> None:
    """Take away a source added by `register_problems`."""
    _sources.remove(source)


def register_section(name: str, section: Section) -> None:
    """Add what `section` returns to the health of the monitoring, as `name`."""
    _sections.add(section, name)


def unregister_section(name: str) -> None:
    """Take away what was added by `register_section`."""
    _sections.remove(name)


def problems() -> list[str]:
    """Return one sentence for everything that does not work as it was asked to. No value of a setting is in them."""
    hooks.load()
    sentry = sentry_status()
    found = [
        f"{problem.id}: {problem.key or 'CRM_MONITORING'} cannot be used as it is set."
        for problem in conf.load().problems
    ]
    found += sentry.refusals
    if not sentry.healthy:
        found.append("Sentry's queue is full, or its server asks to wait: events are being dropped.")
    elif faults.lost_lately(DELIVERY_FAILED):
        found.append("Events could not be delivered to Sentry in the last five minutes.")
    if not is_structlog_ours():
        found.append(STRUCTLOG_RECONFIGURED)
    if faults.lost_lately(LOST_LINES):
        found.append("Log lines could not be written in the last five minutes.")
    for _, sentences in _sources.results():
        found += sentences or []
    return found + faults.sentences()


def check_monitoring_health() -> dict[str, Any]:
    """
    Tell whether the monitoring works.

    Returns:
        "sentry" (enabled, environment, dsn_configured, release, traces_sample_rate, owner), "logging" (level, structured), "lost"
        (counts of what was dropped in this process, by kind), the sections of installed apps, None for one that failed, and
        "problems", one sentence each. No secrets, hosts or texts of drivers are in it.
    """
    sentry = sentry_status()
    return {
        "sentry": {
            "enabled": sentry.enabled,
            "environment": sentry.environment,
            "dsn_configured": sentry.dsn_configured,
            "release": sentry.release,
            "traces_sample_rate": sentry.traces_sample_rate,
            "owner": sentry.owner,
        },
        "logging": {"level": effective_level(), "structured": is_structured()},
        "lost": faults.losses(),
        **{str(name): section for name, section in _sections.results()},
        "problems": problems(),
    }


def is_degraded(health: dict[str, Any]) -> bool:
    """Whether what `check_monitoring_health` returned calls for somebody."""
    return bool(health["problems"])
