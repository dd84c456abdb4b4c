"""Whether an event is being made here: what it reads, as locals whose repr logs, may call us."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_making: ContextVar[bool] = ContextVar("crm_monitoring_making", default=False)

is_making = _making.get


@contextmanager
def making() -> Iterator[None]:
    """Make an event in this block."""
    token = _making.set(True)
    try:
        yield
    finally:
        _making.reset(token)
