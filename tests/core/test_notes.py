"""What is noted of a work while it runs, and who may keep it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection

from crm_monitoring import (
    OperationRecord,
    PerformanceMonitor,
    RequestRecord,
    extending,
    faults,
    get_logger,
    unit_of_work,
)
from crm_monitoring.notes import MOST_ASKED, MOST_STEPS, Query
from crm_monitoring.work import current_work
from tests.clients import WSGIClient
from tests.conftest import Lines, MemoryTransport

pytestmark = pytest.mark.django_db

Kept = list[tuple[extending.Work, RequestRecord | OperationRecord]]


@pytest.fixture
def kept() -> Iterator[Kept]:
    seen: Kept = []

    def keep(work: extending.Work, record: RequestRecord | OperationRecord) -> None:
        seen.append((work, record))

    extending.register_keeper(keep)
    yield seen
    extending.unregister_keeper(keep)


def ask(times: int = 1) -> None:
    with connection.cursor() as cursor:
        for number in range(times):
            cursor.execute("SELECT %s", [number])


def test_a_request_is_shown_at_its_end_with_what_it_did(
    server: WSGIClient, kept: Kept, sentry: MemoryTransport
) -> None:
    server.get("/queries/2/")

    ((work, record),) = kept
    assert isinstance(record, RequestRecord) and record.route == "queries/{count}/"
    ((shape, statement),) = work.statements.items()
    assert (shape.split()[0], statement.count) == ("SELECT", 2)
    assert 0 < statement.max_ms <= statement.total_ms
    assert [type(step) for step in work.steps or ()] == [Query, Query]


def test_a_unit_is_shown_with_its_lines_queries_and_operations(kept: Kept, sentry: MemoryTransport) -> None:
    with unit_of_work("send_invoices"):
        get_logger("shop").info("begun", order=7)
        with PerformanceMonitor("render"):
            ask()

    ((work, record),) = kept
    assert isinstance(record, OperationRecord) and record.name == "send_invoices"
    assert [line["event"] for _, line in work.recent_lines] == ["begun"]
    query, operation = work.steps or ()
    assert isinstance(query, Query) and query.sql == "SELECT %s"
    assert isinstance(operation, OperationRecord) and operation.name == "render"


def test_where_nobody_keeps_works_no_steps_are_noted(sentry: MemoryTransport) -> None:
    with unit_of_work("send_invoices") as unit:
        ask()
        steps = current_work().steps  # type: ignore[union-attr]

    assert unit.request_id is not None and steps is None


def test_what_is_noted_is_bounded(kept: Kept) -> None:
    with unit_of_work("send_invoices"):
        work = current_work()
        assert work is not None
        ask(MOST_STEPS + 10)
        for number in range(MOST_ASKED + 10):
            work.note_asked("send", str(number))

    assert len(work.steps or ()) == MOST_STEPS
    assert work.statements["SELECT %s"].count == work.db_queries == MOST_STEPS + 10
    assert [asked.job_id for asked in work.asked] == [str(number) for number in range(MOST_ASKED)]


def test_a_keeper_that_fails_is_counted_and_stops_nobody(
    wsgi: WSGIClient, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(work: extending.Work, record: object) -> None:
        raise ValueError

    monkeypatch.setattr(faults, "reraise", False)
    extending.register_keeper(fail)
    try:
        answer = wsgi.get("/ok/")
    finally:
        extending.unregister_keeper(fail)

    assert answer.status == 200 and len(kept) == 1
    assert any("keeper" in sentence for sentence in faults.sentences())


@pytest.mark.parametrize("kind", ["job", "task"])
def test_a_unit_that_repeats_a_query_is_told_of_as_a_request_is(lines: Lines, kind: str) -> None:
    with unit_of_work("send_invoices", kind):
        ask(25)

    line = lines.one("n_plus_one_detected")
    assert (line["count"], line["query"]) == (25, "SELECT %s")
    assert line["code.function"] == "ask"


def test_a_command_may_do_the_same_a_thousand_times(lines: Lines) -> None:
    with unit_of_work("manage.py import", "command"):
        ask(25)

    assert lines.named("n_plus_one_detected") == []


def test_an_event_of_a_unit_shows_its_queries_among_its_breadcrumbs(sentry: MemoryTransport) -> None:
    with pytest.raises(ValueError, match="late"), unit_of_work("send_invoices"):
        get_logger("shop").info("begun")
        ask(12)
        raise ValueError("late")

    crumbs = sentry.events[0]["breadcrumbs"]["values"]
    assert [crumb["message"].split(",")[0] for crumb in crumbs[:3]] == ["begun", "2 earlier queries", "SELECT %s"]
    assert len(crumbs) == 12
