"""Routes whose text depends on the visitor's language: one name for all of them, so that an endpoint is one."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from django.conf import settings
from django.urls import LocalePrefixPattern, get_resolver
from django.utils import translation

from crm_monitoring import faults

_Chain = tuple[Any, ...]
"""The patterns that lead to one view, outermost first."""


def in_one_language(route: str) -> str:
    """Return `route` without the prefix of `i18n_patterns`, its translated parts in the project's own language."""
    return _known().get(route, route)


@cache
def _known() -> dict[str, str]:
    try:
        chains = list(_chains(get_resolver(), ())) if settings.USE_I18N else []
        return _translated(chains) if _may_depend_on_language(chains) else {}
    except Exception as error:
        # A URLconf that cannot be imported is Django's to complain of.
        faults.record("Reading translated routes", error)
        return {}


def reset() -> None:
    """Read the URLconf and the languages again."""
    _known.cache_clear()


def _may_depend_on_language(chains: list[_Chain]) -> bool:
    return any("locale" in name.lower() for name in settings.MIDDLEWARE) or any(map(_has_prefix, chains))


def _has_prefix(chain: _Chain) -> bool:
    return isinstance(chain[0], LocalePrefixPattern)


def _translated(chains: list[_Chain]) -> dict[str, str]:
    with translation.override(settings.LANGUAGE_CODE):
        names = [_joined(chain[_has_prefix(chain) :]) for chain in chains]
    known: dict[str, str] = {}
    for language, _ in settings.LANGUAGES:
        with translation.override(language):
            for chain, name in zip(chains, names, strict=True):
                known.setdefault(_joined(chain), name)
    return {route: name for route, name in known.items() if route != name}


def _chains(resolver: Any, outer: _Chain) -> Iterator[_Chain]:
    for entry in resolver.url_patterns:
        chain = (*outer, entry.pattern)
        if hasattr(entry, "url_patterns"):
            yield from _chains(entry, chain)
        else:
            yield chain


def _joined(chain: _Chain) -> str:
    """Return the route as Django joins it: an inner "^" does not count."""
    route = ""
    for pattern in chain:
        text = str(pattern)
        route += text.removeprefix("^") if route else text
    return route
