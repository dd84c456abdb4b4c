"""A line's last step: rendered as the setting wants it, and written. Where that fails, a line in its place says so."""

from __future__ import annotations

import sys
from collections.abc import MutableMapping
from datetime import UTC, datetime
from functools import cache, lru_cache
from operator import is_
from time import time
from typing import Any

from django.conf import settings

from crm_monitoring import conf, faults
from crm_monitoring.logs.output import StandardOutput
from crm_monitoring.rendering import Event, Renderer, console_renderer, cut, dumps, json_renderer, logfmt_renderer, text
from crm_monitoring.scrubbing import scrub_exception, scrub_text
from crm_monitoring.work import current_work, url_scrubber

_CUT_EVENT = 256

output = StandardOutput()
"""Where lines go."""


class _DefaultLimits:
    LOG_MAX_STRING = conf.KEYS["LOG_MAX_STRING"].default
    LOG_MAX_LINE = conf.KEYS["LOG_MAX_LINE"].default


def reset() -> None:
    """Read the setting again."""
    renderer.cache_clear()


@cache
def renderer() -> Renderer:
    """Return what makes bytes of a line, without its newline."""
    if not settings.configured:
        return json_renderer(_DefaultLimits())
    config = conf.get()
    match log_format():
        case "console":
            return console_renderer(config, colors=_on_terminal())
        case "logfmt":
            return logfmt_renderer(config)
        case _:
            return json_renderer(config)


def log_format() -> str:
    """Return the format lines have: json, console or logfmt."""
    chosen = conf.get().LOG_FORMAT
    if chosen != "auto":
        return chosen
    return "console" if settings.DEBUG and _on_terminal() else "json"


def _on_terminal() -> bool:
    try:
        return sys.stdout.isatty()
    except (AttributeError, ValueError):
        return False


def is_structured() -> bool:
    """Whether lines are meant for machines."""
    return log_format() != "console"


def emit(line: Event) -> None:
    """Write the line."""
    output.write(render(line) + b"\n")


def render(line: Event) -> bytes:
    """Return the line as bytes, its exception as text, without a newline."""
    return renderer()(with_shown_exception(line) if "exc_info" in line else line)


def with_shown_exception(line: Event) -> Event:
    """Return a copy of the line with its exception as text."""
    shown = {name: value for name, value in line.items() if name != "exc_info"}
    if "exc_info" in line:
        own(shown, "exception", _shown(line["exc_info"]))
    return shown


def _shown(error: BaseException) -> str:
    """Return the exception as text, the same for each line of one work that carries it: Django's, and the request's own."""
    work = current_work()
    if work is None:
        return scrub_exception(error)
    place = error, error.__traceback__
    if work.shown_error is None or not all(map(is_, work.shown_error[0], place)):
        work.shown_error = place, scrub_exception(error, url_scrubber())
    return work.shown_error[1]


def own(line: MutableMapping[str, Any], name: str, value: str) -> None:
    """Give the line a field of ours, beside one of its author's by the same name."""
    if name in line and line[name] is not value:
        set_aside(line, name)
    line[name] = value


def set_aside(line: MutableMapping[str, Any], name: str) -> None:
    """Keep what the caller gave by a name that is ours, with "_" behind the name."""
    free = f"{name}_"
    while free in line:
        free += "_"
    line[free] = line.pop(name)


def name_of(logger: Any) -> str:
    """Return the logger's name; one of structlog's own has none."""
    return getattr(logger, "name", None) or "structlog"


def log_failed(name: str, event: Any, error: BaseException) -> None:
    """Write a line in the place of one that could not be made, and count it."""
    output.write(last_resort(name, event, error) + b"\n")
    faults.record("A log call", error)


def last_resort(name: str, event: Any, error: BaseException) -> bytes:
    """Return a line that says that one of the logger `name` could not be made, and as much of its event as can be shown."""
    return dumps(
        {
            "event": "log_line_failed",
            "level": "error",
            "timestamp": timestamp(time()),
            "logger": name,
            "error": type(error).__name__,
            "of": cut(scrub_text(text(event), url_scrubber()), _CUT_EVENT),
        }
    )


def timestamp(moment: float) -> str:
    """Return a Unix time as "2026-11-23T10:30:45.123Z"."""
    seconds = int(moment)
    return "%s.%03dZ" % (_second(seconds), (moment - seconds) * 1000)  # noqa: UP031 - on every line, and it costs less


@lru_cache(2)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
