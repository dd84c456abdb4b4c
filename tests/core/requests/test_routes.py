from __future__ import annotations

from time import process_time
from types import ModuleType
from typing import Any

import pytest
from django.conf.urls.i18n import i18n_patterns
from django.http import HttpRequest, HttpResponse
from django.urls import include, path, re_path
from django.utils.translation import gettext_lazy

from crm_monitoring import faults
from crm_monitoring.hooks import Record
from crm_monitoring.requests.routes import endpoint_of, method_of, readable, resolved
from tests.clients import WSGIClient


def ok(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
    return HttpResponse("ok")


_api = [re_path(r"^users/(?P<pk>[^/.]+)\.(?P<format>json|xml)$", ok), path("<uuid:key>/", ok)]

urlpatterns = [
    path("", ok),
    path("organisations/<int:pk>/", ok),
    path("organisations/<int:pk>/", include(([path("contacts/<slug:name>/", ok)], "crm"), namespace="b2b")),
    re_path(r"^archive/(\d{4})/(\d{2})/$", ok),
    re_path(r"^articles/(?P<year>[0-9]{4})/(?:page-(?P<page>\d+)/)?$", ok),
    re_path(r"^api/(?P<version>v[12])/", include(_api)),
    re_path(r"^c\+\+/$", ok),
    *i18n_patterns(
        path("home/", ok), path(gettext_lazy("January"), ok), path("shop/", include([re_path("^(?P<sku>x+)/$", ok)]))
    ),
    path(gettext_lazy("Monday"), ok),
]


@pytest.mark.parametrize(
    ("url", "route"),
    [
        ("/", "/"),
        ("/organisations/7/", "organisations/{pk}/"),
        ("/organisations/7/contacts/ada/", "organisations/{pk}/contacts/{name}/"),
        ("/archive/2026/11/", "archive/{var}/{var}/"),
        ("/articles/2026/", "articles/{year}/page-{page}/"),
        ("/articles/2026/page-2/", "articles/{year}/page-{page}/"),
        ("/api/v1/users/7.json", "api/{version}/users/{pk}.{format}"),
        ("/api/v2/0189dd1c-30e5-7a3f-8c4a-000000000000/", "api/{version}/{key}/"),
        ("/c++/", "c++/"),
        ("/en/home/", "home/"),
        ("/en/January", "January"),
        ("/en/shop/xx/", "shop/{sku}/"),
        ("/Monday", "Monday"),
        ("/nowhere/", "(unrouted)"),
    ],
)
def test_a_request_is_named_after_its_route(
    server: WSGIClient, settings: Any, records: list[Record], url: str, route: str
) -> None:
    settings.ROOT_URLCONF = __name__
    settings.LANGUAGE_CODE = "en"

    server.get(url)

    assert records[0].endpoint == f"GET {route}"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("<slug>/", "{slug}/"),
        ("<path:rest>", "{rest}"),
        ("report.csv", "report.csv"),
        (r"^$", ""),
        (r"^jsi18n/\Z", "jsi18n/"),
        (r"(?P<url>.*)$", "{url}"),
        (r"^reset/(?P<uid>[0-9A-Za-z_\-]+)/(?P<token>[0-9A-Za-z]{1,13}-[0-9A-Za-z]{1,32})/$", "reset/{uid}/{token}/"),
        (r"^users\.(?P<format>[a-z0-9]+)/?$", "users.{format}/"),
        (r"^static/(?P<path>(?:[a-z]+/)*[a-z]+)$", "static/{path}"),
        (r"^(?P<outer>(?P<inner>x)y)/$", "{outer}/"),
        (r"^(?P<a>\d+)(?:/(?P<b>\d+))?/?\Z", "{a}/{b}/"),
        (r"^(?:en|fr)/x/$", "{var}/x/"),
        (r"^foo(bar|baz)/$", "foo{var}/"),
        (r"^(?P<kind>a|b)/$", "{kind}/"),
        (r"^(?i:admin)/(?i)x/$", "admin/x/"),
        (r"^(?!api/)(?P<rest>.*)$", "{rest}"),
        (r"^x/(?<=/)(?#why)y/$", "x/y/"),
        (r"^(?P<quote>['\"])x(?P=quote)$", "{quote}x{quote}"),
        (r"^a/(?P<x>[)(]+)/(?P<y>a\)b)/$", "a/{x}/{y}/"),
        (r"^x/[]a]+\d{2,3}?/\w+/$", "x/{var}/{var}/"),
        (r"^v1.0/.+/$", "v1.0/{var}/"),
        (r"prices$/^<int:pk>/", "prices/{pk}/"),
        (r"^q\?x\$|y$", "q?x$|y"),
        (r"^x)/((", "x)/{var}"),
    ],
)
def test_a_pattern_is_readable(pattern: str, name: str) -> None:
    assert readable(pattern) == name


@pytest.mark.parametrize(
    "pattern", ["^" + "(" * 5000, "^" + "(?:a" * 5000, "^" + "[" * 2000, "^" + "(?P<a>" * 2000 + ")" * 2000]
)
def test_a_hostile_pattern_is_read_in_no_time(pattern: str) -> None:
    started = process_time()

    readable(pattern)

    assert process_time() - started < 2


@pytest.mark.parametrize(
    ("method", "name"), [("GET", "GET"), ("TRACE", "TRACE"), ("HACK1", "OTHER"), ("get", "OTHER"), (None, "OTHER")]
)
def test_a_method_that_somebody_made_up_is_other(method: Any, name: str) -> None:
    request = HttpRequest()
    request.method = method

    assert method_of(request) == name


def test_an_endpoint_without_a_view_is_unrouted() -> None:
    request = HttpRequest()
    request.method = "GET"

    assert endpoint_of(request) == "GET (unrouted)"


def test_a_path_resolves_in_the_urlconf_that_the_request_was_given(settings: Any) -> None:
    request = HttpRequest()
    request.path_info = "/special/"
    urlconf = ModuleType("special_urls")
    urlconf.urlpatterns = [path("special/", ok)]  # type: ignore[attr-defined]

    missed = resolved(request)
    request.urlconf = urlconf  # type: ignore[attr-defined]
    found = resolved(request)

    assert missed is None
    assert found is not None
    assert found.func is ok


@pytest.mark.parametrize(
    ("language", "url", "route"),
    [
        ("fr", "/fr/home/", "home/"),
        ("de", "/de/home/", "home/"),
        ("fr", "/fr/janvier", "January"),
        ("de", "/de/Januar", "January"),
        ("fr", "/fr/shop/xx/", "shop/{sku}/"),
        ("de", "/Montag", "Monday"),
        ("fr", "/organisations/7/", "organisations/{pk}/"),
    ],
)
def test_an_endpoint_is_the_same_in_all_languages(
    server: WSGIClient, settings: Any, records: list[Record], language: str, url: str, route: str
) -> None:
    settings.ROOT_URLCONF = __name__
    settings.LANGUAGE_CODE = "en"
    settings.LANGUAGES = [("en", "English"), ("fr", "French"), ("de", "German")]
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.middleware.locale.LocaleMiddleware"]

    server.get(url, Accept_Language=language)

    assert records[0].endpoint == f"GET {route}"


def test_routes_of_a_project_in_one_language_are_not_read(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.USE_I18N = False
    settings.ROOT_URLCONF = "nowhere"

    assert readable("en/home/") == "en/home/"


def test_a_urlconf_that_cannot_be_read_costs_only_the_one_name(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "reraise", False)
    settings.USE_I18N = True
    settings.ROOT_URLCONF = "nowhere"

    assert readable("en/home/") == "en/home/"
    assert "Reading translated routes failed 1 time, last with ModuleNotFoundError." in faults.sentences()
