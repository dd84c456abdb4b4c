"""The transaction of a request that is sampled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crm_monitoring.records import UNROUTED
from crm_monitoring.requests import endpoint_of, method_of, resolved
from crm_monitoring.sentry.sdk import Transaction
from crm_monitoring.sentry.tuning.unsampled import TracePlace

if TYPE_CHECKING:
    from django.http import HttpRequest


class RoutedTransaction(Transaction):
    """
    Named by the request's route: Django looks that up in a moment, and we only where somebody asks before.

    The SDK asks as soon as it starts one, for its own log: until `look_up` that gets no route.
    """

    __slots__ = ("_given_name", "_request")

    def __init__(self, request: HttpRequest, op: str, origin: str, place: TracePlace) -> None:
        self._request: HttpRequest | None = None
        super().__init__(f"{method_of(request)} {UNROUTED}", source="route", op=op, origin=origin, **place.arguments())

    @property
    def name(self) -> str:
        """What it was named, else method and route."""
        if self._request is None:
            return self._given_name
        if self._request.resolver_match is None:
            resolved(self._request)
        return endpoint_of(self._request)

    @name.setter
    def name(self, name: str) -> None:
        self._request, self._given_name = None, name

    def look_up(self, request: HttpRequest) -> None:
        """Name it by the route of `request` from now on."""
        self._request = request
