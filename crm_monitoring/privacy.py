"""The scrubber as the setting wants it: one for log lines, events and everything else that leaves."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from django.conf import settings

from crm_monitoring import conf, faults
from crm_monitoring.rendering import searchable
from crm_monitoring.scrubbing import FILTERED, SENSITIVE_KEYS, Scrubber

if TYPE_CHECKING:
    from crm_monitoring.context import RequestContext


@cache
def scrubber() -> Scrubber:
    """Return the scrubber that SENSITIVE_KEYS and SCRUB_EMAILS describe."""
    if not settings.configured:
        # The formatter serves gunicorn's and uvicorn's parent processes, too.
        return Scrubber(other=searchable)
    config = conf.get()
    keys = config.SENSITIVE_KEYS if config.REPLACE_SENSITIVE_KEYS else (*SENSITIVE_KEYS, *config.SENSITIVE_KEYS)
    return Scrubber(keys, emails=config.SCRUB_EMAILS, other=searchable)


def scrub(value: Any, running: RequestContext | None = None) -> Any:
    """
    Return `value` without secrets, nor what the running request's URL holds of them.

    A route like "login/<token>/" captures a secret: wherever it stands, its parameter's name takes its place.
    """
    clean = scrubber().scrub(value)
    secrets = running.url_secrets if running is not None else {}
    return named(clean, secrets) if secrets else clean


def scrub_text(text: str, running: RequestContext | None = None) -> str:
    """Return `text` without secrets; "[Filtered]" for all of it where that cannot be told."""
    try:
        return str(scrub(text, running))
    except Exception as error:
        faults.record("Scrubbing a text", error)
        return FILTERED


def url_secrets(captured: dict[str, Any]) -> dict[str, Any]:
    """Return those of a route's parameters whose values are secrets."""
    if not captured:
        return {}
    known = scrubber()
    return {name: value for name, value in captured.items() if known.route(str(value), {name: value}) != str(value)}


def named(value: Any, secrets: dict[str, Any]) -> Any:
    """Return `value` with the captured `secrets` replaced by their names, in every text of the tree."""
    if isinstance(value, str):
        return scrubber().route(value, secrets)
    if isinstance(value, dict):
        return {named(name, secrets): named(item, secrets) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [named(item, secrets) for item in value]
    return value


def reset() -> None:
    """Read the setting again."""
    scrubber.cache_clear()
