"""What every item passes on its way out: reported once, not too often, and without secrets."""

from __future__ import annotations

from typing import Any

from crm_monitoring import conf, context, faults
from crm_monitoring.privacy import scrub, scrubber
from crm_monitoring.quota import QuotaGuard, fingerprint_of
from crm_monitoring.sentry.reports import event_of, is_held, mark

HELD_BACK = "events_held_back"
_OWN_USER_FIELDS = ("id", "email", "username", "ip_address")


class Gate:
    """The `before_send` hooks. One that fails drops its item, which the SDK counts: nothing leaves unscrubbed."""

    def __init__(self, config: conf.Config) -> None:
        self._quota = QuotaGuard(config.EVENTS_BURST, config.EVENTS_PER_MINUTE, config.EVENTS_OVERALL_PER_MINUTE)

    def event(self, event: Any, hint: Any) -> Any:
        """Let an event out, unless its failure made one already or too many are like it."""
        if event.get("type") == "check_in":
            return scrub(event)
        error = _error_of(hint)
        if error is not None and _has_event(error, event["event_id"]):
            return None
        if not self._is_within_quota(event):
            return None
        if error is not None:
            mark(error, event["event_id"])
        return _with_release(_scrub_event(event))

    def _is_within_quota(self, event: Any) -> bool:
        if event.get("logger") == HELD_BACK:
            return True
        held_back = self._quota.admit(fingerprint_of(event))
        if held_back is None:
            faults.lose(HELD_BACK)
            return False
        if held_back:
            event.setdefault("contexts", {})["quota"] = {"held_back": held_back}
        return True

    def transaction(self, event: Any, hint: Any) -> Any:
        """Let a transaction out, without the context its templates were rendered with."""
        for span in event.get("spans") or ():
            if span.get("op") == "template.render":
                (span.get("data") or {}).pop("context", None)
        return _with_release(_scrub_event(event))

    def telemetry(self, item: Any, hint: Any) -> Any:
        """Let a log line, a metric or a streamed span out."""
        attributes = item.get("attributes") or {}
        attributes.pop("process.command_args", None)
        return {
            **item,
            **scrub({name: item[name] for name in ("name", "body") if name in item}, context.current()),
            "attributes": scrub(attributes, context.current()),
        }

    def held_back(self) -> dict[str, int]:
        """Return how many events are held back and not told of yet, by what they are about."""
        return self._quota.held()


def _error_of(hint: Any) -> BaseException | None:
    exc_info = (hint or {}).get("exc_info")
    return exc_info[1] if exc_info else None


def _has_event(error: BaseException, event_id: str) -> bool:
    """Whether another event stands for this failure: one that was sent, or one that the running request will send."""
    return (event_of(error) or event_id) != event_id or is_held(error, event_id)


def _scrub_event(event: Any) -> Any:
    running = context.current()
    user = event.pop("user", None)
    clean = scrub(event, running)
    if user:
        # What the project has said of its user it wants to see.
        clean["user"] = {**scrub(user, running), **{name: user[name] for name in _OWN_USER_FIELDS if name in user}}
    request = clean.get("request")
    if request:
        request["url"] = scrubber().url(request.get("url") or "")
        if isinstance(request.get("query_string"), str):
            request["query_string"] = scrubber().query(request["query_string"])
    return clean


def _with_release(event: Any) -> Any:
    # An empty release is how the SDK is kept from starting git; a server would take it for a name.
    if not event.get("release"):
        event.pop("release", None)
    return event
