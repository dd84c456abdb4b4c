"""The transaction of a request that nobody samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from crm_monitoring.requests import endpoint_of
from crm_monitoring.sentry.sdk import Baggage, Part, Transaction

if TYPE_CHECKING:
    from django.http import HttpRequest


class TracePlace(NamedTuple):
    """
    Where in which trace a request stands.

    Attributes:
        draw: What was drawn for this request, from 0 up to 1, to be held against the sample rate; None where the caller decided.
        baggage: The caller's.
    """

    trace_id: str
    span_id: str
    parent_span_id: str | None
    parent_sampled: bool | None
    draw: float | None
    baggage: Baggage | None

    def arguments(self) -> Part:
        """Return what a Transaction that stands here is made with."""
        # Six digits, so that everyone down the trace decides by the same number.
        drawn = self.baggage if self.draw is None else Baggage({"sample_rand": f"{self.draw:.6f}"}, mutable=True)
        return {
            "trace_id": self.trace_id,
            "span_id": self.span_id,
            "parent_span_id": self.parent_span_id,
            "parent_sampled": self.parent_sampled,
            "baggage": drawn,
            "same_process_as_parent": False,
        }


class UnsampledTransaction(Transaction):
    """
    Never started, and never sent: it is there for the headers of outgoing requests, and for the trace that an event names.

    Most requests send none and do not fail, so it is made of its place only when somebody asks for more than its name.
    """

    __slots__ = ("_made_of",)

    def __init__(self, request: HttpRequest, op: str, origin: str, place: TracePlace, sample_rate: float) -> None:
        self._made_of: tuple[HttpRequest, TracePlace, float] | None = request, place, sample_rate
        self.sampled = False
        # The route is known later; until then, and for who names it otherwise, this is all that is read.
        self.name = ""
        self.source = "route"
        self.op = op
        self.origin = origin

    def __getattr__(self, attribute: str) -> Any:
        # A slot that nobody has filled, or that another thread of the request has filled just now.
        made_of = self._made_of
        if made_of is not None:
            self._make(*made_of)
            self._made_of = None
        return object.__getattribute__(self, attribute)

    def _make(self, request: HttpRequest, place: TracePlace, sample_rate: float) -> None:
        super().__init__(
            name=self.name or endpoint_of(request),
            source=self.source,
            op=self.op,
            origin=self.origin,
            sampled=False,
            **place.arguments(),
        )
        self.sample_rate = sample_rate
