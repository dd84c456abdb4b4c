"""A program that starts a child in one of the ways there are, from a request, a command or neither, and lets both report."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "demo_project.settings"
django.setup()

from django.conf import settings  # noqa: E402 - Django comes first
from django.core.management import BaseCommand, call_command  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import HttpRequest, HttpResponse  # noqa: E402
from django.urls import path  # noqa: E402

from crm_monitoring import capture_exception, capture_message, get_logger, unit_of_work  # noqa: E402
from tests.clients import WSGIClient  # noqa: E402

logger = get_logger("tests.e2e.children")


def report() -> None:
    """What a child does: a message, and a failure that is told twice."""
    capture_message("child_said")
    try:
        raise LookupError("in the child")
    except LookupError as error:
        logger.error("child_failed", exc_info=error)
        capture_exception(error)


def crash() -> None:
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - what multiprocessing prints of it
    capture_message("child_said")
    raise LookupError("in the child")


def _forked(work: Callable[[], object]) -> None:
    child = os.fork()
    if child == 0:
        work()
    os.waitpid(child, 0)


def _report_and(end: Callable[[], object]) -> Callable[[], object]:
    return lambda: (report(), end())


def _crash_unheard() -> None:
    try:
        crash()
    finally:
        os._exit(1)


def _daemonise() -> None:
    _forked(_report_and(lambda: os._exit(0)))
    os._exit(0)


def _terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    signal.pause()


def _started(target: Callable[[], None], method: str) -> None:
    child = multiprocessing.get_context(method).Process(target=target)  # type: ignore[attr-defined]
    child.start()
    child.join()


def _in_a_pool(method: str) -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context(method)) as pool:
        pool.submit(report).result()


def _in_a_terminated_pool(method: str) -> None:
    with multiprocessing.get_context(method).Pool(1) as pool:
        pool.apply(report)


WAYS: dict[str, Callable[[], None]] = {
    "os._exit": lambda: _forked(_report_and(lambda: os._exit(0))),
    "sys.exit": lambda: _forked(_report_and(sys.exit)),
    "SIGTERM": lambda: _forked(_report_and(_terminate)),
    "daemon": lambda: _forked(_daemonise),
    "unheard crash": lambda: _forked(_crash_unheard),
    **{f"process {method}": lambda m=method: _started(report, m) for method in ("fork", "forkserver", "spawn")},  # type: ignore[misc]
    **{f"crash {method}": lambda m=method: _started(crash, m) for method in ("fork", "forkserver", "spawn")},  # type: ignore[misc]
    **{f"executor {method}": lambda m=method: _in_a_pool(m) for method in ("fork", "spawn")},  # type: ignore[misc]
    **{f"pool {method}": lambda m=method: _in_a_terminated_pool(m) for method in ("fork", "spawn")},  # type: ignore[misc]
}


def work() -> None:
    """What the parent does: it has a failure of its own under way when it starts the child."""
    try:
        raise ValueError("in the parent")
    except ValueError as error:
        logger.error("parent_failed", exc_info=error)
    WAYS[sys.argv[2]]()


def view(request: HttpRequest) -> HttpResponse:
    work()
    return HttpResponse()


class Command(BaseCommand):
    def handle(self, *args: object, **options: object) -> None:
        work()


Command.__module__ = "children"
urlpatterns = [path("", view)]


def within_a_request() -> None:
    settings.ROOT_URLCONF = __name__
    WSGIClient(get_wsgi_application()).get("/")


def within_a_command() -> None:
    call_command(Command())


def within_a_unit() -> None:
    with unit_of_work("nightly_import"):
        work()


if __name__ == "__main__":
    places = {"request": within_a_request, "command": within_a_command, "unit": within_a_unit, "neither": work}
    places[sys.argv[1]]()
