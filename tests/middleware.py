"""Middleware of other people, good and bad."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse


def nothing(get_response: Any) -> None:
    """A factory that forgot its return."""


def other_urls(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Serves another site by the same process."""

    def middleware(request: HttpRequest) -> HttpResponse:
        request.urlconf = "tests.other_urls"  # type: ignore[attr-defined]
        return get_response(request)

    return middleware


def fails_outside(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Fails when the response is on its way out."""

    def middleware(request: HttpRequest) -> HttpResponse:
        get_response(request)
        raise RuntimeError("outside")

    return middleware
