"""The scrubber as the setting wants it: one for log lines, events and everything else that leaves."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import cache
from typing import Any, TypeVar

from django.conf import settings

from crm_monitoring import conf, faults
from crm_monitoring.rendering import searchable
from crm_monitoring.scrubbing.field_names import SENSITIVE_KEYS, SENSITIVE_NAMES, URL_NAMES
from crm_monitoring.scrubbing.scrubber import FILTERED, Scrubber
from crm_monitoring.scrubbing.tracebacks import TracebackPrinter

T = TypeVar("T")

TextScrubber = Callable[[str], str]
"""Takes out of a text what only its caller knows to be secret."""

_clean: dict[str, Any] = {}


@cache
def scrubber() -> Scrubber:
    """Return the scrubber that the setting describes."""
    if not settings.configured:
        # The formatter serves gunicorn's and uvicorn's parent processes, too.
        return Scrubber(other=searchable)
    config = conf.get()
    replaces = config.REPLACE_SENSITIVE_KEYS
    return Scrubber(
        config.SENSITIVE_KEYS if replaces else (*SENSITIVE_KEYS, *config.SENSITIVE_KEYS),
        names=() if replaces else SENSITIVE_NAMES,
        url_names=(*URL_NAMES, *config.SENSITIVE_URL_KEYS),
        readable=config.READABLE_KEYS,
        emails=config.SCRUB_EMAILS,
        other=searchable,
    )


def scrub(value: T, also: TextScrubber | None = None) -> T:
    """Return `value` without secrets, nor what `also` knows of them, as the running request's URL does."""
    return scrubber().scrub(value, also)


def scrub_body(value: T, also: TextScrubber | None = None) -> T:
    """Return the parsed body of a request without secrets: more names are sensitive in it than elsewhere."""
    return scrubber().body(value, also)


def scrub_constant(name: str, value: T, also: TextScrubber | None = None) -> T:
    """Return `value` without secrets. What the last one of that name was, and was clean, is not searched again."""
    if also is None and value == _clean.get(name):
        return value
    result = scrub(value, also)
    if also is None and result is value:
        _clean[name] = deepcopy(value)
    return result


def scrub_text(text: str, also: TextScrubber | None = None) -> str:
    """Return `text` without secrets; "[Filtered]" for all of it where that cannot be told."""
    try:
        return scrub(text, also)
    except Exception as error:
        faults.record("Scrubbing a text", error)
        return FILTERED


def scrub_exception(error: BaseException, also: TextScrubber | None = None) -> str:
    """Return the traceback of `error` and of what caused it, without secrets; "[Filtered]" where that cannot be told."""
    try:
        return _printer().printed(error, also or str)
    except Exception as fault:
        faults.record("Printing a traceback", fault)
        return FILTERED


@cache
def _printer() -> TracebackPrinter:
    return TracebackPrinter(scrubber().text)


def reset() -> None:
    """Read the setting again."""
    _clean.clear()
    _printer.cache_clear()
    scrubber.cache_clear()
