"""The map shows the house as it stands."""

from __future__ import annotations

import re
from pathlib import Path

from tests.docs.markdown import DOCS, prose, section
from tests.readme import PACKAGE

PAGE = DOCS / "architecture.md"
NOT_ROOMS = {"locale", "migrations", "static", "templates", "templatetags", "__pycache__"}


def test_every_file_it_names_is_there() -> None:
    named = re.findall(r"`([\w/]+(?:\.py|/))`", prose(PAGE))

    assert len(named) > 40
    assert [name for name in named if not _is_there(name)] == []


def _is_there(name: str) -> bool:
    return any((folder / name).exists() for folder in (PACKAGE, PACKAGE / "dashboard"))


def test_every_room_is_on_the_map() -> None:
    shown = section(PAGE, "The map")

    missing = [
        name for folder in (PACKAGE, PACKAGE / "dashboard") for name in _rooms(folder) if f"{name}`" not in shown
    ]

    assert missing == []


def test_every_module_is_on_the_map() -> None:
    shown = section(PAGE, "The map")

    assert [path.name for path in PACKAGE.glob("*.py") if f"`{path.name}`" not in shown] == []


def _rooms(folder: Path) -> list[str]:
    return [f"{path.name}/" for path in folder.iterdir() if path.is_dir() and path.name not in NOT_ROOMS]
