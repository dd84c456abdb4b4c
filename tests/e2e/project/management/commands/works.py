from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from crm_monitoring import capture_exception, get_logger, hooks

logger = get_logger(__name__)


def _fail() -> None:
    raise ValueError("row 3 is broken")


def crash() -> None:
    _fail()


def refuse() -> None:
    raise CommandError("There is no such file.")


def leave() -> None:
    sys.exit(3)


def interrupt() -> None:
    raise KeyboardInterrupt


def report_and_crash() -> None:
    try:
        _fail()
    except ValueError as error:
        logger.exception("import_failed", row=3)
        capture_exception(error, extra={"file": "organisations.csv"})
        raise


def report_and_refuse() -> None:
    try:
        _fail()
    except ValueError as error:
        logger.exception("import_failed", row=3)
        raise CommandError("There is no such file.") from error


def report_and_be_stopped() -> None:
    try:
        _fail()
    except ValueError:
        logger.exception("import_failed", row=3)
    os.kill(os.getpid(), signal.SIGTERM)


def report_fork_and_report() -> None:
    """The child works on with what is held, and ends as the parent does."""
    try:
        _fail()
    except ValueError:
        logger.exception("import_failed", row=3)
    child = os.fork()
    if child:
        os.waitpid(child, 0)
    else:
        capture_exception(KeyError("in the child"))


WAYS = {
    way.__name__: way
    for way in (
        crash,
        refuse,
        leave,
        interrupt,
        report_and_crash,
        report_and_refuse,
        report_and_be_stopped,
        report_fork_and_report,
    )
}


class Command(BaseCommand):
    """Ends in one of the ways that commands end."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("way", choices=WAYS)
        parser.add_argument("--told", type=Path, help="File to which each end that is told adds a line.")

    def handle(self, *args: Any, way: str, told: Path | None, **options: Any) -> None:
        if told is not None:
            hooks.register_ending(lambda: _tell(told))
        WAYS[way]()


def _tell(told: Path) -> None:
    with told.open("a") as file:
        file.write("ended\n")
