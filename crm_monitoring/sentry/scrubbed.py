"""An event or a transaction without its secrets."""

from __future__ import annotations

from collections.abc import Iterator

from crm_monitoring import faults
from crm_monitoring.scrubbing import scrub, scrub_body, scrub_constant
from crm_monitoring.sentry.sdk import Event, Part
from crm_monitoring.work import url_scrubber

UNSCRUBBED_BREADCRUMBS = "unscrubbed_breadcrumbs"
_OWN_USER_FIELDS = ("id", "email", "username", "ip_address")
_OUTLINE = frozenset(
    ("environment", "fingerprint", "level", "logentry", "logger", "message", "release", "transaction", "user")
)
_OF_A_FRAME = ("filename", "function", "in_app", "module")
_APART = frozenset(("breadcrumbs", "sdk", "user"))


def scrub_event(event: Event) -> Part:
    """Return `event` without secrets. A breadcrumb that cannot be searched costs only itself."""
    also = url_scrubber()
    rest = {name: value for name, value in event.items() if name not in _APART}
    request = event.get("request")
    if request and request.get("data"):
        rest["request"] = {**request, "data": scrub_body(request["data"], also)}
    clean = {**scrub(rest, also)}
    crumbs, user = event.get("breadcrumbs"), event.get("user")
    if crumbs and isinstance(crumbs, dict):
        clean["breadcrumbs"] = {"values": list(_scrubbed(crumbs["values"]))}
    if event.get("sdk"):
        clean["sdk"] = scrub_constant("sdk", event["sdk"], also)
    if user:
        # What the project has said of its user it wants to see.
        clean["user"] = {**scrub(user, also), **{name: user[name] for name in _OWN_USER_FIELDS if name in user}}
    return clean


def outline_of(event: Event) -> Part:
    """Return, without secrets, what says of which kind an event is and whom it met where, at a tenth of the cost of all of it."""
    outline = {name: value for name, value in event.items() if name in _OUTLINE}
    values = (event.get("exception") or {}).get("values") or []
    if values:
        outline["exception"] = {"values": [_outline_of_exception(values[-1])]}
    return scrub(outline, url_scrubber())


def _outline_of_exception(value: Part) -> Part:
    frames = (value.get("stacktrace") or {}).get("frames") or ()
    shown = [{name: frame.get(name) for name in _OF_A_FRAME} for frame in frames]
    return {"type": value.get("type"), "value": value.get("value"), "stacktrace": {"frames": shown}}


def _scrubbed(crumbs: list[Part]) -> Iterator[Part]:
    also = url_scrubber()
    for crumb in crumbs:
        try:
            yield scrub(crumb, also)
        except Exception as error:
            faults.record("Scrubbing a breadcrumb", error)
            faults.lose(UNSCRUBBED_BREADCRUMBS)
