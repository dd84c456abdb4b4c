"""A database of its own: the router that leads there, and what the checks say of the dashboard's surroundings."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.core.checks import run_checks
from django.core.management import call_command
from django.db import connections, router

from crm_monitoring import checks as core_checks
from crm_monitoring import conf, hooks
from crm_monitoring.dashboard import checks, flushing
from crm_monitoring.dashboard.models import Flush
from tests.dashboard.databases import installed, settings_of
from tests.dashboard.measured import counts, request

OURS = list(apps.get_app_config("crm_monitoring_dashboard").get_models())


@pytest.fixture
def routed(settings: Any, monitoring: Any) -> Iterator[None]:
    settings.DATABASE_ROUTERS = [checks.ROUTER]
    monitoring(DASHBOARD_DATABASE="dashboard")
    with installed(settings_of("sqlite", ":memory:")):
        yield


def found() -> list[str | None]:
    return [message.id for message in run_checks(tags=["crm_monitoring"])]


def test_its_models_are_there_and_nowhere_else(routed: None) -> None:
    for model in OURS:
        assert router.db_for_read(model) == router.db_for_write(model) == "dashboard"
        assert router.allow_migrate_model("dashboard", model)
        assert not router.allow_migrate_model("default", model)


def test_other_models_go_where_they_went(routed: None) -> None:
    assert router.db_for_read(User) == router.db_for_write(User) == "default"
    assert router.allow_migrate_model("default", User)
    assert router.allow_migrate_model("dashboard", User)


def test_migrate_makes_its_tables_there_and_flushes_write_there(
    settings: Any, monitoring: Any, tmp_path: Any, django_db_blocker: Any
) -> None:
    settings.DATABASE_ROUTERS = [checks.ROUTER]
    monitoring(DASHBOARD_DATABASE="dashboard")
    with django_db_blocker.unblock(), installed(settings_of("sqlite", str(tmp_path / "own.sqlite3"))):
        call_command("migrate", database="dashboard", verbosity=0, stdout=StringIO())
        hooks.emit(request())

        assert flushing.flush()

        assert Flush._meta.db_table in connections["dashboard"].introspection.table_names()
        assert counts("dashboard") == {"GET ok/": 1}


def test_every_id_is_used_once() -> None:
    ids = [
        value
        for module in (conf, core_checks, checks)
        for value in vars(module).values()
        if isinstance(value, str) and value.startswith("crm_monitoring.") and value[-3:].isdigit()
    ]

    assert len(set(ids)) == len(ids)


def test_well_installed_there_is_nothing_to_say(routed: None) -> None:
    assert found() == []


def test_a_database_that_is_not_in_the_setting_is_an_error(monitoring: Any) -> None:
    monitoring(DASHBOARD_DATABASE="monitorin")

    assert found() == [checks.NO_SUCH_DATABASE]


@pytest.mark.parametrize("routers", [[], ["tests.dashboard.test_router.Other"]])
def test_a_database_of_its_own_without_the_router_is_a_warning(routed: None, settings: Any, routers: list[str]) -> None:
    settings.DATABASE_ROUTERS = routers

    assert found() == [checks.ROUTER_MISSING]


class Other:
    """A router of the host's, for something else."""


def test_where_it_is_not_installed_there_is_nothing_to_say(settings: Any) -> None:
    settings.INSTALLED_APPS = ["crm_monitoring"]

    assert checks.check_dashboard() == []


def test_the_dashboard_alone_is_an_error(settings: Any) -> None:
    settings.INSTALLED_APPS = [name for name in settings.INSTALLED_APPS if name != "crm_monitoring"]

    assert checks.CORE_MISSING in found()


def test_without_users_it_is_an_error(settings: Any) -> None:
    settings.INSTALLED_APPS = ["crm_monitoring", "crm_monitoring.dashboard"]

    assert "crm_monitoring.E014" in found()
    (message,) = [message for message in checks.check_dashboard() if message.id == checks.APPS_MISSING]

    assert "'django.contrib.auth', 'django.contrib.contenttypes', 'django.contrib.sessions'" in message.msg
