"""What is said of the project around the dashboard."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import User
from django.core.checks import CheckMessage
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from django.test.utils import isolate_apps

from crm_monitoring.dashboard import surroundings

TEAM = {"team": {"type": "email", "to": ["team@example.org"]}}
MIDDLEWARE = "django.contrib.auth.middleware.AuthenticationMiddleware"


def found(*, deploy: bool = False) -> list[CheckMessage]:
    return surroundings.check_deployment() if deploy else surroundings.check_surroundings()


def ids(*, deploy: bool = False) -> list[str | None]:
    return [message.id for message in found(deploy=deploy)]


def test_the_demo_has_nothing_to_be_told() -> None:
    assert found() == []
    assert found(deploy=True) == []


def test_a_project_without_the_dashboard_is_not_asked(settings: Any) -> None:
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != surroundings.NAME]

    assert found() + found(deploy=True) == []


def test_pages_without_an_address_are_told(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.dashboard.urls_without_admin"
    included = ids()
    settings.ROOT_URLCONF = "tests.other_urls"

    assert surroundings.NOT_INCLUDED not in included
    assert ids() == [surroundings.NOT_INCLUDED]
    assert 'include("crm_monitoring.dashboard.urls")' in (found()[0].hint or "")


def test_the_place_that_shifts_permissions_is_told(settings: Any) -> None:
    settings.INSTALLED_APPS = ["crm_monitoring", surroundings.NAME, *settings.INSTALLED_APPS[1:-1]]

    (message,) = found()

    assert message.id == surroundings.NOT_LAST
    assert "'django.contrib.admin'" in message.msg


def test_apps_without_tables_may_come_after_it(settings: Any) -> None:
    settings.INSTALLED_APPS = [
        *(app for app in settings.INSTALLED_APPS if app != "django.contrib.staticfiles"),
        "django.contrib.staticfiles",
    ]

    assert found() == []


@pytest.mark.parametrize(
    ("shared", "expected"), [([], [surroundings.IN_TENANTS]), ([surroundings.NAME], [])], ids=["tenants only", "shared"]
)
def test_the_dashboard_belongs_to_no_tenant(settings: Any, shared: list[str], expected: list[str]) -> None:
    settings.TENANT_APPS = [surroundings.NAME]
    settings.SHARED_APPS = shared

    assert ids() == expected


# -- who may see it -------------------------------------------------------------------------------------------------------


def without_authentication(settings: Any) -> None:
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if name != MIDDLEWARE]


def test_pages_that_cannot_know_who_asks_are_told(settings: Any) -> None:
    without_authentication(settings)

    (message,) = found()

    assert message.id == surroundings.NOBODY_CAN_LOG_IN
    assert "no AuthenticationMiddleware" in message.msg


@pytest.mark.django_db
def test_they_ask_for_a_login_all_the_same(settings: Any) -> None:
    without_authentication(settings)

    answer = Client().get("/monitoring/")

    assert answer.status_code == 302


@isolate_apps("tests.dashboard")
def test_a_user_model_without_staff_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Person(AbstractBaseUser):
        """A user model that knows no staff."""

        class Meta:
            app_label = "tests"

    monkeypatch.setattr("django.contrib.auth.get_user_model", lambda: Person)

    (message,) = found()

    assert message.id == surroundings.NOBODY_CAN_LOG_IN
    assert "has no is_staff" in message.msg


def test_staff_may_be_a_property_of_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    class Person:
        """A user whose staff is a matter of code."""

        is_staff = property(lambda self: True)

    monkeypatch.setattr("django.contrib.auth.get_user_model", lambda: Person)

    assert found() == []


@pytest.mark.django_db
def test_whoever_knows_no_staff_is_refused(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    client.force_login(User.objects.create_user("camille"))
    monkeypatch.delattr(User, "is_active", raising=False)

    assert client.get("/monitoring/").status_code == 403


def test_a_login_page_that_leads_nowhere_is_told(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.dashboard.urls_without_admin"
    settings.LOGIN_URL = "/no/such/page/"

    assert ids() == [surroundings.LOGIN_LEADS_NOWHERE]


def test_without_djangos_users_another_check_has_its_say(settings: Any) -> None:
    settings.INSTALLED_APPS = ["crm_monitoring", "django.contrib.contenttypes", surroundings.NAME]
    without_authentication(settings)

    assert ids() == [surroundings.NOBODY_CAN_LOG_IN]


# -- alerts ---------------------------------------------------------------------------------------------------------------


def test_messages_without_links_are_told(monitoring: Any) -> None:
    monitoring(ALERT_CHANNELS=TEAM)

    assert ids() == [surroundings.NO_SITE_URL]


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        (TEAM, [surroundings.DEFAULT_SENDER]),
        ({"slack": {"type": "slack", "url": "https://hooks.slack.com/x"}, "wrong": "text"}, []),
    ],
)
def test_a_sender_that_mail_servers_refuse_is_told(
    settings: Any, monitoring: Any, channels: Any, expected: list[str]
) -> None:
    settings.SERVER_EMAIL = "root@localhost"

    monitoring(ALERT_CHANNELS=channels, SITE_URL="https://www.example.org/")

    assert ids() == expected


# -- deployments ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, [surroundings.STYLE_NOT_SERVED]),
        ({"WHITENOISE_USE_FINDERS": True}, []),
        ({"STATIC_URL": "https://static.example.org/"}, []),
        ({"STATIC_URL": None}, [surroundings.STYLE_NOT_SERVED]),
    ],
)
def test_a_style_that_nobody_serves_is_told(settings: Any, given: dict[str, Any], expected: list[str]) -> None:
    settings.ROOT_URLCONF = "tests.dashboard.urls_without_admin"
    for name, value in given.items():
        setattr(settings, name, value)

    assert ids(deploy=True) == expected


@pytest.mark.parametrize("is_collected", [True, False])
def test_a_forgotten_collectstatic_is_told(settings: Any, tmp_path: Path, is_collected: bool) -> None:
    settings.ROOT_URLCONF = "tests.dashboard.urls_without_admin"
    settings.STATIC_ROOT = str(tmp_path)
    if is_collected:
        (tmp_path / surroundings.STYLE).parent.mkdir(parents=True)
        (tmp_path / surroundings.STYLE).touch()

    assert ids(deploy=True) == ([] if is_collected else [surroundings.STYLE_NOT_SERVED])


@pytest.mark.parametrize(
    ("engine", "options", "expected"),
    [
        ("postgresql", {}, [surroundings.NO_TIME_OUT]),
        ("mysql", {"charset": "utf8mb4"}, [surroundings.NO_TIME_OUT]),
        ("postgresql", {"connect_timeout": 3}, []),
        ("oracle", {}, []),
    ],
)
def test_a_database_that_is_waited_for_without_end_is_told(
    monitoring: Any, monkeypatch: pytest.MonkeyPatch, engine: str, options: dict[str, Any], expected: list[str]
) -> None:
    given = {"ENGINE": f"django.db.backends.{engine}", "OPTIONS": options}
    monkeypatch.setitem(connections.settings, "metrics", given)

    monitoring(DASHBOARD_DATABASE="metrics")

    assert ids(deploy=True) == expected


def test_a_database_that_is_not_there_is_for_another_check(monitoring: Any) -> None:
    monitoring(DASHBOARD_DATABASE="nowhere")

    assert found(deploy=True) == []


# -- tables ---------------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_tables_that_are_there_are_fine() -> None:
    assert list(surroundings.check_tables()) == []


@pytest.mark.django_db
def test_a_forgotten_migrate_is_told_by_the_command(monitoring: Any, settings: Any) -> None:
    monitoring()
    MigrationRecorder(connection).migration_qs.filter(app="crm_monitoring_dashboard").delete()
    out = io.StringIO()

    with pytest.raises(CommandError, match="1 error"):
        call_command("monitoring", "check", stdout=out, no_color=True)

    assert f"{surroundings.NOT_MIGRATED}: The database 'default' lacks " in out.getvalue()
    assert "Run `manage.py migrate`, once the database answers." in out.getvalue()


def test_a_database_that_cannot_be_read_is_told(
    monitoring: Any, monkeypatch: pytest.MonkeyPatch, a_sqlite: str, tmp_path: Path
) -> None:
    monitoring(DASHBOARD_DATABASE=a_sqlite)
    connections[a_sqlite].close()
    with monkeypatch.context() as moved:
        moved.setitem(connections[a_sqlite].settings_dict, "NAME", str(tmp_path / "nowhere" / "db.sqlite3"))

        (message,) = surroundings.check_tables()

    assert message.msg == f"The database {a_sqlite!r} cannot be read: OperationalError."
    assert message.hint == f"Run `manage.py migrate --database={a_sqlite}`, once the database answers."


def test_tables_of_a_database_that_is_not_there_are_for_another_check(monitoring: Any) -> None:
    monitoring(DASHBOARD_DATABASE="nowhere")

    assert list(surroundings.check_tables()) == []
