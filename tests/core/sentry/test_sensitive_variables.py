"""What Django's decorators mark as sensitive does not leave, with DEBUG neither."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils.functional import SimpleLazyObject
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables

from crm_monitoring import capture_exception, faults, get_logger
from crm_monitoring.sentry import sensitive_variables as marks
from tests.clients import WSGIClient
from tests.conftest import MemoryTransport

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
logger = get_logger("tests.marked")


@sensitive_variables("colour")
def paint(colour: str, size: int) -> None:
    shade = 3  # noqa: F841 - a variable to be seen
    raise ValueError("x")


@sensitive_variables()
def paint_all(colour: str) -> None:
    raise ValueError("x")


@sensitive_variables("colour")
async def async_paint(colour: str, size: int) -> None:
    raise ValueError("x")


def paints(request: HttpRequest) -> HttpResponse:
    paint("heliotrope", 3)
    raise AssertionError


async def async_paints(request: HttpRequest) -> HttpResponse:
    await async_paint("heliotrope", 3)
    raise AssertionError


@csrf_exempt
@sensitive_post_parameters("colour")
def takes_form(request: HttpRequest) -> HttpResponse:
    form = request.POST  # noqa: F841 - a variable to be seen
    raise ValueError("x")


@csrf_exempt
@sensitive_post_parameters()
def takes_secret_form(request: HttpRequest) -> HttpResponse:
    form = request.POST  # noqa: F841 - a variable to be seen
    raise ValueError("x")


@csrf_exempt
@sensitive_post_parameters("colour")
async def async_takes_form(request: HttpRequest) -> HttpResponse:
    form = request.POST  # noqa: F841 - a variable to be seen
    logger.error("form_failed")
    raise ValueError("x")


urlpatterns = [
    path("paints/", paints),
    path("async-paints/", async_paints),
    path("takes-form/", takes_form),
    path("takes-secret-form/", takes_secret_form),
    path("async-takes-form/", async_takes_form),
]


@pytest.fixture(autouse=True)
def _urls(settings: Any, _core_urls: None) -> None:
    settings.ROOT_URLCONF = __name__


def variables(event: dict[str, Any], function: str) -> dict[str, Any]:
    frames = [frame for value in event["exception"]["values"] for frame in value["stacktrace"]["frames"]]
    (found,) = (frame["vars"] for frame in frames if frame["function"] == function)
    return dict(found)


@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize(("view", "function"), [("paints", "paint"), ("async-paints", "async_paint")])
def test_marked_variables_do_not_leave(
    server: WSGIClient, sentry: MemoryTransport, settings: Any, view: str, function: str, debug: bool
) -> None:
    settings.DEBUG = debug

    server.get(f"/{view}/")

    (event,) = sentry.events
    known = variables(event, function)
    assert (known["colour"], known["size"]) == ("[Filtered]", "3")
    assert "heliotrope" not in str(event["exception"]).replace('"heliotrope", 3)', "")


def test_all_variables_may_be_marked(sentry: MemoryTransport) -> None:
    with pytest.raises(ValueError, match="x") as raised:
        paint_all("heliotrope")
    capture_exception(raised.value)

    assert variables(sentry.events[0], "paint_all") == {"colour": "[Filtered]"}


def test_variables_of_a_cause_and_of_a_group_are_marked_too(sentry: MemoryTransport) -> None:
    errors = []
    for size in (1, 2):
        with pytest.raises(ValueError, match="x") as raised:
            paint("heliotrope", size)
        errors.append(raised.value)
    try:
        raise ExceptionGroup("several", errors) from errors[0]
    except ExceptionGroup as group:
        capture_exception(group)

    frames = [
        frame["vars"]
        for value in sentry.events[0]["exception"]["values"]
        for frame in value.get("stacktrace", {}).get("frames", ())
        if frame["function"] == "paint"
    ]
    assert len(frames) >= 2
    assert {known["colour"] for known in frames} == {"[Filtered]"}


@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize("view", ["takes-form", "async-takes-form"])
def test_marked_parameters_do_not_leave(
    server: WSGIClient, sentry: MemoryTransport, settings: Any, view: str, debug: bool
) -> None:
    settings.DEBUG = debug

    server.post(f"/{view}/", b"colour=heliotrope&size=3", **FORM)

    for event in sentry.events:
        assert event["request"]["data"] == {"colour": "[Filtered]", "size": "3"}
    assert "heliotrope" not in str(sentry.events)


def test_all_parameters_may_be_marked(server: WSGIClient, sentry: MemoryTransport) -> None:
    server.post("/takes-secret-form/", b"colour=heliotrope&size=3", **FORM)

    (event,) = sentry.events
    assert event["request"]["data"] == {"colour": "[Filtered]", "size": "[Filtered]"}
    assert "heliotrope" not in str(event)


def test_reading_the_marks_evaluates_no_lazy_object(sentry: MemoryTransport) -> None:
    class Strange:
        def __eq__(self, other: object) -> bool:
            raise RuntimeError

    def fail() -> None:
        lazy = SimpleLazyObject(lambda: User.objects.get())  # noqa: F841 - a variable to be seen
        strange = Strange()  # noqa: F841 - a variable to be seen
        raise ValueError("x")

    with pytest.raises(ValueError, match="x") as raised:
        fail()

    assert marks.hidden_by_place(raised.value, None) == {}


def test_where_the_marks_cannot_be_read_no_variable_leaves(
    server: WSGIClient, sentry: MemoryTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr(faults, "reraise", False)
    monkeypatch.setattr(marks, "hidden_by_place", fail)

    server.post("/takes-form/", b"colour=heliotrope", **FORM)

    (event,) = sentry.events
    assert "heliotrope" not in str(event)
    assert "Hiding what is marked as sensitive failed 1 time, last with RuntimeError." in faults.sentences()
