"""Handlers of the host that print to the console: known by their stream, and silent while ours prints in their place."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

from crm_monitoring.logs.output import descriptor_of


def is_console(handler: logging.Handler) -> bool:
    """Whether the handler prints to the process's own standard output or error."""
    stream = getattr(handler, "stream", None)
    if stream is None or not isinstance(handler, logging.StreamHandler):
        return False
    if getattr(stream, "closed", False):
        # A console that was replaced since: to print there can only fail, and be told of on the new one.
        return True
    consoles = (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    return stream in consoles or any(_is_same_file(stream, console) for console in consoles)


def _is_same_file(stream: object, console: object) -> bool:
    """Whether both write to one file, pipe or terminal, as "/dev/stdout" does."""
    one, other = descriptor_of(stream), descriptor_of(console)
    try:
        return one is not None and other is not None and os.path.sameopenfile(one, other)
    except OSError:
        return False


class Silence(logging.Filter):
    """
    Lets no record through as long as the handler's stream is a console.

    The handler stays where it is: a test that gives it another stream, as many of Django's own do, finds it and is heard.
    """

    def __init__(self, handler: logging.StreamHandler[Any]) -> None:
        super().__init__()
        self._handler = handler
        self._console = handler.stream

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the handler may print."""
        return not self.holds()

    def holds(self) -> bool:
        """Whether the handler is silent."""
        stream = self._handler.stream
        if stream is self._console:
            return True
        if not is_console(self._handler):
            return False
        self._console = stream
        return True


def silence(handler: logging.StreamHandler[Any]) -> Silence:
    """Let the handler print nothing to a console any more; `removeFilter` of what is returned lets it again."""
    made = Silence(handler)
    # First, where it is looked for.
    handler.filters.insert(0, made)
    return made


def is_silenced(handler: logging.Handler) -> bool:
    """Whether the handler would print nothing of any record."""
    first = handler.filters[0] if handler.filters else None
    return type(first) is Silence and first.holds()


def prints(handler: logging.Handler) -> bool:
    """Whether the handler is a console that is not silenced."""
    return is_console(handler) and not is_silenced(handler)
