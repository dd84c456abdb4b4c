from __future__ import annotations

from collections.abc import Iterator

import pytest

from crm_monitoring.dashboard import apps as dashboard
from tests.dashboard.databases import a_postgresql, a_sqlite, databases_of_vendors, each_database, each_server

__all__ = ["a_postgresql", "a_sqlite", "databases_of_vendors", "each_database", "each_server"]


@pytest.fixture(autouse=True)
def _with_dashboard(_without_dashboard: None) -> Iterator[None]:
    """The dashboard is connected, and holds nothing of other tests."""
    dashboard.connect()
    yield
    dashboard.disconnect()
