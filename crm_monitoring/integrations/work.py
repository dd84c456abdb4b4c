"""What commands and tasks have in common: a name on their events, fields on their lines, and who hears of their end."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from crm_monitoring import context, hooks
from crm_monitoring.sentry import set_tag
from crm_monitoring.sentry.reports import end_unit
from crm_monitoring.sentry.units import Unit


class Work:
    """
    One command or task from `__init__` to `end`. Within a request it is part of that, which holds what is reported.

    Args:
        name: The transaction of its events.
        source: Sentry's word for where the name comes from.
        fields: What each of its log lines carries.
        tags: What its events can be searched by.
    """

    __slots__ = ("_bound_before", "_unit")

    def __init__(self, name: str, source: str, fields: Mapping[str, str], tags: Mapping[str, str]) -> None:
        self._unit: Unit | None = None
        if context.current() is None:
            self._unit = Unit(name, source)
            for key, value in tags.items():
                set_tag(key, value)
        self._bound_before = structlog.contextvars.get_contextvars()
        structlog.contextvars.bind_contextvars(**fields)

    def end(self, error: BaseException | None) -> None:
        """Send what was reported, and say that it has ended; `error` is what it ended with."""
        if self._unit is not None:
            try:
                end_unit(self._unit, error)
            finally:
                hooks.ended()

    def unbind(self) -> None:
        """Give log lines the fields they had before."""
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(**self._bound_before)
