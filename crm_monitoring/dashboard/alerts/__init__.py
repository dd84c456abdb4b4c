"""Alerts: rules over what the dashboard keeps, and who is told."""

from __future__ import annotations

from crm_monitoring.dashboard import config


def load() -> None:
    """Import all that a flush needs, where there is somebody to tell."""
    # Now, for the last flush comes as the process ends: CPython forgets that Ctrl+C has ended it, and what code to exit with, once
    # it runs code made of text, as dataclasses are.
    if config.get().ALERT_CHANNELS:
        from crm_monitoring.dashboard.alerts import scheduler  # noqa: F401


def after_flush() -> None:
    """Look at the rules soon, where there is somebody to tell. A listener of `flushing`."""
    if config.get().ALERT_CHANNELS:
        # Imported here, for alerts are half of what the dashboard would add to the start of every command.
        from crm_monitoring.dashboard.alerts import scheduler

        scheduler.after_flush()


def problems() -> list[str]:
    """Return a sentence for each rule or channel that cannot be used, and for each channel that takes no messages."""
    if not are_asked_for():
        return []
    from crm_monitoring.dashboard.alerts import scheduler

    return scheduler.problems()


def are_asked_for() -> bool:
    """Whether the setting says anything of alerts."""
    return bool(config.get().ALERTS or config.get().ALERT_CHANNELS)
