from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from copy import deepcopy
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from celery.app import app_or_default

from crm_monitoring import checks, conf
from crm_monitoring.dashboard.alerts import channels, rules
from crm_monitoring.management.subcommands import destinations, subcommands
from tests.docs.markdown import Block, blocks, name_of

Namespace = dict[str, Any]
Page = Callable[[Path], Namespace]

_OF_THE_DEMO = ("organisations", "organisations.models")


@pytest.fixture
def page(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    """
    Run the Python blocks of a page, one after the other as one module, and return its names.

    The lists of a project's settings and urls are there to be added to. A block that begins with "# project/metrics.py" can be
    imported as `project.metrics`. What a block leaves in CRM_MONITORING must be a setting without problems.
    """
    current_app = app_or_default()
    for name in _OF_THE_DEMO:
        monkeypatch.setitem(sys.modules, name, import_module(f"demo_project.{name}"))

    def run(path: Path) -> Namespace:
        module = types.ModuleType(f"page_{path.stem.replace('-', '_')}")
        module.__dict__.update(
            __file__=str(path),
            INSTALLED_APPS=list(settings.INSTALLED_APPS),
            MIDDLEWARE=list(settings.MIDDLEWARE),
            CRM_MONITORING={},
            urlpatterns=[],
        )
        monkeypatch.setitem(sys.modules, module.__name__, module)
        for block in blocks(path, "python"):
            _run(block, path, module, settings, monkeypatch)
        return module.__dict__

    yield run
    current_app.set_current()
    for destination in filter(_is_of_a_page, tuple(destinations)):
        destinations.remove(destination)
    for name in [name for name, declared in subcommands.items() if _is_of_a_page(declared)]:
        del subcommands[name]


def _is_of_a_page(declared: Any) -> bool:
    return str(declared.__module__).startswith("page_")


def _run(block: Block, path: Path, module: types.ModuleType, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first = block.text.partition("\n")[0]
    if first.startswith("# ") and first.endswith(".py"):
        _make_importable(first.removeprefix("# ").removesuffix(".py").replace("/", "."), module, monkeypatch)
    before = deepcopy(module.CRM_MONITORING)
    # As many lines before it as in the page, so that a traceback names the page's own.
    code = "\n" * (block.line - 1) + block.text
    exec(compile(code, name_of(path), "exec"), module.__dict__)
    if before != module.CRM_MONITORING:
        settings.CRM_MONITORING = dict(module.CRM_MONITORING)
        assert [*conf.load().problems, *rules.problems(), *channels.problems(), *checks.check_setting()] == []


def _make_importable(dotted: str, module: types.ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    package = dotted.rpartition(".")[0]
    if package and package not in sys.modules:
        monkeypatch.setitem(sys.modules, package, types.ModuleType(package))
    monkeypatch.setitem(sys.modules, dotted, module)
