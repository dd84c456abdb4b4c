"""What is said of a project's own settings, where they keep the monitoring from what it is there for."""

from __future__ import annotations

from typing import Any

import pytest

from crm_monitoring.checks import project
from crm_monitoring.checks.exception_handlers import hides_crashes


def ids() -> list[str | None]:
    return [message.id for message in project.check_project()]


# -- keys that nobody reads -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"), [("SENTRY_DSN", "https://hunter2@sentry.example/7"), ("SENTRY_OPTIONS", {"debug": True})]
)
def test_a_key_at_the_top_of_the_settings_is_told(settings: Any, monitoring: Any, name: str, value: Any) -> None:
    monitoring()
    setattr(settings, name, value)

    (message,) = project.check_project()

    assert message.id == project.KEY_NOT_READ
    assert message.hint == f"Write CRM_MONITORING = {{'{name}': {name}}}."
    assert "hunter2" not in message.msg + message.hint


def test_one_that_is_moved_into_the_setting_too_is_fine(settings: Any, monitoring: Any) -> None:
    settings.SENTRY_DSN = "https://public@sentry.example/7"

    monitoring(SENTRY_DSN=settings.SENTRY_DSN)

    assert ids() == []


def test_names_that_a_project_may_use_for_something_else_are_left_alone(settings: Any, monitoring: Any) -> None:
    settings.ENVIRONMENT = "staging"
    settings.LOG_LEVEL = "DEBUG"

    monitoring()

    assert ids() == []


# -- handlers that hide crashes -------------------------------------------------------------------------------------------


def passing(exc: Exception, context: Any) -> Any:
    """As Django REST framework shows how to write one."""
    response = exception_handler(exc, context)
    if response is not None:
        response.data["status_code"] = response.status_code
    return response


def choosing(exc: Exception, context: Any) -> Any:
    if isinstance(exc, KeyError):
        return Response({"detail": "unknown"}, status=404)
    return exception_handler(exc, context)


def reporting(exc: Exception, context: Any) -> Any:
    logger.exception("request_failed")  # noqa: LOG004 - it is called where there is one
    return Response({"detail": "sorry"}, status=500)


def hiding(exc: Exception, context: Any) -> Any:
    response = exception_handler(exc, context)
    if response is None:
        return Response({"detail": str(exc)}, status=500)
    return response


def hiding_all(exc: Exception, context: Any) -> Any:
    return drf.Response({"detail": "sorry"}, status=500)


exception_handler: Any = None
Response: Any = None
logger: Any = None
drf: Any = None


@pytest.mark.parametrize("handler", [hiding, hiding_all])
def test_a_handler_that_answers_everything_and_tells_nobody_hides_crashes(settings: Any, handler: Any) -> None:
    settings.REST_FRAMEWORK = {"EXCEPTION_HANDLER": f"{__name__}.{handler.__name__}"}

    (message,) = project.check_project()

    assert message.id == project.CRASHES_HIDDEN
    assert handler.__name__ in message.msg


@pytest.mark.parametrize("handler", [passing, choosing, reporting])
def test_a_handler_that_lets_crashes_through_or_reports_them_is_fine(settings: Any, handler: Any) -> None:
    settings.REST_FRAMEWORK = {"EXCEPTION_HANDLER": handler}

    assert ids() == []


@pytest.mark.parametrize("given", [None, {}, {"EXCEPTION_HANDLER": "no.such.handler"}])
def test_without_a_handler_of_its_own_nothing_is_said(settings: Any, given: Any) -> None:
    settings.REST_FRAMEWORK = given

    assert ids() == []


@pytest.mark.parametrize("handler", [len, eval("lambda exc, context: 1")])
def test_what_has_no_source_is_not_judged(handler: Any) -> None:
    assert not hides_crashes(handler)
