"""The shape of the house: arrows point down, and each outside world has one door."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "crm_monitoring"

LAYERS = (
    ("lazy", "places", "records", "rendering", "faults", "severity", "wrapping"),
    ("registry", "release"),
    ("process",),
    ("conf", "ids"),
    ("requests", "scrubbing"),
    ("work",),
    ("logs",),
    ("sentry",),
    ("hooks", "queries"),
    ("performance", "units", "health", "readiness"),
    ("views",),
    ("middleware", "asgi"),
    ("checks", "management", "testing"),
    ("extending",),
    ("integrations",),
    ("urls", "apps", "pytest_plugin", ""),
)
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}

DOORS = {
    "sentry_sdk": {"sentry"},
    "structlog": {"logs", "rendering", "middleware", "integrations"},
    "django_structlog": {"middleware", "integrations"},
    "rest_framework": set(),
    "celery": {"integrations"},
}

FOR_THE_DASHBOARD = {"conf", "dashboard", "extending", "faults", "rendering"}

FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] != "dashboard")


def part_of(path: Path) -> str:
    """The part of the house a file belongs to: its module, or its package; "" for the top `__init__`."""
    first = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "" if first == "__init__" else first


def imports(path: Path) -> Iterator[str]:
    """The dotted names a file imports when it runs; what is only for the type checker is no arrow."""
    nodes: list[ast.AST] = [ast.parse(path.read_text())]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            nodes += node.orelse
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        nodes += ast.iter_child_nodes(node)


def own_imports(path: Path) -> set[str]:
    dotted = (name.split(".") for name in imports(path))
    return {names[1] for names in dotted if names[0] == "crm_monitoring"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_has_its_layer(path: Path) -> None:
    assert part_of(path) in LEVEL


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_arrows_point_down(path: Path) -> None:
    own = part_of(path)

    upward = {name for name in own_imports(path) if name in LEVEL and LEVEL[name] > LEVEL[own]}

    assert upward == set()


def test_no_circle_within_a_layer() -> None:
    arrows = {part: set[str]() for part in LEVEL}
    for path in FILES:
        arrows[part_of(path)] |= own_imports(path) - {part_of(path)}

    reached = {part: _reachable(part, arrows) for part in arrows}

    assert [part for part in reached if part in reached[part]] == []


def _reachable(part: str, arrows: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = set(arrows[part])
    while waiting:
        name = waiting.pop()
        found.add(name)
        waiting |= arrows.get(name, set()) - found
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_each_outside_world_has_one_door(path: Path) -> None:
    own = part_of(path)

    outside = {name.split(".")[0] for name in imports(path)}

    assert {world for world in outside & DOORS.keys() if own not in DOORS[world]} == set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nobody_in_the_core_knows_the_dashboard(path: Path) -> None:
    assert "dashboard" not in own_imports(path)


def test_the_dashboard_builds_on_what_others_can_build_on() -> None:
    used = {
        (str(path.relative_to(PACKAGE)), name)
        for path in (PACKAGE / "dashboard").rglob("*.py")
        for name in {dotted.split(".")[1] for dotted in all_imports(path) if dotted.startswith("crm_monitoring.")}
    }

    assert {(path, name) for path, name in used if name not in FOR_THE_DASHBOARD} == set()


def all_imports(path: Path) -> Iterator[str]:
    """The dotted names a file imports, those for the type checker too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_app_knows_the_integrations(path: Path) -> None:
    assert "integrations" not in own_imports(path) or part_of(path) in ("apps", "integrations")


def test_one_module_configures_structlog() -> None:
    configuring = {part_of(path) for path in FILES if "structlog.configure" in called(path)}

    assert configuring == {"logs"}


def called(path: Path) -> set[str]:
    """What the file calls, as it is written there."""
    return {ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)}
