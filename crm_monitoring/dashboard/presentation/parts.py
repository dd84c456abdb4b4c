"""What an event is shown as: texts, numbers and moments only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from crm_monitoring.dashboard.inbox import Pair

MAX_NAME = 300


@dataclass(frozen=True, slots=True)
class SourceLine:
    """One line of a source file; `number` is None where the frame does not say, `is_current` for the one that ran."""

    number: int | None
    code: str
    is_current: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """
    One call.

    Attributes:
        is_open: Its local variables are shown at once: the innermost of the project's own code, or of all where there is none.
        repeats: How many times more it was called by itself, with those above it that are part of the circle.
    """

    function: str
    module: str
    filename: str
    number: int | None
    is_library: bool
    source: Sequence[SourceLine]
    variables: Sequence[Pair]
    is_open: bool = False
    repeats: int = 0


@dataclass(frozen=True, slots=True)
class Stretch:
    """Calls that follow each other, all of the project's own code or all of libraries; `is_folded` if they matter less."""

    frames: Sequence[Frame]
    is_library: bool
    is_folded: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ExceptionPart:
    """
    One exception of a chain.

    Attributes:
        link: How it led to the one shown before it: "cause" (raise ... from), "context" (while handling it), "member" (of a
            group), "earlier" where the event does not say; empty for the first.
        parent: Type of the exception that `link` leads to, where the event says which.
        handled: Whether somebody caught it; None where the event does not say.
        left_out: How many frames are too many to show: those furthest out.
    """

    type: str
    value: str
    module: str
    link: str
    parent: str
    mechanism: str
    handled: bool | None
    stretches: Sequence[Stretch]
    left_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Breadcrumb:
    """A step on the way; `count` is how often the same came one after the other, `moment` that of the first."""

    moment: datetime | None
    level: str
    category: str
    message: str
    data: Sequence[Pair]
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPart:
    """The request that was being answered."""

    method: str
    url: str
    query: str
    headers: Sequence[Pair]
    environ: Sequence[Pair]
    body: str


@dataclass(frozen=True, slots=True)
class Section:
    """Named values that belong together."""

    name: str
    pairs: Sequence[Pair]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPage:
    """
    Everything the page shows of an event.

    Attributes:
        title: Its outermost exception, else its message.
        level: One of SENTRY_LEVELS; "error" where it says something else, as Sentry takes it.
        handled: Whether the exception was caught; None for a message.
        exceptions: The one of the title first, then what led to it.
        breadcrumbs: Newest last, as a log reads.
        fields: The context "log": what the reporting lines carried.
        contexts: The other contexts, and the extra values.
        held_back: How many like it the quota held back since the last that was kept.
    """

    title: str
    message: str
    level: str
    logger: str
    moment: datetime | None
    endpoint: str
    environment: str
    release: str
    server: str
    mechanism: str
    handled: bool | None
    trace_id: str
    request_id: str
    exceptions: Sequence[ExceptionPart]
    breadcrumbs: Sequence[Breadcrumb]
    request: RequestPart | None
    user: Sequence[Pair]
    tags: Sequence[Pair]
    fields: Sequence[Pair]
    contexts: Sequence[Section]
    held_back: int
