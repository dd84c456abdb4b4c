"""How `manage.py monitoring` finds the subcommands of installed apps."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path
from time import time
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.core.management.base import CommandError

from crm_monitoring.management.commands import monitoring as command
from crm_monitoring.management.commands.monitoring import Subcommand
from tests.dashboard.measured import counts
from tests.dashboard.traffic import measured, write

ROOT = Path(__file__).parents[3]
GREETING = """
from crm_monitoring.management.commands.monitoring import Subcommand, subcommand

@subcommand
class Greet(Subcommand):
    name = "greet"
    help = "Greet."

    def run(self, **options):
        self.stdout.write("Hello.")
"""


@pytest.fixture
def greeting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let the demo's app name a module with that text: `greeting(text)`."""

    def write(text: str) -> None:
        (tmp_path / "greeting.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setitem(command.subcommands, "greet", Subcommand)
        monkeypatch.delitem(command.subcommands, "greet")
        monkeypatch.setattr(apps.get_app_config("organisations"), "monitoring_subcommands", "greeting", raising=False)

    yield write
    sys.modules.pop("greeting", None)


def manage(*args: str) -> str:
    out = io.StringIO()
    call_command("monitoring", *args, stdout=out, no_color=True)
    return out.getvalue()


def test_an_app_names_the_module_of_its_subcommands(greeting: Any) -> None:
    greeting(GREETING)

    assert manage("greet") == "Hello.\n"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import nowhere", "greeting raises ModuleNotFoundError: No module named 'nowhere'"),
        ("1 / 0", "greeting raises ZeroDivisionError: division by zero"),
        ("def", "greeting raises SyntaxError: "),
    ],
)
def test_a_module_that_cannot_be_imported_is_told_and_costs_no_other(
    greeting: Any, capsys: pytest.CaptureFixture[str], text: str, reason: str
) -> None:
    greeting(text)

    manage("check")

    assert f"The subcommands of organisations are missing: {reason}" in capsys.readouterr().err
    with pytest.raises(CommandError, match="greet"):
        manage("greet")


def test_the_dashboard_adds_its_own() -> None:
    with pytest.raises(CommandError, match=r"check.*test.*status.*deploy.*prune"):
        manage("dance")


@pytest.mark.django_db
def test_prune_says_what_it_did(monitoring: Any) -> None:
    monitoring(RETENTION_DAYS=7)
    for at in (time() - 8 * 86_400, time() - 3_600, time() - 3_600, time()):
        write("default", measured("GET ok/", [1.0], at=at))

    told = manage("prune")

    assert re.fullmatch(
        r"Rolled up \d+ rows and merged 0 visits\.\n"
        r"Deleted what was older than 7 days: [12] roll-ups, 0 visits, 0 events, 0 slow transactions, 0 issues, "
        r"0 of their places, 0 of their users\.\n",
        told,
    )
    assert counts("default") == {"GET ok/": 3}
    assert manage("prune").startswith("Rolled up 0 rows ")


def test_prune_says_what_keeps_it_from_pruning(monitoring: Any) -> None:
    monitoring(DASHBOARD_DATABASE="nowhere")

    with pytest.raises(CommandError) as failure:
        manage("prune")

    assert str(failure.value).startswith("Not everything was pruned. The database 'nowhere' says: ")


@pytest.mark.processes
def test_nothing_of_them_is_imported_before_the_command_runs() -> None:
    code = (
        "import sys, django; django.setup(); "
        "print([name for name in sys.modules if name.startswith('crm_monitoring.dashboard.') and 'command' in name])"
    )

    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "demo_project.settings"}
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )

    assert result.stdout == "[]\n"
