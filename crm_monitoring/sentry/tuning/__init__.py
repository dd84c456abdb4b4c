"""Shortcuts around costly parts of sentry_sdk. Each can be left out by its switch, and what is sent is the same without it."""

from __future__ import annotations

ROUTED = "routed"
"""The route of a sampled request is looked up by Django alone, where no sampler asks for it."""
SERIALIZER = "serializer"
"""What JSON knows as it is does not pass the SDK's serializer."""
SOURCE_CONTEXT = "source_context"
"""The lines around frames come from Python's own cache of sources."""
UNSAMPLED = "unsampled"
"""A request that is not sampled makes no transaction until somebody asks for more than its name."""

SHORTCUTS = frozenset((ROUTED, SERIALIZER, SOURCE_CONTEXT, UNSAMPLED))

on = SHORTCUTS
"""Those that are taken. A client is made with what stands here when it starts."""


def takes(shortcut: str) -> bool:
    """Whether the shortcut is taken."""
    return shortcut in on
