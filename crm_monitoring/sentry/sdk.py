"""
Every name of sentry_sdk that is not in its `__all__`, why we need it, and what there would be without it.

No other module imports from inside the SDK, so that what a new version of it moves or drops is met here, and here alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any

import sentry_sdk
from sentry_sdk import Scope, integrations

# A client without a transport: what `get_client` returns is typed by it. Without it: no types.
from sentry_sdk.client import BaseClient

# What an option is where nobody says it: by it we see what another `sentry_sdk.init` has said. Without it: its options are lost.
from sentry_sdk.consts import DEFAULT_OPTIONS

# What leaves: transports get one, sessions are sent in one. Documented for transports. Without it: nothing leaves.
from sentry_sdk.envelope import Envelope, Item

# The documented base of integrations: ours is one. The others enable one later. Without them: no crash of a view is reported.
from sentry_sdk.integrations import DidNotEnable, Integration, setup_integrations

# A processor for the events of all clients; `use_scope` and its sibling run a block on a scope that was kept. Without them: no
# request on an event, no late report.
from sentry_sdk.scope import add_global_event_processor, use_isolation_scope, use_scope

# How a value of our choice is shown on a frame, and how what is not JSON becomes so. Without them: an event that meets a QuerySet
# runs its query, and takes twice the time.
from sentry_sdk.serializer import add_global_repr_processor, serialize

# A forked child begins with one of its own. Without it: the child sends its parent's sessions again.
from sentry_sdk.sessions import SessionFlusher

# Spans that are sent one by one, the only kind of version 3. Without them: no spans there.
from sentry_sdk.traces import StreamedSpan
from sentry_sdk.traces import continue_trace as continue_streamed_trace
from sentry_sdk.traces import start_span as start_streamed_span

# Where in which trace something stands, and what its caller says of it. Without them: each request begins a trace of its own.
from sentry_sdk.tracing_utils import Baggage, PropagationContext

# The types of what hooks are given. Without them: `Any`.
from sentry_sdk.types import Event, EventDataCategory, Hint, SamplingContext

# An exception with its stack as an event has it, alone and with the chain it stands in. Without them: no exception is reported.
from sentry_sdk.utils import event_from_exception as _event_from_exception
from sentry_sdk.utils import single_exception_from_error_tuple, walk_exception_chain

try:
    # The SDK gives one to a client that was told of none. Without it: it passes for the project's choice.
    from sentry_sdk.scrubber import EventScrubber

    # Spans that travel with their transaction. Without them: spans are streamed.
    from sentry_sdk.tracing import Span, Transaction

    STREAMS_ONLY = False
    """Whether spans are always streamed, and nothing is a transaction: version 3."""
except ImportError:  # pragma: no cover - version 3, against which .ci/run tests by itself
    STREAMS_ONLY = True

    class EventScrubber:  # type: ignore[no-redef]
        """Nothing is one."""

    class Span:  # type: ignore[no-redef]
        """Nothing is one."""

    class Transaction(Span):  # type: ignore[no-redef]
        """Nothing is one."""

        __slots__ = ("name", "op", "origin", "sampled", "source")


AUTO_ENABLING: Sequence[str] = getattr(integrations, "_AUTO_ENABLING_INTEGRATIONS", ())
"""The integrations that the SDK enables by itself where their library is installed, "package.module.Class". Without it: none is."""
DEACTIVATES: Mapping[str, Collection[str]] = getattr(integrations, "_INTEGRATION_DEACTIVATES", {})
"""Which of them say the same as another, by that one's identifier. Without it: both say it."""

if TYPE_CHECKING:
    from django.http import HttpRequest

Options = Mapping[str, Any]
"""What `sentry_sdk.init` takes, by name. The SDK has a type for calling it only."""
Part = dict[str, Any]
"""Part of what is sent, for which the SDK has no type: an exception, a frame, a span, a breadcrumb, what hooks may put there."""

__all__ = [
    "AUTO_ENABLING",
    "DEACTIVATES",
    "DEFAULT_OPTIONS",
    "LIMITS",
    "STREAMS_ONLY",
    "Baggage",
    "BaseClient",
    "DidNotEnable",
    "Envelope",
    "Event",
    "EventDataCategory",
    "EventScrubber",
    "Hint",
    "Integration",
    "Item",
    "Options",
    "Part",
    "PropagationContext",
    "SamplingContext",
    "SessionFlusher",
    "Span",
    "StreamedSpan",
    "Transaction",
    "add_global_event_processor",
    "add_global_repr_processor",
    "add_request_body",
    "collection",
    "collects_cookies",
    "continue_streamed_trace",
    "event_from_exception",
    "extend_outgoing",
    "serialize",
    "setup_integrations",
    "single_exception_from_error_tuple",
    "start_streamed_span",
    "streamed_span",
    "template_frame",
    "use_isolation_scope",
    "use_scope",
    "walk_exception_chain",
]


LIMITS: tuple[str, ...] = (
    (
        "There are no transactions: each span is sent by itself, and `before_send_transaction` and `trace_ignore_status_codes` are gone.",
        "`send_default_pii`, `include_local_variables`, `include_source_context` and `event_scrubber` are gone: see `data_collection`.",
    )
    if STREAMS_ONLY
    else ()
)
"""What the SDK that is installed cannot do, one sentence each."""

# What version 3 may put on events and spans by itself. It is told all, for it collects everything that nobody forbids; what our
# hooks search on its way out may stay.
_COLLECTED: Options = {
    "user_info": False,
    "cookies": {"mode": "off"},
    "http_headers": {"request": {"mode": "off"}},
    "http_bodies": ["incoming_request"],
    "url_query_params": {"mode": "denylist"},
    "graphql": {"document": False, "variables": False},
    "gen_ai": {"inputs": False, "outputs": False},
    "mcp": {"inputs": False, "outputs": False},
    "database_query_data": False,
    "queues": False,
    "stack_frame_variables": True,
}


def collection(given: Options, *, has_sources: bool) -> Part:
    """
    Return the options that say what the SDK may put on events by itself.

    Args:
        given: The project's options. What they say of `data_collection` counts, key by key.
        has_sources: The lines of code around frames among it.
    """
    if not STREAMS_ONLY:
        return {} if has_sources else {"include_source_context": False}
    sources = {} if has_sources else {"frame_context_lines": 0}
    collected = {**_COLLECTED, **sources, **(given.get("data_collection") or {})}
    # Of a message it would tell where it was captured, with all variables there.
    return {"data_collection": collected, "attach_stacktrace": given.get("attach_stacktrace", False)}


def extend_outgoing(extended: Callable[[Iterator[tuple[str, str]]], Iterator[tuple[str, str]]]) -> None:
    """
    Let `extended` see the headers that name the trace, wherever the SDK writes them: on each call, in each message.

    There is no hook for it, but all of its integrations ask this one method, which it documents. Without it: Sentry's headers alone.
    """
    plain = Scope.iter_trace_propagation_headers

    @wraps(plain)
    def iter_trace_propagation_headers(self: Scope, *args: Any, **kwargs: Any) -> Iterator[tuple[str, str]]:
        yield from extended(plain(self, *args, **kwargs))

    Scope.iter_trace_propagation_headers = iter_trace_propagation_headers  # type: ignore[method-assign, assignment]


def streamed_span(scope: Scope) -> StreamedSpan | None:
    """Return the innermost of the spans that are sent one by one."""
    name = "span" if STREAMS_ONLY else "streamed_span"
    span: StreamedSpan | None = getattr(scope, name)
    return span


def event_from_exception(error: BaseException, options: Options, mechanism: Part) -> tuple[Event, Part]:
    """Return the event for `error`, and its hint. Version 3 takes the options from the client that runs."""
    told = {} if STREAMS_ONLY else {"client_options": dict(options)}
    return _event_from_exception(error, mechanism=mechanism, **told)


def collects_cookies() -> bool:
    """Whether the client that runs wants cookies in its events."""
    options = sentry_sdk.get_client().options
    collection = options.get("data_collection") or {}
    if not collection.get("provided_by_user", STREAMS_ONLY):
        return bool(options.get("send_default_pii"))
    return bool(collection["cookies"]["mode"] != "off")


def add_request_body(event: Event, request: HttpRequest) -> None:
    """
    Add the body of `request`, JSON and forms parsed, files and raw text left out, limited in size; cookies only with PII.

    By the reader of the SDK's own integration of Django. Without it: no bodies.
    """
    # Imported here, for its module is heavy and only an event needs it. It takes REST framework's requests, too.
    from sentry_sdk.integrations.django import DjangoRequestExtractor

    readable: Any = request
    DjangoRequestExtractor(readable).extract_into_event(event)


def template_frame(error: BaseException) -> Part | None:
    """
    Return the frame of the line of a template that `error` was raised in.

    By the SDK's own integration of Django. Without it: a crash in a template does not show the template.
    """
    from sentry_sdk.integrations.django.templates import get_template_frame_from_exception

    return get_template_frame_from_exception(error)
