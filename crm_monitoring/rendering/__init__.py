"""One event dict to one line of bytes, whatever its values are."""

from __future__ import annotations

from crm_monitoring.rendering.formats import console_renderer, json_renderer, logfmt_renderer
from crm_monitoring.rendering.limits import CORE_FIELDS, Renderer, cut
from crm_monitoring.rendering.values import Event, dumps, plain, searchable, simple, text

__all__ = [
    "CORE_FIELDS",
    "Event",
    "Renderer",
    "console_renderer",
    "cut",
    "dumps",
    "json_renderer",
    "logfmt_renderer",
    "plain",
    "searchable",
    "simple",
    "text",
]
