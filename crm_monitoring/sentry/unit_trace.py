"""One unit's place in Sentry, where the unit is no request: its scope and its trace."""

from __future__ import annotations

from contextlib import AbstractContextManager

import sentry_sdk
from sentry_sdk import Scope

from crm_monitoring.scrubbing.configured import scrub_text


class UnitTrace:
    """
    The Sentry side of one unit of work.

    It isolates what is set meanwhile (tags, user, breadcrumbs) from `__init__` to `close`, which must be called once, and names
    the events made in between.

    Args:
        name: The transaction of its events: "manage.py import_organisations".
        source: Sentry's word for where the name comes from.

    Attributes:
        trace_id: 32 hexadecimal digits.
        span_id: 16 hexadecimal digits.
        given_name: What its author called the transaction meanwhile.
    """

    __slots__ = ("_isolation", "_scope", "given_name", "span_id", "trace_id")

    def __init__(self, name: str, source: str) -> None:
        self.given_name: str | None = None
        self._isolation: AbstractContextManager[Scope] = sentry_sdk.isolation_scope()
        self._scope = self._isolation.__enter__()
        self._scope.clear_breadcrumbs()
        self._scope.generate_propagation_context()
        place = self._scope.get_active_propagation_context()
        self.trace_id, self.span_id = place.trace_id, place.span_id
        # On this scope alone: by the other one the name of a transaction under way would change.
        self._scope.set_transaction_name(name, source=source)

    def rename(self, name: str, operation: str) -> None:
        """Name the unit's events as its author wants."""
        self.given_name = scrub_text(name)
        sentry_sdk.set_transaction_name(self.given_name, source="custom")

    def close(self) -> None:
        """Leave the scope."""
        self._isolation.__exit__(None, None, None)
