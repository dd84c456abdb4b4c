from __future__ import annotations

from datetime import UTC, datetime

import pytest

from crm_monitoring import OperationRecord, RequestRecord

REQUEST = RequestRecord(
    request_id="abc",
    method="GET",
    route="organisations/{pk}/",
    path="/organisations/7/",
    status=200,
    started=1_700_000_000.5,
    duration_ms=12.5,
    db_queries=2,
    db_ms=3.5,
)
OPERATION = OperationRecord(name="import", operation="function", started=1_700_000_000.5, duration_ms=12.5, slow=False)


def test_an_endpoint_is_method_and_route() -> None:
    assert REQUEST.endpoint == "GET organisations/{pk}/"


@pytest.mark.parametrize(("status", "failed"), [(200, False), (404, False), (499, False), (500, True), (503, True)])
def test_a_request_failed_when_the_server_did(status: int, failed: bool) -> None:
    assert REQUEST._replace(status=status).failed is failed


def test_an_operation_failed_when_an_exception_ended_it() -> None:
    assert not OPERATION.failed
    assert OPERATION._replace(error="ValueError").failed


@pytest.mark.parametrize("record", [REQUEST, OPERATION])
def test_the_moment_it_began_is_aware_utc(record: RequestRecord | OperationRecord) -> None:
    assert record.started_at == datetime(2023, 11, 14, 22, 13, 20, 500_000, tzinfo=UTC)
    assert record.started_at.tzinfo is UTC


@pytest.mark.parametrize("record", [REQUEST, OPERATION])
def test_a_hook_cannot_change_what_the_next_one_gets(record: RequestRecord | OperationRecord) -> None:
    with pytest.raises(AttributeError):
        record.duration_ms = 0  # type: ignore[misc]
