from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.checks import CheckMessage, Error, run_checks
from django.core.checks.registry import registry
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.test.utils import override_settings

from crm_monitoring import checks, conf
from crm_monitoring.checks import MIDDLEWARE
from crm_monitoring.dashboard import surroundings
from crm_monitoring.sentry.transport import register_receiver, unregister_receiver
from tests.conftest import MemoryTransport
from tests.readme import all_checks

COMMON = "django.middleware.common.CommonMiddleware"
not_callable = "text"


async def asynchronous(record: Any) -> None:
    """A hook that nobody would await."""


def found(*, deploy: bool = False) -> list[CheckMessage]:
    every = run_checks(tags=["crm_monitoring"], include_deployment_checks=deploy)
    # These projects have no pages of the dashboard.
    return [message for message in every if message.id not in vars(surroundings).values()]


def ids(*, deploy: bool = False) -> list[str | None]:
    return [message.id for message in found(deploy=deploy)]


def __getattr__(name: str) -> Any:
    raise ValueError("hunter2") if name == "broken" else AttributeError(name)


@contextmanager
def root_handler(handler: logging.Handler) -> Iterator[None]:
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


def test_every_id_is_used_once() -> None:
    every = [check.id for check in all_checks()]

    assert len(set(every)) == len(every) > 30


def test_a_sound_project_has_nothing_to_be_told() -> None:
    assert found() == []


def test_a_bad_key_is_an_error_with_its_hint(monitoring: Any) -> None:
    monitoring(TRACES_SAMPLE_RATE=10)

    assert found() == [
        Error(
            "CRM_MONITORING['TRACES_SAMPLE_RATE'] is 10; it must be between 0 and 1.",
            hint="10 % is written 0.1.",
            id=conf.BAD_RATE,
        )
    ]


def test_a_bad_key_fails_manage_py_check(monitoring: Any) -> None:
    monitoring(LOG_LEVEL="LOUD")

    with pytest.raises(SystemCheckError, match="LOUD"):
        call_command("check")


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("no.such.module", "cannot be imported: No module named 'no'"),
        ("nowhere", "cannot be imported"),
        ("tests.core.test_checks.nothing", "cannot be imported"),
        ("tests.core.test_checks.broken", "raises ValueError when it is imported"),
        ("tests.core.test_checks.not_callable", "is not callable"),
        ("tests.core.test_checks.asynchronous", "is async"),
    ],
)
def test_a_hook_that_cannot_be_used_is_an_error(monitoring: Any, path: str, complaint: str) -> None:
    monitoring(HOOKS=["tests.core.test_checks.ids", path])

    (error,) = found()
    assert error.id == checks.BAD_HOOK
    assert path in error.msg
    assert complaint in error.msg
    assert "hunter2" not in error.msg


def test_an_option_that_sentry_refuses_is_an_error(monitoring: Any) -> None:
    monitoring(SENTRY_OPTIONS={"debug": False, "dbug": "hunter2"})

    (error,) = found()
    assert error.id == checks.BAD_SENTRY_OPTIONS
    assert "'dbug'" in error.msg
    assert "hunter2" not in error.msg


@pytest.mark.parametrize(
    ("middleware", "expected"),
    [
        ([COMMON], [checks.MIDDLEWARE_MISSING]),
        ([], [checks.MIDDLEWARE_MISSING]),
        ([MIDDLEWARE, COMMON, MIDDLEWARE], [checks.MIDDLEWARE_TWICE]),
        ([COMMON, MIDDLEWARE], [checks.MIDDLEWARE_PLACE]),
        ([COMMON, MIDDLEWARE, MIDDLEWARE], [checks.MIDDLEWARE_TWICE, checks.MIDDLEWARE_PLACE]),
        (["django_prometheus.middleware.PrometheusBeforeMiddleware", MIDDLEWARE], []),
        ([MIDDLEWARE, "django_structlog.middlewares.RequestMiddleware"], [checks.SECOND_REQUEST_LOG]),
    ],
)
def test_the_middleware_belongs_first_and_once(settings: Any, middleware: list[str], expected: list[str]) -> None:
    settings.MIDDLEWARE = middleware

    assert ids() == expected


@pytest.mark.parametrize(
    ("apps", "expected"),
    [
        (["crm_monitoring", "demo_project.organisations"], []),
        (["django.contrib.auth", "django.contrib.contenttypes", "crm_monitoring"], []),
        (["demo_project.organisations", "crm_monitoring"], [checks.APP_PLACE]),
    ],
)
def test_the_app_belongs_before_those_whose_start_may_fail(apps: list[str], expected: list[str]) -> None:
    with override_settings(INSTALLED_APPS=apps):
        assert ids() == expected


def test_a_console_handler_beside_ours_prints_twice() -> None:
    with root_handler(logging.StreamHandler(sys.stderr)):
        assert ids() == [checks.PRINTED_TWICE]


def test_a_handler_that_does_not_print_is_welcome() -> None:
    with root_handler(logging.NullHandler()):
        assert ids() == []


def test_a_console_handler_alone_prints_once(monitoring: Any) -> None:
    monitoring(CONFIGURE_LOGGING=False)

    with root_handler(logging.StreamHandler(sys.stderr)):
        assert checks.PRINTED_TWICE not in ids()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"data_collection": {}}, [checks.PII_WITH_ASGI]),
        ({"data_collection": {"user_info": True}}, [checks.PII_WITH_ASGI]),
        ({"data_collection": {"user_info": False}}, []),
        ({}, []),
    ],
)
def test_collecting_users_under_asgi_is_warned_of(monitoring: Any, options: Any, expected: list[str]) -> None:
    monitoring(SENTRY_OPTIONS=options)

    assert ids() == expected


@pytest.mark.filterwarnings("ignore:The send_default_pii option is deprecated:DeprecationWarning")
def test_the_old_option_for_personal_data_is_warned_of_too(monitoring: Any) -> None:
    monitoring(SENTRY_OPTIONS={"send_default_pii": True})

    assert ids() == [checks.PII_WITH_ASGI]


def test_collecting_users_without_asgi_is_the_projects_choice(settings: Any, monitoring: Any) -> None:
    settings.ASGI_APPLICATION = None

    monitoring(SENTRY_OPTIONS={"data_collection": {}})

    assert ids() == []


def test_a_deployment_without_dsn_is_warned_of(monitoring: Any) -> None:
    monitoring()

    assert ids(deploy=True) == [checks.NO_DSN]


def test_a_deployment_with_an_inbox_needs_no_dsn(monitoring: Any) -> None:
    kept: list[Any] = []
    register_receiver(kept.append)
    try:
        monitoring()
        assert ids(deploy=True) == []
    finally:
        unregister_receiver(kept.append)


def test_a_deployment_that_writes_for_people_is_warned_of(monitoring: Any, transport: MemoryTransport) -> None:
    monitoring(LOG_FORMAT="console", SENTRY_OPTIONS={"transport": transport})

    assert ids(deploy=True) == [checks.CONSOLE_IN_PRODUCTION]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"TRACES_SAMPLE_RATE": 1.0}, [checks.TRACES_EVERYTHING]),
        ({"SENTRY_OPTIONS": {"traces_sample_rate": 1}}, [checks.TRACES_EVERYTHING]),
        ({"TRACES_SAMPLE_RATE": 1.0, "ENVIRONMENT": "staging"}, []),
        ({}, []),
    ],
)
def test_tracing_everything_in_production_is_warned_of(
    monitoring: Any, transport: MemoryTransport, keys: dict[str, Any], expected: list[str]
) -> None:
    options = {"transport": transport, **keys.pop("SENTRY_OPTIONS", {})}

    monitoring(**keys, SENTRY_OPTIONS=options)

    assert ids(deploy=True) == expected


def test_what_is_fine_on_a_laptop_is_told_of_deployments_only(monitoring: Any) -> None:
    monitoring(LOG_FORMAT="console", TRACES_SAMPLE_RATE=1.0)

    assert found() == []


def test_every_message_has_a_hint(settings: Any, monitoring: Any) -> None:
    settings.MIDDLEWARE = [COMMON]

    monitoring(LOG_LEVEL="LOUD", HOOKS=["nowhere"], zzz=1, SENTRY_OPTIONS={"dbug": 1, "data_collection": {}})

    messages = found(deploy=True)
    assert len(messages) == 7
    assert all(message.hint and message.msg.endswith(".") for message in messages)


def test_registering_twice_checks_once() -> None:
    before = len(registry.registered_checks)

    checks.register()

    assert len(registry.registered_checks) == before
