"""The README is true: its code runs, its tables are those of the code."""

from __future__ import annotations

import re
import sys
import time
import types
from pathlib import Path
from typing import Any

import orjson
import pytest
from django.core.wsgi import get_wsgi_application

from crm_monitoring import checks, conf
from crm_monitoring.dashboard import checks as dashboard_checks
from crm_monitoring.dashboard.alerts import rules
from crm_monitoring.dashboard.alerts.channels import signature
from tests.clients import WSGIClient
from tests.conftest import Lines
from tests.readme import settings_table

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def readme(settings: Any) -> dict[str, Any]:
    """Every Python block of the README, run one after the other as one module."""
    module = types.ModuleType("readme_project")
    module.__dict__.update(INSTALLED_APPS=settings.INSTALLED_APPS, MIDDLEWARE=settings.MIDDLEWARE)
    sys.modules[module.__name__] = module
    for block in BLOCKS:
        exec(compile(block, "README.md", "exec"), module.__dict__)
    return module.__dict__


def test_its_code_runs(readme: dict[str, Any], rf: Any) -> None:
    assert readme["create_organisation"](rf.post("/")).status_code == 201
    assert readme["kpis"](rf.get("/")).status_code == 200
    assert readme["ping"](rf.get("/")).status_code == 200
    readme["test_an_import_says_how_it_went"]()


@pytest.mark.django_db
def test_its_steps_are_a_working_site(readme: dict[str, Any], settings: Any, lines: Lines) -> None:
    settings.INSTALLED_APPS = list(dict.fromkeys(readme["INSTALLED_APPS"]))
    settings.MIDDLEWARE = list(dict.fromkeys(readme["MIDDLEWARE"]))
    settings.CRM_MONITORING = readme["CRM_MONITORING"]
    settings.ROOT_URLCONF = "readme_project"

    answer = WSGIClient(get_wsgi_application()).get("/health/monitoring")

    assert answer.json()["status"] == "ok"
    assert answer.json()["monitoring"]["sentry"]["environment"] == "staging"


def test_its_rules_are_rules(readme: dict[str, Any], settings: Any) -> None:
    settings.CRM_MONITORING = readme["CRM_MONITORING"]

    assert [rule.name for rule in rules.active()] == ["new_issue", "slow", "imports", "no orders"]
    assert rules.problems() == ()


def test_its_check_of_a_webhook_knows_what_is_ours(readme: dict[str, Any]) -> None:
    moment = str(int(time.time()))
    signed = {"X-Monitoring-Timestamp": moment, "X-Monitoring-Signature": signature("secret", moment, b"{}")}
    old = {"X-Monitoring-Timestamp": "1", "X-Monitoring-Signature": signature("secret", "1", b"{}")}

    assert readme["is_ours"]("secret", signed, b"{}")
    assert not readme["is_ours"]("secret", signed, b"{ }")
    assert not readme["is_ours"]("other", signed, b"{}")
    assert not readme["is_ours"]("secret", old, b"{}")


def test_its_kinds_of_rules_are_the_codes() -> None:
    rows = re.findall(r"^\| `(\w+)`(?: \(on\))? \|", README.split("## Alerts")[1].split("| channel |")[0], re.MULTILINE)

    assert rows == [kind.value for kind in rules.Kind]


def test_its_log_line_is_one() -> None:
    (line,) = re.findall(r"```json\n(.*?)\n```", README)

    assert list(orjson.loads(line))[:4] == ["event", "level", "timestamp", "logger"]


def test_its_table_of_settings_is_the_codes() -> None:
    assert settings_table() in README


def test_it_lists_every_check() -> None:
    ids = {value for module in (checks, conf, dashboard_checks) for value in vars(module).values() if _is_id(value)}

    assert set(re.findall(r"crm_monitoring\.[EW]\d+", README)) == ids


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"crm_monitoring\.[EW]\d+", value) is not None


@pytest.mark.parametrize("path", re.findall(r"\]\((?!http)([^)]+)\)", README))
def test_its_links_lead_somewhere(path: str) -> None:
    assert (Path(__file__).parents[1] / path).exists()
