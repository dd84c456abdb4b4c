"""The page of troubles knows each check, each problem and each kind of loss."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from crm_monitoring import check_monitoring_health, faults
from crm_monitoring.sentry import DELIVERY_FAILED
from crm_monitoring.sentry.transport import MemoryTransport
from tests.docs.markdown import DOCS, ROOT, headings, section
from tests.readme import PACKAGE, all_checks

PAGE = DOCS / "troubleshooting.md"


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    """What a test counts as lost is not told when the process ends."""
    yield
    faults.reset()


def test_each_check_has_its_section() -> None:
    described = [heading.text for heading in headings(PAGE) if heading.text.startswith("crm_monitoring.")]

    assert described == [check.id for check in all_checks()]


def test_each_problem_of_the_core_has_its_section(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.CRM_MONITORING = {"TRACES_SAMPLE_RATE": 10, "SENTRY_OPTIONS": {"nothing": 1}}
    faults.lose(f"{DELIVERY_FAILED}network")
    faults.lose("log_lines")
    monkeypatch.setattr(faults, "reraise", False)
    faults.record("The hook crm.keep", ValueError())

    problems = check_monitoring_health()["problems"]

    assert len(problems) == 5
    assert [problem for problem in problems if not any(title in problem for title in _problems_of_the_page())] == []


def test_a_queue_that_is_full_has_its_section(monitoring: Any) -> None:
    class Full(MemoryTransport):
        def is_healthy(self) -> bool:
            return False

    monitoring(SENTRY_OPTIONS={"transport": Full()})

    (problem,) = check_monitoring_health()["problems"]

    assert problem in _problems_of_the_page()


def test_no_problem_is_explained_that_nobody_tells_of() -> None:
    source = " ".join(text for path in PACKAGE.rglob("*.py") for text in _texts(path))

    assert [title for title in _problems_of_the_page() if title not in source] == []


def _problems_of_the_page() -> list[str]:
    """The sections' titles; what changes in a sentence is left out."""
    titles = [
        line.removeprefix("### ")
        for line in section(PAGE, "Problems in the health view").splitlines()
        if line.startswith("### ")
    ]
    return [title.replace(" 3 times, last with ValueError.", "") for title in titles]


def _texts(path: Path) -> Iterator[str]:
    nodes = ast.walk(ast.parse(path.read_text()))
    yield from (node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))


def test_each_kind_of_loss_is_explained() -> None:
    table = section(PAGE, "What was lost")
    kinds = {kind for path in PACKAGE.rglob("*.py") for kind in _kinds(path)}

    assert {"log_lines", "sentry_", "events_held_back"} <= kinds
    assert [kind for kind in kinds if f"`{kind}" not in table] == []


def _kinds(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "faults.lose":
            yield _kind(node.args[0], path)


def _kind(argument: ast.expr, path: Path) -> str:
    match argument:
        case ast.Constant(value=str(text)):
            return text
        case ast.Name(id=name) | ast.BinOp(left=ast.Name(id=name)):
            module = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
            return str(getattr(import_module(module), name))
        case ast.JoinedStr(values=[ast.Constant(value=str(text)), *_]):
            return text
    raise AssertionError(f"{path} loses what this test cannot read: {ast.unparse(argument)}")
