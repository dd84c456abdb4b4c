"""Errors, messages, breadcrumbs and users: what makes or adorns an event."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, MutableMapping
from functools import lru_cache
from typing import Any, cast

import sentry_sdk

from crm_monitoring import conf, severity
from crm_monitoring.faults import guarded
from crm_monitoring.logs import Call, handled_error
from crm_monitoring.rendering import cut, text
from crm_monitoring.scrubbing import FILTERED, scrub_text
from crm_monitoring.sentry.breadcrumbs import Line, fields_of, leave_crumb, level_of
from crm_monitoring.sentry.failures import Report, report
from crm_monitoring.sentry.making import is_making
from crm_monitoring.sentry.mode import mode
from crm_monitoring.sentry.sdk import Event, Part
from crm_monitoring.work import current_work

_MAX_LOGGERS = 1024
_BY_CHANCE = 3

# Their lines repeat what the request itself reports, or what the SDK does.
_UNREPORTED = (
    "daphne.server",  # what escapes a consumer, as text
    "django.request",
    "django.security",
    "django.server",
    "sentry_sdk",
    "crm_monitoring",
    "gunicorn.access",
    "uvicorn.access",
    "urllib3",
)

WrittenLine = MutableMapping[str, Any]
Fields = Mapping[str, Any]


@guarded
def add_breadcrumb(message: str, category: str = "default", level: str = "info", data: Fields | None = None) -> None:
    """Note a step on the way; the next event of this request or task carries the latest hundred."""
    sentry_sdk.add_breadcrumb(message=message, category=category, level=level, data=dict(data or {}))


@guarded
def capture_exception(
    exc: BaseException | None = None,
    extra: Fields | None = None,
    tags: Mapping[str, str] | None = None,
    level: str = "error",
) -> str | None:
    """
    Report an exception that was handled.

    One failure makes one event: reported again on its way, or logged, or raised after all, it is the same event, with the fields
    of all.

    Args:
        exc: The exception; without it the one being handled right now.
        extra: Values shown with the event.
        tags: Values to search events by.

    Returns:
        The event's id, 32 hexadecimal digits, or None where nothing is sent or nothing is being handled.
    """
    error = sys.exc_info()[1] if exc is None else exc
    if error is None:
        return None
    return report(error, Report(level=severity.in_sentry(level), extra=dict(extra or {}), tags=dict(tags or {})))


@guarded
def capture_message(
    message: str,
    level: str = "info",
    extra: Fields | None = None,
    tags: Mapping[str, str] | None = None,
) -> str | None:
    """
    Report something worth knowing that is no exception.

    Returns:
        The event's id, 32 hexadecimal digits, or None where nothing is sent.
    """
    if not mode().sends:
        return None
    word: Any = severity.in_sentry(level)
    return sentry_sdk.capture_message(message, word, extras=dict(extra or {}), tags=dict(tags or {}))


@guarded
def set_user_context(user_id: object, email: str | None = None, username: str | None = None, **extra: object) -> None:
    """Say who the current request or other unit of work acts for: on every event and line of it from here on, and on its record."""
    work = current_work()
    if work is not None:
        work.given_user_id = None if user_id is None else str(user_id)
    user = {"id": None if user_id is None else str(user_id), "email": email, "username": username, **extra}
    sentry_sdk.set_user({name: value for name, value in user.items() if value is not None})


@guarded
def set_transaction_context(name: str, operation: str = "http.server") -> None:
    """Name the current transaction and say what kind of work it is, in place of the route."""
    work = current_work()
    if work is not None and work.trace is not None:
        work.trace.rename(name, operation)
    else:
        sentry_sdk.set_transaction_name(scrub_text(name), source="custom")


@guarded
def set_tag(key: str, value: object) -> None:
    """Add a value to search by to every event of the current request or task."""
    sentry_sdk.set_tag(key, value)


def capture_crash(error: BaseException, mechanism: str = "django") -> str | None:
    """Report an exception that nobody handled; returns the event's id."""
    return report(error, Report(handled=False, mechanism=mechanism))


def report_handled(error: BaseException) -> str | None:
    """Report an exception that Django answered itself, such as Http404; returns the event's id."""
    return report(error, Report(mechanism="django"))


def report_server_error(endpoint: str, status: int) -> str | None:
    """Report a 5xx that a view returned: one issue for each endpoint and status; returns the event's id."""
    title = f"HTTP {status} returned by {endpoint}"
    event = {
        "level": "error",
        "logger": "crm_monitoring.requests",
        "message": title,
        "fingerprint": ["http-status", endpoint, str(status)],
    }
    return sentry_sdk.capture_event(cast(Event, event))


def observe_line(logger: object, method: str, line: WrittenLine) -> WrittenLine:
    """
    Make a breadcrumb of a log line, and an event of one at ERROR or above. A structlog processor.

    The event's title is the exception the line carries, else the line's event name: both are stable, so that occurrences
    group. Fields become the context "log".
    """
    config = conf.get()
    number = severity.NUMBERS[line["level"]]
    is_sent = config.SENTRY_LOGS and config.BACKEND == "sentry" and not _is_of(line["logger"], ("sentry_sdk",))
    is_told = not _is_of(line["logger"], _UNREPORTED)
    if number < logging.INFO or not (is_sent or is_told) or not (how := mode()).sends:
        return line
    if is_sent:
        _send_log(line)
    if is_told:
        if number >= severity.NUMBERS[config.SENTRY_EVENT_LEVEL.lower()]:
            _report_line(line, method)
        leave_crumb(line, how)
    return line


def _send_log(line: Line) -> None:
    send = getattr(sentry_sdk.logger, level_of(line))
    about = {name: _attribute(value) for name, value in fields_of(line).items()}
    error = line.get("exc_info")
    if error is not None:
        about["exception"] = _attribute(error)
    send(text(line["event"]), attributes={"logger.name": line["logger"], **about})


def _attribute(value: Any) -> str | int | float | bool:
    # By its type alone: to ask a lazy object for its class evaluates it.
    return value if type(value) in (bool, int, float) else cut(text(value), conf.get().LOG_MAX_STRING)


@lru_cache(_MAX_LOGGERS)
def _is_of(logger_name: str, names: tuple[str, ...]) -> bool:
    return f"{logger_name}.".startswith(tuple(f"{name}." for name in names))


def _report_line(line: Line, call: str) -> None:
    if is_making():
        # By a value of an event that is being made: its report would be about our own reading it.
        return
    title, fields = text(line["event"]), fields_of(line)
    error = line.get("exc_info")
    if error is None:
        # A line written while an exception is handled is about it.
        error = handled_error()
    if error is not None:
        about = Report(mechanism="logging", level=level_of(line), logger=line["logger"], line=title, fields=fields)
        report(error, about)
        return
    event = {
        "level": level_of(line),
        "logger": line["logger"],
        "logentry": _entry(title, call),
        "contexts": {"log": fields},
    }
    sentry_sdk.capture_event(cast(Event, event))


def _entry(message: str, call: str) -> Part:
    """Return the line's message, and where it was made of a template, that: all of its messages are one issue."""
    if not isinstance(call, Call) or call.template is None:
        return {"message": message}
    given = list(call.params.values()) if isinstance(call.params, Mapping) else list(call.params)
    return {"message": call.template, "formatted": message, "params": [_param(one, message) for one in given]}


def _param(value: Any, message: str) -> Any:
    # What the scrubber has taken out of the message is secret by what stands beside it there. A short text may be in it by chance.
    shown = text(value)
    is_there = shown in message and (len(shown) > _BY_CHANCE or FILTERED not in message)
    return cut(shown, conf.get().LOG_MAX_STRING) if is_there or type(value) is float else FILTERED
