"""Where what is monitored ends: nowhere while costs are measured, in memory where it is shown."""

from __future__ import annotations

import os
from typing import Any

DSN = "http://key@127.0.0.1:9/1"
RELEASE = "1.0"
KEEP = "BENCHMARK_KEEP"

kept: list[Any] = []
"""What was delivered, in the order it came, as the stack handed it over."""

_is_keeping = KEEP in os.environ


def is_keeping() -> bool:
    """Whether this process shows what is delivered."""
    return _is_keeping


def deliver(*things: Any) -> None:
    """Take what a stack hands to its transport, exporter or hook."""
    if _is_keeping:
        kept.extend(things)


def texts() -> list[str]:
    """Return all that was delivered as text, to be searched for what should not be in it."""
    return [
        thing.serialize().decode(errors="replace") if hasattr(thing, "serialize") else repr(thing) for thing in kept
    ]
