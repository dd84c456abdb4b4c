"""
Who gets the records: plain callables, each guarded.

A tuple of callables costs a tenth of a microsecond; a Django signal costs tens once Sentry watches it, and shows every
receiver as a span in the user's own traces.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from inspect import iscoroutinefunction
from typing import cast

from django.utils.module_loading import import_string

from crm_monitoring import conf, faults
from crm_monitoring.records import OperationRecord, RequestRecord

Record = RequestRecord | OperationRecord
Hook = Callable[[Record], None]

_built_in: tuple[Hook, ...] = ()


def register(hook: Hook) -> None:
    """Add a hook of an installed app, called before those of the HOOKS key. Adding one twice has no effect."""
    global _built_in
    if hook not in _built_in:
        _built_in = (*_built_in, hook)


def unregister(hook: Hook) -> None:
    """Take away a hook added by `register`."""
    global _built_in
    _built_in = tuple(known for known in _built_in if known != hook)


def emit(record: Record) -> None:
    """Hand `record` to every hook; one that raises is counted and stops nobody."""
    for hook in (*_built_in, *_configured()):
        try:
            hook(record)
        except Exception as error:
            faults.record(f"The hook {_name(hook)}", error)


@cache
def _configured() -> tuple[Hook, ...]:
    return tuple(hook for path in conf.get().HOOKS if (hook := _load(path)) is not None)


def _load(path: str) -> Hook | None:
    try:
        hook = import_string(path)
        if not callable(hook) or iscoroutinefunction(hook):
            raise TypeError(f"{path} is no plain function.")
    except Exception as error:
        faults.record(f"Importing the hook {path}", error)
        return None
    return cast(Hook, hook)


def _name(hook: Hook) -> str:
    return f"{getattr(hook, '__module__', '?')}.{getattr(hook, '__qualname__', type(hook).__qualname__)}"


def load() -> None:
    """Import the hooks of the HOOKS key now, so that one which cannot be imported is known before the first record."""
    _configured()


def reset() -> None:
    """Read the HOOKS key again."""
    _configured.cache_clear()
