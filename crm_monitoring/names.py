"""What a request is called: method and route, never the path, so that names stay few."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from django.contrib.admindocs.utils import (
    remove_non_capturing_groups,
    replace_metacharacters,
    replace_named_groups,
    replace_unnamed_groups,
)
from django.urls import Resolver404, resolve

from crm_monitoring.records import UNROUTED

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.urls import ResolverMatch

_PARAMETER = re.compile(r"<(?:[^<>:]+:)?([^<>:]+)>")
_MAX_ROUTES = 2048
_METHODS = frozenset(("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"))


def endpoint_of(request: HttpRequest) -> str:
    """Return the name of the request's transaction: "GET organisations/{pk}/"."""
    return f"{method_of(request)} {route_of(request.resolver_match)}"


def method_of(request: HttpRequest) -> str:
    """Return the HTTP method, or "OTHER" for one that somebody made up."""
    return request.method if request.method in _METHODS else "OTHER"


def route_of(match: ResolverMatch | None) -> str:
    """Return the pattern that matched, "organisations/{pk}/", or "(unrouted)"."""
    return UNROUTED if match is None or match.route is None else readable(match.route) or "/"


def resolved(request: HttpRequest) -> ResolverMatch | None:
    """Return what the request's path leads to, before Django has asked, or None."""
    try:
        return resolve(request.path_info, getattr(request, "urlconf", None))
    except Resolver404:
        return None


@lru_cache(_MAX_ROUTES)
def readable(route: str) -> str:
    """Return a route of `path` or `re_path` with its parameters as {name}: "organisations/{pk}/"."""
    if any(sign in route for sign in "^$(\\"):
        route = replace_named_groups(route)
        route = replace_unnamed_groups(route)
        route = replace_metacharacters(remove_non_capturing_groups(route))
    return _PARAMETER.sub(r"{\1}", route)
