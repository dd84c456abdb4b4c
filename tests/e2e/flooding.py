"""
A program that makes more events than may leave, or forks with some, and then ends in one of the ways that processes end.

python -m tests.e2e.flooding flood|nothing|errors|forks|first exit|raises|sigterm
"""

from __future__ import annotations

import os
import signal
import sys
import time

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "demo_project.settings"
django.setup()

import sentry_sdk  # noqa: E402 - Django comes first

from crm_monitoring import capture_exception, capture_message  # noqa: E402


def flood() -> None:
    for _ in range(10_000):
        capture_message("flood")


def nothing() -> None:
    pass


def errors() -> None:
    for number in range(5):
        with sentry_sdk.start_transaction(name=f"task {number}", op="task"):
            capture_exception(ValueError(number))


def forks() -> None:
    """Fork while events wait, some are held back, and a session is not sent yet."""
    for _ in range(12):
        capture_message("flood")
    with sentry_sdk.isolation_scope() as scope:
        scope.start_session(session_mode="request")
        scope.end_session()
    child = os.fork()
    if child == 0:
        capture_message("in the child")
        sys.exit()
    os.waitpid(child, 0)


def first() -> None:
    """Send for the first time."""
    imported = set(sys.modules)
    capture_message("first")
    sentry_sdk.flush()
    assert set(sys.modules) == imported


def ends(how: str) -> None:
    if how == "raises":
        raise SystemExit(3)
    if how == "sigterm":
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)


globals()[sys.argv[1]]()
ends(sys.argv[2])
