"""
Management commands as units of work.

Django has no signal around a command, so `BaseCommand.execute` is replaced, here alone: it keeps its name, signature and result,
and no traceback shows that anything runs around it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from types import TracebackType
from typing import Any, TypeGuard

from django.core.management.base import BaseCommand, CommandError

from crm_monitoring import faults
from crm_monitoring.integrations.work import Run
from crm_monitoring.sentry import capture_crash
from crm_monitoring.sentry.failures import is_held
from crm_monitoring.work import current_work

# What these run is the work of others: requests, tests, what a person types. And `monitoring test` waits for its own events.
_NO_UNITS = frozenset(("monitoring", "runserver", "shell", "test", "testserver"))


@cache
def install() -> None:
    """Make every command that is called from here on a unit of work, unless it is called within another."""
    BaseCommand.execute = _watched(BaseCommand.execute)  # type: ignore[method-assign]


def _watched(execute: Callable[..., str | None]) -> Callable[..., str | None]:
    @wraps(execute)
    def watched(self: BaseCommand, *args: Any, **options: Any) -> str | None:
        with _Call(self):
            return execute(self, *args, **options)

    return watched


class _Call:
    """One call of a command."""

    __slots__ = ("_command", "_run")

    def __init__(self, command: BaseCommand) -> None:
        self._command = command

    def __enter__(self) -> None:
        self._run = _begin_command(self._command)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None and traceback is not None:
            # The first entry is `watched`: neither what a crash prints nor its event shows it.
            BaseException.with_traceback(error, traceback.tb_next)
        if self._run is not None:
            _end_command(self._run, self._command, error)


@faults.guarded
def _begin_command(command: BaseCommand) -> Run | None:
    kinds = {_name_of(kind) for kind in type(command).__mro__}
    if current_work() is not None or not _NO_UNITS.isdisjoint(kinds):
        return None
    name = _name_of(type(command))
    return Run(f"manage.py {name}", "custom", fields={"command": name}, tags={})


def _name_of(kind: type) -> str:
    """Return the command's name: Django knows it by its module, too."""
    return kind.__module__.rpartition(".")[2]


@faults.guarded
def _end_command(run: Run, command: BaseCommand, error: BaseException | None) -> None:
    try:
        if _has_failed(error) and (_ends_the_process(command) or is_held(error)):
            capture_crash(error, "command")
    finally:
        run.end(error)
        run.unbind()


def _has_failed(error: BaseException | None) -> TypeGuard[Exception]:
    # A CommandError is printed as a sentence: the command's way to say no.
    return isinstance(error, Exception) and not isinstance(error, CommandError)


def _ends_the_process(command: BaseCommand) -> bool:
    """
    Whether nobody is there to handle what escapes the command: it was not called by code of the project.

    The attribute is Django's private one. Without it sentry_sdk reports the crash from its own hook, without the command's name.
    """
    return bool(getattr(command, "_called_from_command_line", False))
