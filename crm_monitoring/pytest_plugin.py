"""The fixture of `crm_monitoring.testing`, for pytest: installed with the package, loaded when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from crm_monitoring.testing import Captured


@pytest.fixture
def captured_monitoring() -> Iterator[Captured]:
    """What the test logs, sends and records: see `crm_monitoring.testing.Captured`."""
    # Imported here: pytest loads its plugins before Django has its settings.
    from crm_monitoring.testing import capture_monitoring

    with capture_monitoring() as captured:
        yield captured
