"""What the health view says of deliveries and lines that failed, without a server."""

from __future__ import annotations

import pytest

from crm_monitoring import check_monitoring_health, faults
from crm_monitoring.faults import RECENT_SECONDS
from crm_monitoring.health import is_degraded


@pytest.mark.parametrize("kind", ["sentry_delivery_network", "log_lines"])
def test_health_is_degraded_while_something_was_lost_lately(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    now = 1000.0
    monkeypatch.setattr(faults, "monotonic", lambda: now)
    faults.lose(kind)
    before = check_monitoring_health()

    now += RECENT_SECONDS
    after = check_monitoring_health()

    assert (is_degraded(before), is_degraded(after)) == (True, False)
    assert before["lost"] == after["lost"] == {kind: 1}


def test_loss_that_was_meant_degrades_nothing() -> None:
    faults.lose("sentry_error_before_send")

    assert not is_degraded(check_monitoring_health())
