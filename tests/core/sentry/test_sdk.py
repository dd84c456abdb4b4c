from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk
from django.core.management import call_command

from crm_monitoring import sentry
from crm_monitoring.sentry import sdk
from tests.conftest import MemoryTransport

WING = Path(sdk.__file__).parent


def names_from_inside_the_sdk(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("sentry_sdk."))
        elif isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] == "sentry_sdk":
            yield from (f"{node.module}.{alias.name}" for alias in node.names if alias.name not in sentry_sdk.__all__)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "sentry_sdk":
            yield from () if node.attr in sentry_sdk.__all__ else (f"sentry_sdk.{node.attr}",)


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(WING.rglob("*.py")) if path.name != "sdk.py"],
    ids=lambda path: str(path.relative_to(WING)),
)
def test_no_other_module_knows_the_inside_of_the_sdk(path: Path) -> None:
    assert list(names_from_inside_the_sdk(path)) == []


@pytest.mark.parametrize("name", sdk.__all__)
def test_each_name_is_there(name: str) -> None:
    assert getattr(sdk, name) is not None


def test_version_3_is_told_to_collect_nothing_that_our_hooks_do_not_see(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sdk, "STREAMS_ONLY", True)

    options = sdk.collection({"data_collection": {"queues": True}}, has_sources=False)

    collected = options["data_collection"]
    assert (collected["user_info"], collected["cookies"], collected["queues"]) == (False, {"mode": "off"}, True)
    assert (collected["frame_context_lines"], options["attach_stacktrace"]) == (0, False)
    assert "frame_context_lines" not in sdk.collection({}, has_sources=True)["data_collection"]


@pytest.mark.django_db
def test_the_command_names_what_the_installed_version_cannot_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sentry, "LIMITS", ("There are no transactions.",))

    call_command("monitoring", "check")

    assert f"What sentry_sdk {version('sentry-sdk')} cannot do\n  There are no transactions." in capsys.readouterr().out


@pytest.mark.parametrize(("mode", "wanted"), [("off", False), ("denylist", True)])
def test_cookies_are_wanted_where_the_project_collects_them(
    monitoring: Any, transport: MemoryTransport, mode: str, wanted: bool
) -> None:
    monitoring(SENTRY_OPTIONS={"transport": transport, "data_collection": {"cookies": {"mode": mode}}})

    assert sdk.collects_cookies() is wanted
