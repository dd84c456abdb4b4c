"""How lines look and where they go, as the setting wants it."""

from __future__ import annotations

import sys
from functools import cache

from django.conf import settings

from crm_monitoring import conf
from crm_monitoring.logs.output import Output, QueuedOutput, StandardOutput
from crm_monitoring.rendering import Renderer, console_renderer, json_renderer, logfmt_renderer

_standard_output = StandardOutput()
_queued_output = QueuedOutput(_standard_output)


def reset() -> None:
    """Read the setting again."""
    _queued_output.size = conf.get().LOG_QUEUE_SIZE
    if not _queued_output.size:
        _queued_output.stop()
    renderer.cache_clear()
    output.cache_clear()


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


class _DefaultLimits:
    LOG_MAX_STRING = conf.KEYS["LOG_MAX_STRING"].default
    LOG_MAX_LINE = conf.KEYS["LOG_MAX_LINE"].default


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


@cache
def output() -> Output:
    """Return where lines go."""
    return _queued_output if _queued_output.size else _standard_output


def is_structured() -> bool:
    """Whether lines are meant for machines."""
    return log_format() != "console"
