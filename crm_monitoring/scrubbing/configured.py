"""The scrubber as the setting wants it: one for log lines, events and everything else that leaves."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from django.conf import settings

from crm_monitoring import conf, faults
from crm_monitoring.rendering import searchable
from crm_monitoring.scrubbing.field_names import SENSITIVE_KEYS, SENSITIVE_NAMES, URL_NAMES
from crm_monitoring.scrubbing.scrubber import FILTERED, Scrubber
from crm_monitoring.scrubbing.tracebacks import TracebackPrinter

if TYPE_CHECKING:
    from crm_monitoring.work import RequestContext

T = TypeVar("T")

# "GET", "42" or "fr" mean something else wherever they stand outside of the path.
_FEWEST_SIGNS = 6
_WORD = re.compile(r"[A-Za-z][a-z_-]*")


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


class UrlSecrets:
    """
    What is secret in the URL of one request, where no key tells: a route like "login/<token>/" captures a token.

    Wherever the path stands in a text, its safe form takes its place, and wherever a secret stands alone its parameter's name.

    Attributes:
        path: The path without secrets: "/login/{token}/".
    """

    __slots__ = ("_names", "_pattern", "path")

    def __init__(self, path: str, captured: Mapping[str, Any]) -> None:
        known = scrubber()
        secrets = {name: str(value) for name, value in captured.items() if known.is_url_secret(name, value)}
        self.path = known.url(known.route(path, captured) if secrets else path)
        self._names: dict[str, str] = {} if self.path == path else {path: self.path, quote(path): self.path}
        for name, value in secrets.items():
            if len(value) >= _FEWEST_SIGNS and (known.is_sensitive(name) or not _WORD.fullmatch(value)):
                self._names |= {value: f"{{{name}}}", quote(value): f"{{{name}}}"}
        self._pattern = _any_of(self._names) if self._names else None

    def __bool__(self) -> bool:
        return self._pattern is not None

    def replaced(self, text: str) -> str:
        """Return `text` with the path and its secrets replaced."""
        return text if self._pattern is None else self._pattern.sub(lambda match: self._names[match[0]], text)


def _any_of(forms: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(_standing_alone, sorted(forms, key=len, reverse=True))))


def _standing_alone(form: str) -> str:
    return rf"(?<![^\W_]){re.escape(form)}(?![^\W_])" if form[0] != "/" else re.escape(form)


def scrub(value: T, running: RequestContext | None = None) -> T:
    """Return `value` without secrets, nor what the running request's URL holds of them."""
    secrets = running.url_secrets if running is not None else None
    return scrubber().scrub(value, secrets.replaced if secrets else None)


def scrub_body(value: T, running: RequestContext | None = None) -> T:
    """Return the parsed body of a request without secrets: more names are sensitive in it than elsewhere."""
    secrets = running.url_secrets if running is not None else None
    return scrubber().body(value, secrets.replaced if secrets else None)


def scrub_text(text: str, running: RequestContext | None = None) -> str:
    """Return `text` without secrets; "[Filtered]" for all of it where that cannot be told."""
    try:
        return scrub(text, running)
    except Exception as error:
        faults.record("Scrubbing a text", error)
        return FILTERED


def scrub_exception(error: BaseException, running: RequestContext | None = None) -> str:
    """Return the traceback of `error` and of what caused it, without secrets; "[Filtered]" where that cannot be told."""
    try:
        secrets = running.url_secrets if running is not None else None
        return _printer().printed(error, secrets.replaced if secrets else str)
    except Exception as fault:
        faults.record("Printing a traceback", fault)
        return FILTERED


@cache
def _printer() -> TracebackPrinter:
    return TracebackPrinter(scrubber().text)


def reset() -> None:
    """Read the setting again."""
    _printer.cache_clear()
    scrubber.cache_clear()
