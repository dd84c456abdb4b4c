"""The README is short, and its steps are a working site."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from django.core.wsgi import get_wsgi_application

from crm_monitoring.testing import capture_monitoring
from tests.benchmarks import results
from tests.benchmarks.report import page_table
from tests.clients import WSGIClient
from tests.docs import shell
from tests.docs.conftest import Namespace, Page
from tests.docs.markdown import DOCS, README, blocks, marked

TEXT = README.read_text()


@pytest.fixture
def names(page: Page) -> Namespace:
    return page(README)


def test_it_is_short() -> None:
    assert len(TEXT.encode()) <= 12_000


def test_its_first_lines_are_one_sentence_a_log_line_and_a_picture() -> None:
    title, sentence, line, picture, *_ = re.split(r"\n\n(?!\{)", TEXT)

    assert title == "# crm-monitoring"
    assert sentence.count(".") == 1
    assert list(orjson.loads(line.split("\n")[1]))[:4] == ["event", "level", "timestamp", "logger"]
    assert picture.startswith("![")


def test_its_log_line_is_what_its_view_writes(names: Namespace, rf: Any) -> None:
    (shown,) = (orjson.loads(block.text) for block in blocks(README, "json"))

    with capture_monitoring() as captured:
        names["create_organisation"](rf.post("/"))

    written = captured.line("organisation_created")
    assert (written["event"], written["level"], written["org_id"]) == (shown["event"], shown["level"], shown["org_id"])


@pytest.mark.django_db
def test_its_steps_are_a_working_site(names: Namespace, settings: Any) -> None:
    settings.INSTALLED_APPS = list(dict.fromkeys(names["INSTALLED_APPS"]))
    settings.MIDDLEWARE = list(dict.fromkeys(names["MIDDLEWARE"]))
    settings.ROOT_URLCONF = names["__name__"]
    settings.LOGIN_URL = "/login/"
    site = WSGIClient(get_wsgi_application())

    health = site.get("/health/monitoring")
    dashboard = site.get("/monitoring/")

    assert health.json()["status"] == "ok"
    assert dashboard.headers["Location"] == "/login/?next=/monitoring/"


def test_what_it_says_of_a_monitored_line_is_so(names: Namespace, rf: Any) -> None:
    from crm_monitoring import monitored

    with capture_monitoring(level="DEBUG") as captured:
        names["create_organisation"](rf.post("/"))
        monitored("timed", slow_ms=500)(lambda: None)()
        monitored("slow", slow_ms=0.000001)(lambda: None)()

    told = {line["name"]: (line["event"], line["level"]) for line in captured.lines if "name" in line}
    assert told == {
        f"{names['__name__']}.create_organisation": ("operation_finished", "debug"),
        "timed": ("operation_finished", "info"),
        "slow": ("slow_operation_detected", "warning"),
    }


def test_demo_and_tests_are_one_command_each() -> None:
    (demo,) = (block.text for block in blocks(README, "shell") if "demo" in block.text)
    (tests,) = (block.text for block in blocks(README, "shell") if 'pip install -e ".[test]"' in block.text)

    assert [words[0] for words in shell.commands(demo)] == ["python3", ".venv/bin/pip", ".venv/bin/python"]
    assert [words[0] for words in shell.commands(tests)] == ["python3", ".venv/bin/pip", ".venv/bin/pytest"]
    assert demo.count("\n") == tests.count("\n") == 1


def test_the_figures_it_names_are_those_of_the_benchmark() -> None:
    rows = dict(_rows(marked(DOCS / "cost.md", "benchmark")))
    ours, glue = rows["crm_monitoring, not sampled"], rows["sentry-sdk + django-structlog, not sampled"]
    named = re.search(r"takes ([\d.]+) times .*?structlog: ([\d.]+)\), .*? lines ([\d.]+) times \(([\d.]+)\)", TEXT)

    assert named is not None
    assert named.groups() == (ours[0], glue[0], ours[2], glue[2])


def _rows(table: str) -> Iterator[tuple[str, list[str]]]:
    for line in table.splitlines():
        name, *cells = [cell.strip().removeprefix("x ") for cell in line.strip("|").split("|")]
        yield name, cells


def test_the_benchmark_is_the_one_that_was_kept() -> None:
    assert marked(DOCS / "cost.md", "benchmark") == page_table(results.read(results.KEPT))
