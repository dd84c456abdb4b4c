"""`manage.py monitoring status`, as a terminal shows it."""

from __future__ import annotations

import io
import json
import re
import time
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection

from crm_monitoring.dashboard.metrics.counters import Metric
from crm_monitoring.dashboard.models import Issue, RollUp
from tests.dashboard import traffic as traffic_of
from tests.dashboard.traffic import errors, measured

pytestmark = pytest.mark.django_db


def status(*args: str, **options: Any) -> str:
    out = io.StringIO()
    call_command("monitoring", "status", *args, stdout=out, **{"no_color": True, **options})
    return out.getvalue()


write = partial(traffic_of.write, "default")


def issue(title: str) -> None:
    seen = datetime.now(UTC)
    Issue.objects.create(fingerprint=title[:60], title=title, level="error", count=7, first_seen=seen, last_seen=seen)


@pytest.fixture
def traffic() -> None:
    now = time.time()
    write(
        measured("GET organisations/", [100.0] * 95 + [2_000.0] * 5, at=now - 60, failed=2),
        measured("GET kpis/", [1_300.0] * 20, at=now - 60, environment="staging"),
        measured("GET organisations/", [100.0] * 60, at=now - 25 * 3_600, failed=3),
        measured("import_organisations", [3_000.0], at=now - 60, kind=Metric.OPERATION),
        errors("a", 12, at=now - 60),
        errors("a", 6, at=now - 25 * 3_600),
    )
    issue("ValueError: no such category")


def row(text: str, label: str) -> str:
    (found,) = [line for line in text.splitlines() if line.startswith(f"  {label} ")]
    return " ".join(found.split())


def test_the_five_figures_come_first(traffic: None) -> None:
    lines = status().splitlines()

    assert lines[0] == "24 h, all environments"
    assert [" ".join(line.split()) for line in lines[1:6]] == [
        "Errors 12 +100%",
        "Average response 379 ms +279%",
        "Hottest endpoint 100 GET organisations/",
        "Slowest endpoint 1.3 s GET kpis/",
        "Active users 0 no change",
    ]


def test_the_other_figures_follow_with_their_change(traffic: None) -> None:
    text = status()

    assert row(text, "Requests") == "Requests 120 +100%"
    assert row(text, "Error rate") == "Error rate 1.7% −67%"
    assert row(text, "Apdex").startswith("Apdex 0.89 −")
    assert row(text, "P95").startswith("P95 1.3 s +")
    assert row(text, "Failed requests") == "Failed requests 2 −33%"
    assert row(text, "Slow requests") == "Slow requests 25 from 0"
    assert row(text, "Users") == "Users 0 no change"


def test_endpoints_operations_issues_and_source_are_told(traffic: None) -> None:
    text = status()

    assert row(text, "GET organisations/").startswith("GET organisations/ 100 2 195 ms")
    assert row(text, "import_organisations").startswith("import_organisations 1 0 3.0 s")
    assert "ValueError: no such category" in text
    assert "From all processes on this database since " in text
    assert text.endswith("Nothing was dropped in this window.\n")


def test_window_and_environment_are_chosen(traffic: None) -> None:
    text = status("--window", "1h", "--environment", "staging")

    assert text.startswith("1 h, staging\n")
    assert row(text, "Requests") == "Requests 20 from 0"


def test_long_tables_end_with_how_many_there_are_more() -> None:
    write(*(measured(f"GET {number:02}/", [1.0], at=time.time()) for number in range(12)))

    text = status()

    assert len(re.findall(r"^  GET \d\d/ ", text, re.MULTILINE)) == 10
    assert "\n  2 more\n" in text


def test_nothing_is_wider_than_eighty_columns() -> None:
    now = time.time()
    name = "GET " + "very/long/route/" * 12
    write(
        measured(name[:200], [12_345_678.0] * 3, at=now),
        measured(name[:200], [1.0], at=now, kind=Metric.OPERATION),
        *(errors(f"some_kind_of_loss_{number}", 10**9, at=now, kind=Metric.LOSS) for number in range(9)),
    )
    issue("ValueError: " + "no " * 90)

    assert max(map(len, status().splitlines())) <= 80


def test_what_was_dropped_is_told_by_kind() -> None:
    write(
        errors("inbox", 1_200, at=time.time(), kind=Metric.LOSS), errors("metrics", 3, at=time.time(), kind=Metric.LOSS)
    )

    assert status().endswith("Dropped: inbox 1,200, metrics 3\n")


def test_without_rows_it_says_what_to_do() -> None:
    text = status()

    assert "Nothing has been measured yet." in text
    assert "crm_monitoring.middleware.MonitoringMiddleware" in text


def test_issues_are_told_before_anything_was_measured() -> None:
    issue("ValueError: no such category")

    text = status()

    assert "ValueError: no such category" in text
    assert row(text, "Hottest endpoint") == "Hottest endpoint –"
    assert "From all processes" not in text


def test_a_terminal_gets_colours_and_a_pipe_none(traffic: None) -> None:
    assert "\x1b[" in status(no_color=False, force_color=True)
    assert "\x1b[" not in status()


def test_a_title_cannot_command_the_terminal() -> None:
    issue("\x1b[2Jgone\x07")
    write(measured("GET \x1b[31m/", [1.0], at=time.time()))

    text = status()

    assert "�[2Jgone�" in text
    assert "\x1b" not in text


def test_it_speaks_the_language_of_the_site(traffic: None, settings: Any) -> None:
    settings.LANGUAGE_CODE = "fr"

    assert "1,3\xa0s" in status()


def test_json_is_that_of_the_page(traffic: None) -> None:
    found = json.loads(status("--json", "--window", "1h"))

    assert found["window"]["key"] == "1h"
    assert found["requests"] == {"now": 120, "before": 0}


def test_an_unknown_environment_is_an_error(traffic: None) -> None:
    with pytest.raises(CommandError, match="Nothing was measured in 'prod'. Leave --environment out for all."):
        status("--environment", "prod")


@pytest.mark.django_db(transaction=True)
def test_without_tables_it_says_what_to_do() -> None:
    with connection.schema_editor() as editor:
        editor.delete_model(RollUp)
    try:
        with pytest.raises(CommandError, match="has `manage.py migrate` been run"):
            status()
    finally:
        with connection.schema_editor() as editor:
            editor.create_model(RollUp)
