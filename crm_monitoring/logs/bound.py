"""The fields that every line of what runs now carries: structlog's context variables, where other libraries look for them too."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import structlog

bound = structlog.contextvars.get_contextvars


def bind(fields: Mapping[str, Any]) -> None:
    """Add `fields` to each line from here on."""
    structlog.contextvars.bind_contextvars(**fields)


def rebind(fields: Mapping[str, Any]) -> None:
    """Let each line from here on carry `fields`, and nothing else that was bound."""
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(**fields)


def unbind(names: Collection[str]) -> None:
    """Let no line from here on carry what was bound by these names."""
    structlog.contextvars.unbind_contextvars(*names)
