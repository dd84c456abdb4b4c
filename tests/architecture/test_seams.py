"""Tests know the package as its users do, or by what its modules offer: what a name that begins with "_" means may change."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.architecture.house import MODULES, Module, defined, private

TESTS = Path(__file__).parents[1]

PYTHONS = {"_exit", "_replace"}
"""What Python documents, for all its name."""

REACHES = {
    # Each part of a unit or of what is asked of foreign input fails in its turn.
    "core/middleware/test_foreign_input.py: _BOUND",
    "core/middleware/test_foreign_input.py: _begin",
    "core/middleware/test_foreign_input.py: _request_info",
    "core/test_units.py: _level",
    "core/test_units.py: _start_segment",
    # Still to be mended: nothing is added.
    "dashboard/alerts/test_delivery.py: _make",
    "dashboard/alerts/test_delivery.py: _running",
}
"""Tests that reach for a private name of the package, and why there is no other way."""


def test_tests_reach_for_no_private_name_of_the_package() -> None:
    own = {name for module in MODULES.values() for name in defined(module)} - PYTHONS

    reaches = {
        f"{path.relative_to(TESTS).as_posix()}: {name}"
        for path in TESTS.rglob("*.py")
        for name in _foreign(Module(path.stem, path.read_text()))
        if name in own
    }

    assert reaches == REACHES


def _foreign(module: Module) -> set[str]:
    """Return the private names that a module of tests reaches for and does not give itself."""
    texts = (node.value for node in module.nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))
    patched = (part for text in texts if text.startswith("crm_monitoring.") for part in text.split("."))
    return {name for name in (*private(module), *patched) if name.startswith("_") and not name.startswith("__")} - set(
        defined(module)
    )
