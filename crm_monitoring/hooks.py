"""
Who gets the records, and who is told that a unit of work has ended: plain callables, each guarded.

A tuple of callables costs a tenth of a microsecond; a Django signal costs tens once Sentry watches it, and shows every
receiver as a span in the user's own traces.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from inspect import iscoroutinefunction

from django.utils.module_loading import import_string

from crm_monitoring import conf, faults, process
from crm_monitoring.records import OperationRecord, RequestRecord
from crm_monitoring.registry import Registry

Record = RequestRecord | OperationRecord
Hook = Callable[[Record], None]
Ending = Callable[[], object]

_built_in = Registry[[Record], None]("The hook")
_endings = Registry[[], object]("The ending hook")
_pauses = Registry[[], object]("The pause hook")


def register(hook: Hook) -> None:
    """Add a hook of an installed app, called before those of the HOOKS key. Adding one twice has no effect."""
    _built_in.add(hook)


def unregister(hook: Hook) -> None:
    """Take away a hook added by `register`."""
    _built_in.remove(hook)


def emit(record: Record) -> None:
    """Hand `record` to every hook; one that raises is counted and stops nobody."""
    _built_in.call(record)
    _configured().call(record)


def register_ending(callback: Ending) -> None:
    """
    Call `callback` when a command has ended, when a server or a worker shuts down and when the process ends, by SIGTERM too.

    Requests have Django's `request_finished`, tasks `register_pause`. Sentry still takes events then. Adding one twice has no effect.
    """
    _endings.add(callback)
    process.at_end(ended, process.Stage.WRITE)


def unregister_ending(callback: Ending) -> None:
    """Take away a callback added by `register_ending`."""
    _endings.remove(callback)


def ended() -> None:
    """Say that a command or a process has ended; a callback that raises is counted and stops nobody."""
    _endings.call()


def register_pause(callback: Ending) -> None:
    """Call `callback` after each task, job or other unit of work: another follows at once, or none for hours. Adding one twice has no effect."""
    _pauses.add(callback)


def unregister_pause(callback: Ending) -> None:
    """Take away a callback added by `register_pause`."""
    _pauses.remove(callback)


def paused() -> None:
    """Say that a unit of work has ended; a callback that raises is counted and stops nobody."""
    _pauses.call()


@cache
def _configured() -> Registry[[Record], None]:
    configured = Registry[[Record], None]("The hook")
    for path in conf.get().HOOKS:
        _import(path, configured)
    return configured


def _import(path: str, configured: Registry[[Record], None]) -> None:
    try:
        hook = import_string(path)
        if not callable(hook) or iscoroutinefunction(hook):
            raise TypeError(f"{path} is not a plain function.")
    except Exception as error:
        faults.record(f"Importing the hook {path}", error)
    else:
        configured.add(hook)


def load() -> None:
    """Import the hooks of the HOOKS key now, so that one which cannot be imported is known before the first record."""
    _configured()


def reset() -> None:
    """Read the HOOKS key again."""
    _configured.cache_clear()


_request_pages = Registry[[str], str]("The address of a request's page")


def register_request_page(address_of: Callable[[str], str]) -> None:
    """Let the page of a failed request lead staff to the address that this returns for its id. Twice has no effect."""
    _request_pages.add(address_of)


def unregister_request_page(address_of: Callable[[str], str]) -> None:
    """Take away what `register_request_page` has added."""
    _request_pages.remove(address_of)


def request_page(request_id: str) -> str:
    """Return the address of a request's page, empty where nobody knows one."""
    return next((address for _, address in _request_pages.results(request_id) if address), "")
