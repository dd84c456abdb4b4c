"""Where something happens: the template's line, else the project's nearest function, never who only handed the request on."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.contrib.contenttypes.models import ContentType
from django.contrib.contenttypes.views import shortcut
from django.core.management import call_command, execute_from_command_line
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path

from crm_monitoring import places, queries
from crm_monitoring.sentry.transport import MemoryTransport
from tests.clients import ASGIClient, WSGIClient
from tests.conftest import Lines

pytestmark = pytest.mark.django_db

TEMPLATES = Path(__file__).parents[1] / "templates"


class Row:
    def fails(self) -> str:
        raise ValueError("no such row")


def in_template(request: HttpRequest) -> HttpResponse:
    Group.objects.get_or_create(name="north")
    return render(request, "query.html", {"rows": Group.objects.all()})


def in_function(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(_counted()))


def _counted() -> int:
    return Group.objects.count()


async def in_async_view(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(await Group.objects.acount()))


async def in_async_loop(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str([group.pk async for group in Group.objects.all()]))


async def in_gathered_calls(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(await asyncio.gather(Group.objects.acount(), Group.objects.acount())))


def crashing_template(request: HttpRequest) -> HttpResponse:
    return render(request, "crashing.html", {"rows": [Row()]})


def broken_template(request: HttpRequest) -> HttpResponse:
    return render(request, "broken.html")


def included_template(request: HttpRequest) -> HttpResponse:
    return render(request, "including.html", {"rows": [Row()]})


def passing_on(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    def middleware(request: HttpRequest) -> HttpResponse:
        return get_response(request)

    return middleware


def querying(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    def middleware(request: HttpRequest) -> HttpResponse:
        Group.objects.exists()
        return get_response(request)

    return middleware


urlpatterns = [
    path("in-template/", in_template),
    path("in-function/", in_function),
    path("in-async-view/", in_async_view),
    path("in-async-loop/", in_async_loop),
    path("in-gathered-calls/", in_gathered_calls),
    path("goto/<int:content_type_id>/<int:object_id>/", shortcut),
    path("crashing-template/", crashing_template),
    path("broken-template/", broken_template),
    path("included-template/", included_template),
]


@pytest.fixture(autouse=True)
def _site(settings: Any, monitoring: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every query is slow by the clock."""
    settings.ROOT_URLCONF = __name__
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "OPTIONS": {"debug": False}}]
    monitoring(SLOW_QUERY_MS=1)
    ticks = iter(range(1_000_000))
    monkeypatch.setattr(queries, "perf_counter", lambda: float(next(ticks)))


def found(lines: Lines) -> list[tuple[str, str]]:
    slow = lines.named("slow_query_detected")
    return [(Path(line.get("code.filepath", "")).name, line.get("code.function", "")) for line in slow]


def test_a_query_of_a_template_is_at_the_templates_line(wsgi: WSGIClient, lines: Lines) -> None:
    wsgi.get("/in-template/")

    line = lines.named("slow_query_detected")[-1]
    assert line["code.filepath"] == str(TEMPLATES / "query.html")
    assert (line["code.function"], line["code.lineno"]) == ("template query.html", 2)


def test_a_query_of_a_function_is_at_the_nearest_one_of_the_project(wsgi: WSGIClient, lines: Lines) -> None:
    wsgi.get("/in-function/")

    assert found(lines) == [("test_places.py", "_counted")]


@pytest.mark.parametrize("view", ["in-async-view", "in-async-loop", "in-gathered-calls"])
def test_a_query_of_an_async_call_is_at_the_coroutine_that_waits_for_it(
    asgi: ASGIClient, lines: Lines, view: str
) -> None:
    asgi.get(f"/{view}/")

    (_, function), *_ = found(lines)
    assert function.removesuffix(".<locals>.<listcomp>") == view.replace("-", "_")


@pytest.mark.parametrize("middleware", ["passing_on", "querying"])
def test_a_middleware_that_only_hands_on_is_nobodys_place(lines: Lines, settings: Any, middleware: str) -> None:
    settings.MIDDLEWARE = ["crm_monitoring.middleware.MonitoringMiddleware", f"{__name__}.{middleware}"]

    ContentType.objects.clear_cache()

    WSGIClient(get_wsgi_application()).get("/goto/1000/1/")

    own = [("test_places.py", "querying.<locals>.middleware")] if middleware == "querying" else []
    assert found(lines) == [*own, ("", "")]


def test_manage_py_is_no_place_of_what_its_command_does(lines: Lines, capsys: pytest.CaptureFixture[str]) -> None:
    execute_from_command_line(["manage.py", "remove_stale_contenttypes", "--no-input", "--skip-checks"])

    assert set(found(lines)) == {("", "")}


def test_who_calls_a_command_in_code_is_a_place(lines: Lines) -> None:
    call_command("remove_stale_contenttypes", "--no-input")

    places_found = {line["code.function"] for line in lines.named("slow_query_detected")}
    assert places_found == {"test_who_calls_a_command_in_code_is_a_place"}


def test_a_change_of_the_schema_is_no_slow_query(lines: Lines) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE places_test (id integer)")
        cursor.execute("  alter table places_test rename to places_test2")
        cursor.execute("DROP TABLE places_test2")

    assert lines.named("slow_query_detected") == []


def test_a_frame_that_renders_nothing_has_no_line_of_a_template() -> None:
    assert places.template_line(sys._getframe()) is None


def test_a_node_without_a_place_has_no_line() -> None:
    from django.template.base import Node

    frames = []

    class Asking(Node):
        def render(self, context: Any) -> str:
            frames.append(places.template_line(sys._getframe(1)))
            return ""

    Asking().render_annotated(None)

    assert frames == [None]


@pytest.mark.parametrize(
    ("view", "template", "number", "text"),
    [
        ("crashing-template", "crashing.html", 4, "  {{ row.fails }}"),
        ("included-template", "crashing.html", 4, "  {{ row.fails }}"),
        ("broken-template", "broken.html", 2, "{{ request|broken_filter }}"),
    ],
)
def test_an_error_in_a_template_shows_its_line_without_debug(
    wsgi: WSGIClient, monitoring: Any, transport: MemoryTransport, view: str, template: str, number: int, text: str
) -> None:
    monitoring(SENTRY_OPTIONS={"transport": transport})

    wsgi.get(f"/{view}/")

    frames = transport.events[0]["exception"]["values"][-1]["stacktrace"]["frames"]
    (frame,) = [frame for frame in frames if frame["filename"] == template]
    assert (frame["lineno"], frame["context_line"], frame["in_app"]) == (number, text, True)


def test_a_template_that_is_no_file_is_named_all_the_same(
    wsgi: WSGIClient, monitoring: Any, transport: MemoryTransport, settings: Any
) -> None:
    loader = ("django.template.loaders.locmem.Loader", {"crashing.html": "{{ rows.0.fails }}"})
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "APP_DIRS": False, "DIRS": [], "OPTIONS": {"loaders": [loader]}}]
    monitoring(SENTRY_OPTIONS={"transport": transport})

    wsgi.get("/crashing-template/")

    frames = transport.events[0]["exception"]["values"][-1]["stacktrace"]["frames"]
    (frame,) = [frame for frame in frames if frame["filename"] == "crashing.html"]
    assert (frame["lineno"], "context_line" in frame) == (1, False)
