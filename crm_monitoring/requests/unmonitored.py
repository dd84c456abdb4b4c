"""Paths that are served and not measured."""

from __future__ import annotations

from functools import cache

from django.conf import settings
from django.urls import get_script_prefix

from crm_monitoring import conf

_SETTINGS = ("STATIC_URL", "MEDIA_URL")


def is_unmonitored_path(path: str, /) -> bool:
    """Whether UNMONITORED_PATHS names the path, or one that it is below of."""
    paths = _paths()
    return path.startswith(paths) and any(path == known or path.startswith(f"{known.rstrip('/')}/") for known in paths)


@cache
def _paths() -> tuple[str, ...]:
    return tuple(path for named in conf.get().UNMONITORED_PATHS if (path := _path_of(named)))


def _path_of(named: str) -> str | None:
    if named not in _SETTINGS:
        return named
    url = getattr(settings, named) or ""
    prefix = get_script_prefix()
    # Django puts the prefix before what does not begin with a slash, before nothing at all too. Files may be on another host.
    path = f"/{url.removeprefix(prefix)}" if url.startswith(prefix) else url
    return path if path.startswith("/") and path.strip("/") and not path.startswith("//") else None


def reset() -> None:
    """Read the settings again."""
    _paths.cache_clear()
