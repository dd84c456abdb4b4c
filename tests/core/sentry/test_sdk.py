from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import sentry_sdk

from crm_monitoring.sentry import sdk

WING = Path(sdk.__file__).parent


def names_from_inside_the_sdk(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("sentry_sdk."))
        elif isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] == "sentry_sdk":
            yield from (f"{node.module}.{alias.name}" for alias in node.names if alias.name not in sentry_sdk.__all__)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "sentry_sdk":
            yield from () if node.attr in sentry_sdk.__all__ else (f"sentry_sdk.{node.attr}",)


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(WING.rglob("*.py")) if path.name != "sdk.py"],
    ids=lambda path: str(path.relative_to(WING)),
)
def test_no_other_module_knows_the_inside_of_the_sdk(path: Path) -> None:
    assert list(names_from_inside_the_sdk(path)) == []


@pytest.mark.parametrize("name", sdk.__all__)
def test_each_name_is_there(name: str) -> None:
    assert getattr(sdk, name) is not None
