"""
Every name of sentry_sdk that is not in its `__all__`, why we need it, and what there would be without it.

No other module imports from inside the SDK, so that what a new version of it moves or drops is met here, and here alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

# A client without a transport: what `get_client` returns is typed by it. Without it: no types.
from sentry_sdk.client import BaseClient

# What an option is where nobody says it: by it we see what another `sentry_sdk.init` has said. Without it: its options are lost.
from sentry_sdk.consts import DEFAULT_OPTIONS

# What leaves: transports get one, sessions are sent in one. Documented for transports. Without it: nothing leaves.
from sentry_sdk.envelope import Envelope, Item

# The documented base of integrations: ours is one. Without it: no crash of a view is reported.
from sentry_sdk.integrations import Integration

# Those of the SDK's own that are documented to be configured or left out. Without them: the SDK's defaults.
# A processor for the events of all clients; `use_scope` and its sibling run a block on a scope that was kept; the other tells
# whether the project wants cookies in its events. Without them: no request on an event, no late report, no cookies.
from sentry_sdk.scope import add_global_event_processor, should_send_default_pii, use_isolation_scope, use_scope

# The scrubber is the last to see an event before it is serialised. Without it: an event takes twice the time.
from sentry_sdk.scrubber import EventScrubber

# How a value of our choice is shown on a frame. Without it: an event that meets a QuerySet runs its query.
from sentry_sdk.serializer import add_global_repr_processor

# A forked child begins with one of its own. Without it: the child sends its parent's sessions again.
from sentry_sdk.sessions import SessionFlusher

# Spans that are sent one by one, the only kind of version 3. Without them: no spans there.
from sentry_sdk.traces import StreamedSpan
from sentry_sdk.traces import continue_trace as continue_streamed_trace
from sentry_sdk.traces import start_span as start_streamed_span

# Spans that travel with their transaction. Without them: spans are streamed.
from sentry_sdk.tracing import Span, Transaction

# Where in which trace something stands, and what its caller says of it. Without them: each request begins a trace of its own.
from sentry_sdk.tracing_utils import Baggage, PropagationContext

# The types of what hooks are given. Without them: `Any`.
from sentry_sdk.types import Event, Hint, SamplingContext

# An exception with its stack as an event has it, alone and with the chain it stands in. Without them: no exception is reported.
from sentry_sdk.utils import event_from_exception, single_exception_from_error_tuple, walk_exception_chain

if TYPE_CHECKING:
    from django.http import HttpRequest

__all__ = [
    "DEFAULT_OPTIONS",
    "Baggage",
    "BaseClient",
    "Envelope",
    "Event",
    "EventScrubber",
    "Hint",
    "Integration",
    "Item",
    "PropagationContext",
    "SamplingContext",
    "SessionFlusher",
    "Span",
    "StreamedSpan",
    "Transaction",
    "add_global_event_processor",
    "add_global_repr_processor",
    "add_request_body",
    "continue_streamed_trace",
    "event_from_exception",
    "single_exception_from_error_tuple",
    "should_send_default_pii",
    "start_streamed_span",
    "template_frame",
    "use_isolation_scope",
    "use_scope",
    "walk_exception_chain",
]


def add_request_body(event: Event, request: HttpRequest) -> None:
    """
    Add the body of `request`, JSON and forms parsed, files and raw text left out, limited in size; cookies only with PII.

    By the reader of the SDK's own integration of Django. Without it: no bodies.
    """
    # Imported here, for its module is heavy and only an event needs it. It takes REST framework's requests, too.
    from sentry_sdk.integrations.django import DjangoRequestExtractor

    readable: Any = request
    DjangoRequestExtractor(readable).extract_into_event(event)


def template_frame(error: BaseException) -> dict[str, Any] | None:
    """
    Return the frame of the line of a template that `error` was raised in.

    By the SDK's own integration of Django. Without it: a crash in a template does not show the template.
    """
    from sentry_sdk.integrations.django.templates import get_template_frame_from_exception

    return get_template_frame_from_exception(error)
