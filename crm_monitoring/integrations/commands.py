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
from crm_monitoring.sentry import is_held
from crm_monitoring.units import COMMAND, begin_unit, end_unit
from crm_monitoring.work import Unit, current_work

# What these run is the work of others: requests, tests, what a person types, jobs. And `monitoring test` waits for its own events.
_WORKERS = ("db_worker", "qcluster", "rqworker", "rqworker-pool", "run_huey", "rundramatiq")
_NO_UNITS = frozenset(("monitoring", "runserver", "shell", "test", "testserver", *_WORKERS))

# Nobody wants to know how long `migrate` takes at P95.
_NOT_COUNTED = ("django.", "crm_monitoring.")


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

    __slots__ = ("_command", "_unit")

    def __init__(self, command: BaseCommand) -> None:
        self._command = command

    def __enter__(self) -> None:
        self._unit = _begin_command(self._command)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None and traceback is not None:
            # The first entry is `watched`: neither what a crash prints nor its event shows it.
            BaseException.with_traceback(error, traceback.tb_next)
        if self._unit is not None:
            end_unit(self._unit, error, is_failure=_is_failure(self._command, error))


@faults.guarded
def _begin_command(command: BaseCommand) -> Unit | None:
    kinds = {_name_of(kind) for kind in type(command).__mro__}
    if current_work() is not None or not _NO_UNITS.isdisjoint(kinds):
        return None
    name = _name_of(type(command))
    unit = begin_unit(f"manage.py {name}", COMMAND, {"command": name})
    if unit is not None:
        unit.is_counted = not type(command).__module__.startswith(_NOT_COUNTED)
    return unit


def _name_of(kind: type) -> str:
    """Return the command's name: Django knows it by its module, too."""
    return kind.__module__.rpartition(".")[2]


@faults.guarded
def _is_failure(command: BaseCommand, error: BaseException | None) -> bool:
    return _has_failed(error) and (_ends_the_process(command) or is_held(error))


def _has_failed(error: BaseException | None) -> TypeGuard[Exception]:
    # A CommandError is printed as a sentence: the command's way to say no.
    return isinstance(error, Exception) and not isinstance(error, CommandError)


def _ends_the_process(command: BaseCommand) -> bool:
    """
    Whether nobody is there to handle what escapes the command: it was not called by code of the project.

    The attribute is Django's private one. Without it sentry_sdk reports the crash from its own hook, without the command's name.
    """
    return bool(getattr(command, "_called_from_command_line", False))
