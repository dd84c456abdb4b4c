"""crm_monitoring with its dashboard: metrics and the local inbox in the database as well."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.benchmarks.stacks import ours

tools = ours.tools
delivered = ours.delivered


def configure(settings: dict[str, Any], rate: float) -> None:
    """Add the second app to the first."""
    ours.configure(settings, rate)
    settings["INSTALLED_APPS"] += ["crm_monitoring.dashboard"]


def settle() -> None:
    """Write what is held, and then no more: the clock decides in which request that would be. It is an operation of its own."""
    from crm_monitoring.dashboard import config, flushing

    flushing.flush()
    # As in the tests of a host, where it writes nothing into its database by itself.
    config.is_test_run = lambda: True


def operations() -> dict[str, Callable[[], Any]]:
    """Return single operations that have no other way to be counted."""
    from crm_monitoring.dashboard import flushing

    single = ours.operations()

    def emit_and_write() -> None:
        single[ours.EMIT]()
        flushing.flush()

    return {**single, "emit a record and write it (each 10 s, of any number)": emit_and_write}
