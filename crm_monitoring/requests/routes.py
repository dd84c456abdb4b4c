"""What a request is called: method and route, never the path, so that names stay few."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING

from django.urls import resolve

from crm_monitoring import lazy
from crm_monitoring.records import UNROUTED
from crm_monitoring.requests import translated_routes

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.urls import ResolverMatch

_PARAMETER = re.compile(r"<(?:[^<>:]+:)?([^<>:]+)>")
_IS_REGEX = re.compile(r"[\^$(\[\\]")
_UNNAMED = "{var}"
_TOKEN = lazy.pattern(
    r"""
      (?P<dropped> \(\?\#[^)]*\) | \(\?[aiLmsux]+\) | \\[AZbB] | [\^$] | [*+?] | \{\d*,?\d*\} )
    | \(\?P=(?P<again>\w+)\)
    | \(\?P<(?P<named>\w+)>
    | (?P<look> \(\?<?[=!] )
    | (?P<inline> \(\?[\w-]*[:>] )
    | (?P<group> \( )
    | (?P<close> \) )
    | (?P<choice> \| )
    | (?P<some> \[\^?\]?(?:\\.|[^\]\\])*\] | \\[dDwWsS] | \.(?=[*+?{]) )
    | \\(?P<escaped> . )
    | (?P<literal> . )
    """,
    re.VERBOSE | re.DOTALL,
)
_MAX_ROUTES = 2048
_OUR_MATCH = "_crm_monitoring_match"
_NO_MATCH: tuple[None, None] = (None, None)
_METHODS = frozenset(("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"))


def endpoint_of(request: HttpRequest) -> str:
    """Return the name of the request's transaction: "GET organisations/{pk}/"."""
    return f"{method_of(request)} {route_of(match_of(request))}"


def method_of(request: HttpRequest) -> str:
    """Return the HTTP method, or "OTHER" for one that somebody made up."""
    return request.method if request.method in _METHODS else "OTHER"


def route_of(match: ResolverMatch | None) -> str:
    """Return the pattern that matched, "organisations/{pk}/", or "(unrouted)"."""
    return UNROUTED if match is None or match.route is None else readable(match.route) or "/"


def match_of(request: HttpRequest) -> ResolverMatch | None:
    """Return what Django has found for the request; where a middleware answers before it, what we have found, if we had to ask."""
    return request.resolver_match or _known(request)


def resolved(request: HttpRequest) -> ResolverMatch | None:
    """Return what the request's path leads to, before Django has asked, or None. What is found is found once."""
    known = _known(request)
    if known is None:
        urlconf = getattr(request, "urlconf", None)
        # A urlconf that cannot be imported is Django's to complain of, as a path is that leads nowhere.
        with suppress(Exception):
            known = resolve(request.path_info, urlconf)
            vars(request)[_OUR_MATCH] = urlconf, known
    return known


def _known(request: HttpRequest) -> ResolverMatch | None:
    urlconf, match = vars(request).get(_OUR_MATCH, _NO_MATCH)
    # A middleware may have changed what the paths of the request mean.
    return match if urlconf == getattr(request, "urlconf", None) else None


@lru_cache(_MAX_ROUTES)
def readable(route: str) -> str:
    """Return a route of `path` or `re_path` with its parameters as {name}, the same in all languages: "organisations/{pk}/"."""
    route = translated_routes.in_one_language(route)
    return _PARAMETER.sub(r"{\1}", _without_regex(route) if _IS_REGEX.search(route) else route)


def reset() -> None:
    """Read the URLconf and the languages again."""
    readable.cache_clear()
    translated_routes.reset()


class _Group:
    """A group of a regular expression that is being read: what stands for it, None for its content."""

    def __init__(self, name: str | None = None) -> None:
        self.name = name
        self.parts: list[str] = []

    def text(self) -> str:
        return "".join(self.parts) if self.name is None else self.name


def _without_regex(pattern: str) -> str:
    """Return `pattern` with {name} for its named groups, {var} for what else may vary, and the rest as it is in a URL."""
    groups = [_Group()]
    for token in _TOKEN.finditer(pattern):
        kind, text = str(token.lastgroup), token[token.lastgroup or 0]
        if kind in _OPENING:
            groups.append(_Group(_OPENING[kind](text)))
        elif kind == "close" and len(groups) > 1:
            closed = groups.pop()
            groups[-1].parts.append(closed.text())
        elif kind == "choice" and len(groups) > 1:
            # One of several: a named or unnamed group says so already.
            groups[-1].name = groups[-1].name if groups[-1].name is not None else _UNNAMED
        else:
            groups[-1].parts.append(_STANDS_FOR.get(kind, _itself)(text))
    return _REPEATED.sub(_UNNAMED, "".join(group.text() for group in groups))


def _itself(text: str) -> str:
    return text


_OPENING: dict[str, Callable[[str], str | None]] = {
    "named": lambda name: f"{{{name}}}",
    "group": lambda _: _UNNAMED,
    "look": lambda _: "",
    "inline": lambda _: None,
}
_STANDS_FOR: dict[str, Callable[[str], str]] = {
    "dropped": lambda _: "",
    "again": lambda name: f"{{{name}}}",
    "some": lambda _: _UNNAMED,
}
_REPEATED = re.compile(r"(?:\{var\}){2,}")
