"""What every line passes, native or of the standard library: its way from the call to the stream, step by step."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable, MutableMapping
from contextvars import ContextVar
from time import time
from typing import Any

import structlog

from crm_monitoring import faults, severity
from crm_monitoring.logs.lines import name_of, own, set_aside, timestamp
from crm_monitoring.places import place
from crm_monitoring.scrubbing import scrub
from crm_monitoring.work import current_work, url_scrubber

Processor = Callable[[Any, str, MutableMapping[str, Any]], MutableMapping[str, Any]]

_LINE_FIELDS = ("event", "level", "timestamp", "logger")
_OUR_FIELDS = frozenset(_LINE_FIELDS)
_SERIOUS = frozenset(("error", "critical", "exception", "fatal"))
_STACK_FRAMES = 30
_OUR_FRAMES = 3

# An async call logs in a thread, which does not know what its caller handles.
_handled: ContextVar[BaseException | None] = ContextVar("crm_monitoring_handled", default=None)

handle = _handled.set
stop_handling = _handled.reset


def handled_error() -> BaseException | None:
    """Return the exception that is being handled where the current line was logged."""
    error = sys.exc_info()[1]
    return _handled.get() if error is None else error


def exception_of(line: MutableMapping[str, Any]) -> BaseException | None:
    """Return the exception that the line's exc_info means: an exception, a triple of `sys.exc_info`, or True for the current one."""
    given = line.get("exc_info")
    # By types alone, here and below: asking a lazy object for its class, or whether it is true, would evaluate it.
    for one in given if type(given) is tuple else (given,):
        if issubclass(type(one), BaseException):
            error: BaseException = one
            return error
    if type(given) is tuple:
        return None
    return None if given is None or given is False else sys.exc_info()[1]


def resolve(line: MutableMapping[str, Any]) -> None:
    """Replace an exc_info of True by the exception handled right now, which another thread or a later moment would not find."""
    if "exc_info" in line:
        line["exc_info"] = exception_of(line)


def take_in(logger: Any, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add what is known only where the line is logged: the exception and the stack it asks for, what is bound, the user."""
    resolve(line)
    if line.get("stack_info") is True:
        own(line, "stack", "".join(traceback.format_stack()[-_STACK_FRAMES:-_OUR_FRAMES]).rstrip())
        del line["stack_info"]
    if method in _SERIOUS and line.get("exc_info") is None and handled_error() is None:
        line.update({**_place(logger), **line})
    work = current_work()
    bound = structlog.contextvars.get_contextvars()
    for name, value in bound.items():
        # The id of what runs follows, when the line has been searched for secrets.
        if work is None or name != "request_id":
            line.setdefault(name, value)
    if work is not None:
        work.bound = bound
        if "user_id" not in line and (user_id := work.user_id) is not None:
            line["user_id"] = user_id
    return line


def _place(logger: Any) -> dict[str, Any]:
    """Return where the line was logged: one without an exception has no traceback to tell it."""
    if not isinstance(logger, logging.LogRecord):
        return place()
    return {"code.filepath": logger.pathname, "code.lineno": logger.lineno, "code.function": logger.funcName}


def scrub_line(logger: Any, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Take the secrets out of the line. Where that fails the line stays behind, and one in its place says so."""
    error = line.pop("exc_info", None)
    try:
        clean: Any = scrub(line, url_scrubber())
    except Exception as fault:
        faults.record("Scrubbing a log line", fault)
        clean = None
    if type(clean) is not dict:
        faults.lose("unscrubbed_lines")
        return {"event": "line_not_scrubbed"}
    return clean if error is None else {**clean, "exc_info": error}


def complete(logger: Any, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Put level, timestamp and logger beside the event; a field of the caller with one of these names gets a "_" behind it."""
    event = line.pop("event", None)
    if not _OUR_FIELDS.isdisjoint(line):
        for name in _LINE_FIELDS:
            if name in line:
                set_aside(line, name)
    return {
        "event": event,
        "level": severity.name_by_method(method),
        "timestamp": timestamp(logger.created if isinstance(logger, logging.LogRecord) else time()),
        "logger": name_of(logger),
        **line,
    }


def add_ids(logger: Any, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the ids of what runs, which are no secrets."""
    work = current_work()
    if work is not None:
        ids = {"request_id": work.request_id}
        if work.trace is not None:
            ids["trace_id"], ids["span_id"] = work.trace.trace_id, work.trace.span_id
        if not ids.keys().isdisjoint(line):
            for name in ids.keys() & line.keys():
                if line[name] is not ids[name]:
                    set_aside(line, name)
        line.update(ids)
    return line


built_in: tuple[Processor, ...] = (take_in, scrub_line, complete, add_ids)
shared: list[Processor] = list(built_in)
"""What every line passes, whoever made it; `setup` adds who observes."""
