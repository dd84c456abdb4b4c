from __future__ import annotations

from typing import Any

import pytest
from django.urls import set_script_prefix

from crm_monitoring.requests.unmonitored import is_unmonitored_path, reset
from tests.clients import WSGIClient
from tests.conftest import Lines


@pytest.mark.parametrize(
    "path",
    [
        "/healthz",
        "/livez/",
        "/readyz/database",
        "/ht/",
        "/metrics",
        "/favicon.ico",
        "/static/app.css",
        "/media/logo.png",
    ],
)
def test_probes_and_files_are_not_measured(settings: Any, path: str) -> None:
    settings.STATIC_URL, settings.MEDIA_URL = "static/", "/media/"

    assert is_unmonitored_path(path)


@pytest.mark.parametrize(
    "path", ["/", "/create/", "/htm", "/healthz-report", "/static", "/metrics.html", "/media-kit/"]
)
def test_all_else_is_measured(settings: Any, path: str) -> None:
    settings.STATIC_URL, settings.MEDIA_URL = "static/", "/media/"

    assert not is_unmonitored_path(path)


@pytest.mark.parametrize("url", [None, "", "/", "https://cdn.example.org/static/", "//cdn.example.org/static/"])
def test_files_that_are_elsewhere_or_everywhere_name_no_path(settings: Any, url: str | None) -> None:
    settings.STATIC_URL = settings.MEDIA_URL = url

    assert not is_unmonitored_path("/create/")
    assert not is_unmonitored_path("/cdn.example.org/static/")


def test_the_path_below_a_prefix_is_what_the_project_serves(settings: Any) -> None:
    set_script_prefix("/crm/")
    try:
        settings.STATIC_URL = "static/"
        reset()
        assert is_unmonitored_path("/static/app.css")
    finally:
        set_script_prefix("/")
        reset()


def test_the_setting_says_what_is_not_measured_in_place_of_the_default(settings: Any, monitoring: Any) -> None:
    settings.STATIC_URL = "/static/"

    monitoring(UNMONITORED_PATHS=["/status", "STATIC_URL"])

    assert is_unmonitored_path("/status/") and is_unmonitored_path("/static/app.css")
    assert not is_unmonitored_path("/healthz")


def answers(get_response: Any) -> Any:
    """A middleware that answers itself."""
    from django.http import HttpResponse

    return lambda request: HttpResponse("no", status=403)


@pytest.mark.parametrize(
    ("path", "route"), [("/status/503/", "status/{code}/"), ("/nowhere/", "(unrouted)"), ("/ok/", "ok/")]
)
def test_what_a_middleware_answers_carries_the_route_of_its_path(
    settings: Any, lines: Lines, records: list[Any], path: str, route: str
) -> None:
    from django.core.wsgi import get_wsgi_application

    settings.MIDDLEWARE = [settings.MIDDLEWARE[0], f"{__name__}.answers"]

    WSGIClient(get_wsgi_application()).get(path)

    assert lines.one("request_finished")["route"] == records[0].route == route


def test_the_path_is_resolved_once_for_it(settings: Any, lines: Lines, sentry: Any, monkeypatch: Any) -> None:
    from django.core.wsgi import get_wsgi_application

    from crm_monitoring.requests import routes

    settings.MIDDLEWARE = [settings.MIDDLEWARE[0], f"{__name__}.answers"]
    asked: list[str] = []
    resolve = routes.resolve
    monkeypatch.setattr(routes, "resolve", lambda path, urlconf: asked.append(path) or resolve(path, urlconf))

    WSGIClient(get_wsgi_application()).get("/status/503/")

    assert asked == ["/status/503/"]
    assert [transaction["transaction"] for transaction in sentry.transactions] == ["GET status/{code}/"]
