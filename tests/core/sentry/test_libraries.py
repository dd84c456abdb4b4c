"""Which of the SDK's integrations of libraries are on."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk

from crm_monitoring.sentry import libraries, sdk
from tests.conftest import MemoryTransport

ROOT = Path(__file__).parents[3]
INTEGRATION = """
from sentry_sdk.integrations import DidNotEnable, Integration
import {name}

class Watch(Integration):
    identifier = "{name}"

    @staticmethod
    def setup_once():
        if {name}.too_old:
            raise DidNotEnable("too old")
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Installs libraries, each with an integration that the SDK would enable by itself."""
    made: list[str] = []

    def install(name: str, *, too_old: bool = False, integration: str = INTEGRATION) -> None:
        (tmp_path / f"{name}.py").write_text(f"too_old = {too_old}")
        (tmp_path / f"watch_{name}").mkdir()
        (tmp_path / f"watch_{name}" / f"{name}.py").write_text(integration.format(name=name))
        importlib.invalidate_caches()
        made.append(name)
        monkeypatch.setattr(libraries, "AUTO_ENABLING", [f"watch_{name}.{name}.Watch" for name in made])

    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield install
    for name in made:
        for module in (name, f"watch_{name}", f"watch_{name}.{name}"):
            sys.modules.pop(module, None)


def watched() -> set[str]:
    return set(sentry_sdk.get_client().integrations)


def test_what_is_imported_is_watched_at_once_and_the_rest_when_it_is(
    installed: Any, monitoring: Any, transport: MemoryTransport
) -> None:
    installed("library_one")
    installed("library_two")
    importlib.import_module("library_one")

    monitoring(SENTRY_OPTIONS={"transport": transport})
    assert watched() & {"library_one", "library_two"} == {"library_one"}

    importlib.import_module("library_two")
    assert watched() >= {"library_one", "library_two"}


def test_whichever_client_runs_then_watches(installed: Any, monitoring: Any, transport: MemoryTransport) -> None:
    installed("library_three")
    monitoring(SENTRY_OPTIONS={"transport": transport})
    monitoring(SENTRY_OPTIONS={"transport": transport}, ENVIRONMENT="other")

    importlib.import_module("library_three")

    assert "library_three" in watched()


@pytest.mark.parametrize("option", ["default_integrations", "auto_enabling_integrations"])
def test_a_project_may_leave_them_out(installed: Any, monitoring: Any, transport: MemoryTransport, option: str) -> None:
    name = f"library_{option}"
    installed(name)
    monitoring(SENTRY_OPTIONS={"transport": transport, option: False})

    importlib.import_module(name)

    assert name not in watched()


@pytest.mark.parametrize("broken", ["too old", "not for this", "syntax"])
def test_one_that_the_sdk_cannot_watch_is_left_alone(
    installed: Any, monitoring: Any, transport: MemoryTransport, broken: str
) -> None:
    name = f"library_{broken.replace(' ', '_')}"
    code = {
        "too old": INTEGRATION,
        "not for this": "from sentry_sdk.integrations import DidNotEnable\nraise DidNotEnable",
        "syntax": "this is (no Python",
    }[broken]
    installed(name, too_old=True, integration=code)
    monitoring(SENTRY_OPTIONS={"transport": transport})

    importlib.import_module(name)

    assert name not in watched()


def test_one_that_says_the_same_as_another_gives_way(
    installed: Any, monitoring: Any, transport: MemoryTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(libraries, "DEACTIVATES", {"library_agents": {"library_model"}})
    installed("library_model")
    installed("library_agents")
    monitoring(SENTRY_OPTIONS={"transport": transport})

    importlib.import_module("library_model")
    importlib.import_module("library_agents")

    assert "library_agents" in watched()
    assert "library_model" not in watched()


def test_the_sdk_still_says_which_there_are() -> None:
    assert "sentry_sdk.integrations.redis.RedisIntegration" in sdk.AUTO_ENABLING


@pytest.mark.processes
def test_a_library_that_is_merely_installed_is_not_imported_at_the_start() -> None:
    script = """
import json, sys, django
from django.conf import settings
settings.configure(INSTALLED_APPS=["crm_monitoring"], CRM_MONITORING={"SENTRY_DSN": "http://public@127.0.0.1:9/7"})
django.setup()
before = "celery" in sys.modules
import celery
sys.stdout.write(json.dumps([before, "crm_monitoring.integrations.celery" in sys.modules]))
"""

    done = subprocess.run([sys.executable, "-W", "error", "-c", script], cwd=ROOT, capture_output=True, check=True)

    assert json.loads(done.stdout) == [False, True]
