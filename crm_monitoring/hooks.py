"""
Who gets the records, and who is told that a unit of work has ended: plain callables, each guarded.

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
from crm_monitoring.sentry import ending

Record = RequestRecord | OperationRecord
Hook = Callable[[Record], None]
Ending = Callable[[], object]

_built_in: tuple[Hook, ...] = ()
_endings: tuple[Ending, ...] = ()
_pauses: tuple[Ending, ...] = ()


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


def register_ending(callback: Ending) -> None:
    """
    Call `callback` when a command has ended, when a server or a worker shuts down and when the process ends, by SIGTERM too.

    Requests have Django's `request_finished`, tasks `register_pause`. Sentry still takes events then. Adding one twice has no effect.
    """
    global _endings
    if callback not in _endings:
        _endings = (*_endings, callback)
    ending.before_closing(ended)


def unregister_ending(callback: Ending) -> None:
    """Take away a callback added by `register_ending`."""
    global _endings
    _endings = tuple(known for known in _endings if known != callback)


def ended() -> None:
    """Say that a command or a process has ended; a callback that raises is counted and stops nobody."""
    _call(_endings, "ending")


def register_pause(callback: Ending) -> None:
    """Call `callback` after each task: another follows at once, or none for hours. Adding one twice has no effect."""
    global _pauses
    if callback not in _pauses:
        _pauses = (*_pauses, callback)


def unregister_pause(callback: Ending) -> None:
    """Take away a callback added by `register_pause`."""
    global _pauses
    _pauses = tuple(known for known in _pauses if known != callback)


def paused() -> None:
    """Say that a task has ended; a callback that raises is counted and stops nobody."""
    _call(_pauses, "pause")


def _call(callbacks: tuple[Ending, ...], kind: str) -> None:
    for callback in callbacks:
        try:
            callback()
        except Exception as error:
            faults.record(f"The {kind} hook {_name(callback)}", error)


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


def _name(hook: Hook | Ending) -> str:
    return f"{getattr(hook, '__module__', '?')}.{getattr(hook, '__qualname__', type(hook).__qualname__)}"


def load() -> None:
    """Import the hooks of the HOOKS key now, so that one which cannot be imported is known before the first record."""
    _configured()


def reset() -> None:
    """Read the HOOKS key again."""
    _configured.cache_clear()
