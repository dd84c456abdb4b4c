from __future__ import annotations

import sys
from typing import Any

import pytest

from crm_monitoring.dashboard import config


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that nobody has started to run tests."""
    monkeypatch.delitem(sys.modules, "crm_monitoring.pytest_plugin", raising=False)
    monkeypatch.setattr(sys, "argv", ["manage.py", "runserver"])


def test_pytest_is_a_test_run(site: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "crm_monitoring.pytest_plugin", config)

    assert config.is_in_tests()


def test_djangos_own_command_is_a_test_run(site: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["manage.py", "test", "shop"])

    assert config.is_in_tests()


@pytest.mark.parametrize("arguments", [["manage.py"], ["manage.py", "monitoring", "test"], ["gunicorn", "shop.wsgi"]])
def test_a_site_is_no_test_run(site: None, monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    monkeypatch.setattr(sys, "argv", arguments)

    assert not config.is_in_tests()


@pytest.mark.parametrize("given", [True, False])
def test_the_key_says_more_than_what_started_the_process(monitoring: Any, given: bool) -> None:
    monitoring(TEST_MODE=given)

    assert config.is_in_tests() is given
