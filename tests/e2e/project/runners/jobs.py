"""What the workers of all runners are asked for."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from crm_monitoring import get_logger

logger = get_logger("crm.work")


def succeeds(path: str) -> None:
    logger.info("import_started")


def fails(path: str) -> None:
    try:
        raise ValueError("no such column")
    except ValueError:
        logger.exception("import_failed", row=3)
        raise


def crashes(path: str) -> None:
    raise ValueError("no such table")


def recovers(path: str) -> None:
    """Fail the first time."""
    file = Path(path)
    if not file.exists():
        file.touch()
        raise OSError("no route to host")
    logger.info("import_recovered")


def dies(path: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


JOBS = (succeeds, fails, crashes, recovers, dies)
