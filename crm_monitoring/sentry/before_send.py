"""What every item passes on its way out: reported once, not too often, and without secrets."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, cast

from crm_monitoring import conf, faults
from crm_monitoring.registry import Registry
from crm_monitoring.scrubbing import scrub
from crm_monitoring.sentry.event_size import fitted
from crm_monitoring.sentry.failures import admit
from crm_monitoring.sentry.quota import QuotaGuard, fingerprint_of, source_of
from crm_monitoring.sentry.scrubbed import outline_of, scrub_event
from crm_monitoring.sentry.sdk import Event, Hint, Part
from crm_monitoring.work import current_work, url_scrubber

HELD_BACK = "events_held_back"

# What no view of a trace shows, and every span repeats.
_UNWANTED_SPAN_FIELDS = frozenset(("same_process_as_parent",))
_UNWANTED_SPAN_DATA = frozenset(("thread.id", "thread.name"))
_UNWANTED_ATTRIBUTES = _UNWANTED_SPAN_DATA | {"process.command_args"}
_COLUMNS = re.compile(r"SELECT (?:DISTINCT )?[\w\"`.]++(?:, [\w\"`.]++){3,}+ FROM ")


_counters = Registry[[Part], None]("The counter of events held back")


def register_counter(counter: Callable[[Part], None]) -> None:
    """Call `counter` with the outline of each event that the quota holds back: it is counted all the same. Twice has no effect."""
    _counters.add(counter)


def unregister_counter(counter: Callable[[Part], None]) -> None:
    """Take away a counter added by `register_counter`."""
    _counters.remove(counter)


class Gate:
    """The `before_send` hooks. One that fails drops its item, which the SDK counts: nothing leaves unscrubbed."""

    def __init__(self, config: conf.Config) -> None:
        self._quota = QuotaGuard(config.EVENTS_BURST, config.EVENTS_PER_MINUTE, config.EVENTS_OVERALL_PER_MINUTE)

    def event(self, event: Event, hint: Hint) -> Event | None:
        """Let an event out, unless its failure made one already or too many are like it."""
        if event.get("type") == "check_in":
            return scrub(event)
        error = _error_of(hint)
        if error is not None and not admit(error, event["event_id"]):
            return None
        return cast(Event, fitted(_polished(scrub_event(event)))) if self._is_within_quota(event) else None

    def _is_within_quota(self, event: Event) -> bool:
        if event.get("logger") == HELD_BACK:
            return True
        held_back = self._quota.admit(fingerprint_of(event), source_of(event))
        if held_back is None:
            faults.lose(HELD_BACK)
            if _counters:
                _counters.call(outline_of(event))
            return False
        if held_back:
            event.setdefault("contexts", {})["quota"] = {"held_back": held_back}
        return True

    def transaction(self, event: Event, hint: Hint) -> Event | None:
        """Let a transaction out: light, and without the context its templates were rendered with."""
        spans: Any = event.get("spans") or ()
        event["spans"] = [_light(span) for span in spans]
        return cast(Event, _polished(scrub_event(event)))

    def telemetry(self, item: Part, hint: Hint) -> Part:
        """Let a log line, a metric or a streamed span out."""
        attributes = item.get("attributes") or {}
        wanted = {name: value for name, value in attributes.items() if name not in _UNWANTED_ATTRIBUTES}
        texts = {name: item[name] for name in ("name", "body") if name in item}
        work = current_work()
        if work is not None:
            wanted.setdefault("request_id", work.request_id)
        return {**item, **scrub({**texts, "attributes": wanted}, url_scrubber())}

    def held_back(self) -> dict[str, int]:
        """Return how many events are held back and not told of yet, by what they are about."""
        return self._quota.held()

    def start_over(self) -> None:
        """Forget what was counted: in a forked child it is the parent's to tell."""
        self._quota.start_over()


def _error_of(hint: Hint) -> BaseException | None:
    exc_info = (hint or {}).get("exc_info")
    return exc_info[1] if exc_info else None


def _light(span: Part) -> Part:
    light = {name: value for name, value in span.items() if name not in _UNWANTED_SPAN_FIELDS}
    unwanted = _UNWANTED_SPAN_DATA | {"context"} if span.get("op") == "template.render" else _UNWANTED_SPAN_DATA
    light["data"] = {name: value for name, value in (span.get("data") or {}).items() if name not in unwanted}
    if span.get("op") == "db":
        light["description"] = _COLUMNS.sub("SELECT ... FROM ", span.get("description") or "")
    return light


def _polished(event: Part) -> Part:
    """Leave out what says nothing."""
    # An empty release is how the SDK is kept from starting git; a server would take it for a name.
    for name in ("release", "transaction_info"):
        if not event.get(name):
            event.pop(name, None)
    contexts = event.get("contexts") or {}
    if not contexts.get("log", True):
        del contexts["log"]
    for name in _UNWANTED_SPAN_DATA & (contexts.get("trace") or {}).get("data", {}).keys():
        del contexts["trace"]["data"][name]
    return event
