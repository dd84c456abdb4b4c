from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.db.models import Model

from crm_monitoring.dashboard.models import AffectedUser, Deploy, Flush, Issue, Lease, RollUp, Sighting, Visit

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (Flush(started=1_764_000_000, environment="staging"), ["staging"]),
        (Visit(user="0f3c"), ["0f3c"]),
        (AffectedUser(user="0f3c"), ["0f3c"]),
        (Issue(title="ValueError: boom"), ["ValueError: boom"]),
        (Sighting(endpoint="GET ok/", environment="staging", release="1.0"), ["GET ok/", "staging", "1.0"]),
        (Deploy(release="1.4.2", environment="staging", moment=NOON), ["1.4.2", "staging"]),
        (RollUp(seconds=900, started=1_764_000_000, environment="staging"), ["staging", "900"]),
        (Lease(name="compaction"), ["compaction"]),
    ],
)
def test_a_row_says_what_it_is_about(row: Model, words: list[str]) -> None:
    assert [word for word in words if word not in str(row)] == []
