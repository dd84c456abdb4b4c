"""The three formats of a line: JSON and logfmt for machines, console for people."""

from __future__ import annotations

import re
from typing import Any

from crm_monitoring.rendering.console import Console
from crm_monitoring.rendering.limits import Limits, Renderer, limited
from crm_monitoring.rendering.values import Event, dumps, name_of, text

_BARE = re.compile(r'[^ "=\\]+')


def json_renderer(limits: Limits) -> Renderer:
    """Return a renderer of one line of JSON, without its newline."""
    return limited(dumps, limits)


def logfmt_renderer(limits: Limits) -> Renderer:
    """Return a renderer of one line of key=value pairs, without its newline."""
    return limited(_logfmt, limits)


def console_renderer(limits: Limits, *, colors: bool) -> Renderer:
    """Return a renderer for people: coloured, a traceback on lines of its own."""
    return limited(Console(colors=colors), limits)


def _logfmt(event: Event) -> bytes:
    return " ".join(f"{_word(name)}={_quoted(value)}" for name, value in event.items()).encode()


def _word(name: Any) -> str:
    word = "".join("_" if letter in ' ="' or not letter.isprintable() else letter for letter in name_of(name))
    return word or "_"


def _quoted(value: Any) -> str:
    shown = text(value)
    return shown if shown.isprintable() and _BARE.fullmatch(shown) else dumps(shown).decode()
