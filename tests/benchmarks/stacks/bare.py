"""Django alone, as `startproject` makes it: lines below WARNING go nowhere."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from typing import Any

from tests.benchmarks.delivery import Delivery
from tests.benchmarks.stacks import Tools

logger = logging.getLogger("benchmark")


def configure(settings: dict[str, Any], rate: float) -> None:
    """Leave Django as it is."""


def info(event: str, **fields: Any) -> None:
    """Log as one does with the standard library."""
    logger.info(event, extra=fields)


def debug(event: str, **fields: Any) -> None:
    """Log what is not wanted as one does with the standard library."""
    logger.debug(event, extra=fields)


def tools() -> Tools:
    """Return what there is without any stack: the standard library's logging."""
    return Tools(info, debug, nullcontext, len)


def delivered() -> Delivery:
    """Return nothing."""
    return Delivery()
