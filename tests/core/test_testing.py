"""What a project's own tests can ask of the code under test."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
from importlib.metadata import entry_points
from typing import Any

import pytest
import sentry_sdk
from django.test import override_settings

from crm_monitoring import PerformanceMonitor, capture_exception, capture_message, get_logger
from crm_monitoring.logs.logger import chain
from crm_monitoring.pytest_plugin import captured_monitoring  # noqa: F401 - a fixture
from crm_monitoring.testing import Captured, capture_monitoring
from tests.clients import WSGIClient
from tests.conftest import MemoryTransport
from tests.e2e.processes import ROOT, environment

cached = get_logger("tests.testing.cached")
cached.info("bound_now")


def test_what_the_code_leaves_behind_is_kept(server: WSGIClient) -> None:
    with capture_monitoring() as captured:
        server.get("/logs-error/")

    assert captured.line("import_failed")["org_id"] == 7
    assert [event["logentry"]["message"] for event in captured.events] == ["import_failed"]
    assert [transaction["transaction"] for transaction in captured.transactions] == ["GET logs-error/"]
    assert [record.route for record in captured.records] == ["logs-error/"]  # type: ignore[union-attr]


def test_an_operation_outside_of_requests_is_kept() -> None:
    with capture_monitoring() as captured, PerformanceMonitor("import"):
        pass

    assert [transaction["transaction"] for transaction in captured.transactions] == ["import"]
    assert [record.name for record in captured.records] == ["import"]  # type: ignore[union-attr]


def test_transactions_may_be_left_out() -> None:
    with capture_monitoring(traces_sample_rate=0.0) as captured, PerformanceMonitor("import"):
        pass

    assert captured.transactions == []


def test_loggers_of_before_and_of_the_standard_library_are_seen() -> None:
    with capture_monitoring() as captured:
        cached.info("one")
        get_logger("tests.testing.new").info("two")
        logging.getLogger("tests.testing.standard").info("three")

    assert [line["event"] for line in captured.lines] == ["one", "two", "three"]


def test_lines_below_info_are_seen_where_wanted() -> None:
    before = logging.getLogger().level

    with capture_monitoring(level="DEBUG") as captured:
        cached.debug("detail")

    assert captured.line("detail")["level"] == "debug"
    assert logging.getLogger().level == before


@pytest.mark.parametrize(
    ("count", "complaint"), [(0, "0 lines are named 'x'; logged was y"), (2, "2 lines are named 'x'")]
)
def test_the_one_line_is_missed_with_a_list_of_what_was_logged(count: int, complaint: str) -> None:
    with capture_monitoring() as captured:
        cached.info("y")
        for _ in range(count):
            cached.info("x")

    with pytest.raises(AssertionError, match=complaint):
        captured.line("x")


def test_no_lines_are_nothing() -> None:
    with capture_monitoring() as captured:
        pass

    with pytest.raises(AssertionError, match="logged was nothing"):
        captured.line("x")


def test_everything_is_put_back(sentry: MemoryTransport) -> None:
    client, processors = sentry_sdk.get_client(), list(chain)
    integrations = dict(client.integrations)

    with capture_monitoring() as captured:
        sentry_sdk.set_tag("inside", "1")
        capture_message("inside")

    capture_message("outside")
    with PerformanceMonitor("outside"):
        pass
    assert sentry_sdk.get_client() is client
    assert client.integrations == integrations
    assert list(chain) == processors
    assert captured.records == []
    assert [event["message"] for event in captured.events] == ["inside"]
    assert [event["message"] for event in sentry.events] == ["outside"]
    assert "inside" not in sentry.events[0].get("tags", {})


def test_everything_is_put_back_after_an_exception(sentry: MemoryTransport) -> None:
    client = sentry_sdk.get_client()

    with pytest.raises(ValueError, match="x"), capture_monitoring():
        raise ValueError("x")

    assert sentry_sdk.get_client() is client


def test_no_thread_is_left(sentry: MemoryTransport, wsgi: WSGIClient) -> None:
    before = set(threading.enumerate())

    with capture_monitoring():
        wsgi.get("/ok/")
        sentry_sdk.logger.info("x")

    left = set(threading.enumerate()) - before
    for thread in left:
        thread.join(2)
    assert not any(thread.is_alive() for thread in left)


def test_what_came_before_is_not_seen(sentry: MemoryTransport) -> None:
    sentry_sdk.set_tag("before", "1")

    with capture_monitoring() as captured:
        capture_message("x")

    assert "before" not in captured.events[0].get("tags", {})


def test_a_block_within_a_block_sees_its_own_events(sentry: MemoryTransport) -> None:
    with capture_monitoring() as outer:
        capture_message("one")
        with capture_monitoring() as inner:
            capture_message("two")
            cached.info("both_see_lines")
        capture_message("three")

    assert [event["message"] for event in inner.events] == ["two"]
    assert [event["message"] for event in outer.events] == ["one", "three"]
    assert outer.line("both_see_lines") == inner.line("both_see_lines")


def test_a_setting_that_changes_within_the_block_counts() -> None:
    with capture_monitoring() as captured, override_settings(CRM_MONITORING={"SENTRY_EVENT_LEVEL": "WARNING"}):
        cached.warning("stock_low")

    assert captured.line("stock_low")["level"] == "warning"
    assert [event["logentry"]["message"] for event in captured.events] == ["stock_low"]


def test_tasks_are_seen() -> None:
    async def work() -> None:
        cached.info("worked")
        capture_exception(ValueError("x"))

    async def main() -> None:
        with capture_monitoring() as captured:
            await asyncio.gather(work(), work())
        assert [line["event"] for line in captured.lines] == ["worked", "worked"]
        assert len(captured.events) == 2

    asyncio.run(main())


def test_the_fixture_captures_too(captured_monitoring: Captured) -> None:  # noqa: F811 - a fixture
    cached.info("row_imported")

    assert captured_monitoring.line("row_imported")["logger"] == "tests.testing.cached"


@pytest.mark.processes
def test_the_fixture_gives_the_same_for_a_whole_test(tmp_path: Any) -> None:
    test = tmp_path / "test_project.py"
    test.write_text(
        "from crm_monitoring import capture_message, get_logger\n"
        "def test_import(captured_monitoring):\n"
        "    get_logger('shop').info('row_imported')\n"
        "    capture_message('x')\n"
        "    assert captured_monitoring.line('row_imported')['logger'] == 'shop'\n"
        "    assert len(captured_monitoring.events) == 1\n"
    )
    # Installed, the package is a plugin by its entry point.
    is_installed = any(point.name == "crm_monitoring" for point in entry_points(group="pytest11"))
    plugin = [] if is_installed else ["-p", "crm_monitoring.pytest_plugin"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *plugin]

    done = subprocess.run(
        [*command, f"--rootdir={tmp_path}", "-c/dev/null", "--ds=tests.settings", str(test)],
        env=environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
