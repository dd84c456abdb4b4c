"""The shape of the house: arrows point down, and who enters a wing takes the door."""

from __future__ import annotations

import pytest

from tests.architecture.house import MODULES, arrows, circles, entrances, room, within

FLOORS = {
    "": (
        ("foreign",),
        ("conf", "faults", "lazy", "places", "records", "release", "rendering", "severity", "wrapping"),
        ("notes", "on_import", "registry", "scrubbing"),
        ("process", "readiness"),
        ("background", "hooks", "ids"),
        ("requests",),
        ("work",),
        ("logs",),
        ("sentry",),
        ("queries",),
        ("asgi", "checks", "health", "performance", "testing", "units"),
        ("", "integrations", "management", "pytest_plugin", "views"),
        ("apps", "extending", "middleware", "urls"),
        ("dashboard",),
    ),
    "sentry": (
        ("callers", "sdk"),
        ("event_size", "making", "quota", "sampling", "scrubbed"),
        ("exceptions", "marks", "mode", "sessions", "tuning", "w3c"),
        ("breadcrumbs", "spans"),
        ("failures", "request_data", "thread_scopes", "tracing", "unit_trace"),
        ("before_send", "events", "sensitive_variables"),
        ("django",),
        ("transport",),
        ("ending", "libraries", "options"),
        ("others",),
        ("client",),
        ("status",),
        ("",),
    ),
    "dashboard": (
        ("", "config", "fields", "loading", "posting", "schedule", "texts"),
        ("models",),
        ("metrics",),
        ("store",),
        ("flushing", "inbox", "router"),
        ("presentation",),
        ("alerts", "timely"),
        ("admin", "pages"),
        ("surroundings",),
        ("checks", "commands", "extending", "templatetags", "urls"),
        ("apps",),
    ),
}
"""Rooms of a package from the ground up. Those of one floor do not know each other."""

DOORS_OF_THEIR_OWN = {
    # One optional library each: whoever enters asks for that one only.
    "integrations.celery",
    "integrations.channels",
    "integrations.commands",
    "integrations.tasks",
    "integrations.threads",
    # Each is off by one switch, and only where it is on is it loaded.
    "sentry.tuning",
    # A folder of Django's.
    "management.subcommands",
    # Pages and alerts ask for these; the start of a process that only counts and flushes does not wait for them.
    "dashboard.store.alerts",
    "dashboard.store.deliveries",
    "dashboard.store.deploys",
    "dashboard.store.figures",
    "dashboard.store.finding",
    "dashboard.store.issues",
    "dashboard.store.leases",
    "dashboard.store.stories",
    "dashboard.store.tags",
    "dashboard.store.terms",
    # Alerts are half of what the dashboard would add to the start of every command: who tells nobody loads none of them.
    "dashboard.alerts.channels",
    "dashboard.alerts.delivery",
    "dashboard.alerts.evaluation",
    "dashboard.alerts.messages",
    "dashboard.alerts.replay",
    "dashboard.alerts.rules",
    "dashboard.alerts.scheduler",
    "dashboard.alerts.writing",
    # A view is loaded with the addresses, and commands show figures as pages do, without any.
    "dashboard.pages",
}
"""Modules that are entered past the `__init__` of their wing."""

USED_BY_DASHBOARD = {"conf", "extending", "faults", "rendering"}
"""What of the core the dashboard knows."""

MOST_LINES = 300
LONGER = {
    # Django looks for the tables of an app in one module.
    "dashboard.models",
}


@pytest.mark.parametrize("package", FLOORS)
def test_every_room_has_its_floor_and_every_floor_its_rooms(package: str) -> None:
    listed = [name for floor in FLOORS[package] for name in floor]

    assert sorted(listed) == sorted({room(name, package) for name in MODULES if within(name, package)})


@pytest.mark.parametrize("package", FLOORS)
def test_arrows_point_down(package: str) -> None:
    floor_of = {name: number for number, floor in enumerate(FLOORS[package]) for name in floor}
    upward = {
        f"{module.name} -> {name}"
        for module in MODULES.values()
        if within(module.name, package)
        for name in arrows(module)
        if within(name, package)
        and room(name, package) != room(module.name, package)
        and floor_of[room(name, package)] >= floor_of[room(module.name, package)]
    }

    assert upward == set()


def test_no_circle() -> None:
    assert circles({module.name: arrows(module) for module in MODULES.values()}) == []


def test_wings_are_entered_by_their_door() -> None:
    past_doors = {
        f"{module.name} -> {name}"
        for module in MODULES.values()
        for name in entrances(module)
        if not any(within(name, door) for door in DOORS_OF_THEIR_OWN)
    }

    assert past_doors == set()


def test_the_dashboard_uses_what_any_app_can_use() -> None:
    uses = {
        f"{module.name} -> {name}"
        for module in MODULES.values()
        if within(module.name, "dashboard")
        for name in arrows(module)
        if not within(name, "dashboard") and room(name) not in USED_BY_DASHBOARD
    }

    assert uses == set()


def test_no_module_is_long() -> None:
    lengths = {module.name for module in MODULES.values() if module.source.count("\n") > MOST_LINES} - LONGER

    assert lengths == set()
