"""A program in which something fails, and nothing comes by afterwards."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "demo_project.settings"
django.setup()

from django.core.asgi import get_asgi_application  # noqa: E402 - Django comes first
from django.core.management import BaseCommand, call_command  # noqa: E402

from crm_monitoring import get_logger, unit_of_work  # noqa: E402
from tests.clients import ASGIClient  # noqa: E402

logger = get_logger("tests.e2e.idle")


def report() -> None:
    try:
        raise LookupError("in an idle process")
    except LookupError as error:
        logger.error("import_failed", exc_info=error)


def idle() -> None:
    """Say which threads there are once nothing waits any more, and live on."""
    time.sleep(13)
    sys.stdout.write(f"{json.dumps(sorted(thread.name for thread in threading.enumerate()))}\n")
    sys.stdout.flush()
    time.sleep(60)


class Command(BaseCommand):
    def handle(self, *args: object, **options: object) -> None:
        report()
        idle()


Command.__module__ = "idle"


def within_a_command() -> None:
    call_command(Command())


def within_a_unit() -> None:
    with unit_of_work("nightly_import"):
        report()
        idle()


def within_a_server() -> None:
    async def serve() -> None:
        ASGIClient(get_asgi_application())
        report()

    asyncio.run(serve())
    idle()


def within_a_forked_child() -> None:
    report()
    if os.fork() == 0:
        report()
        idle()
    os.wait()


def without_anything() -> None:
    idle()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
