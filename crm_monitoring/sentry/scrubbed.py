"""An event or a transaction without its secrets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from crm_monitoring import faults, work
from crm_monitoring.scrubbing.configured import scrub, scrub_body

UNSCRUBBED_BREADCRUMBS = "unscrubbed_breadcrumbs"
_OWN_USER_FIELDS = ("id", "email", "username", "ip_address")
_APART = frozenset(("breadcrumbs", "user"))


def scrub_event(event: dict[str, Any]) -> dict[str, Any]:
    """Return `event` without secrets. A breadcrumb that cannot be searched costs only itself."""
    running = work.current()
    rest = {name: value for name, value in event.items() if name not in _APART}
    request = event.get("request")
    if request and request.get("data"):
        rest["request"] = {**request, "data": scrub_body(request["data"], running)}
    clean = {**scrub(rest, running)}
    crumbs, user = event.get("breadcrumbs"), event.get("user")
    if crumbs:
        clean["breadcrumbs"] = {"values": list(_scrubbed(crumbs["values"]))}
    if user:
        # What the project has said of its user it wants to see.
        clean["user"] = {**scrub(user, running), **{name: user[name] for name in _OWN_USER_FIELDS if name in user}}
    return clean


def _scrubbed(crumbs: list[Any]) -> Iterator[Any]:
    running = work.current()
    for crumb in crumbs:
        try:
            yield scrub(crumb, running)
        except Exception as error:
            faults.record("Scrubbing a breadcrumb", error)
            faults.lose(UNSCRUBBED_BREADCRUMBS)
