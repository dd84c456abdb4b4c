"""The results of a run, and the file they are kept in."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.benchmarks import figures
from tests.benchmarks.figures import Figures
from tests.benchmarks.stacks import Stack

KEPT = Path(__file__).with_name("results.json")
"""The results that docs/cost.md shows."""


@dataclass
class Results:
    """
    What a run has measured.

    Attributes:
        about: When, on what and by which command.
        versions: Of the packages of each stack.
        notes: What was left out, and why.
    """

    about: dict[str, str] = field(default_factory=dict)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    figures: Figures = field(default_factory=Figures)

    def write(self, path: Path) -> None:
        """Keep the results in a file."""
        plain: dict[str, Any] = {**vars(self), "figures": self.figures.as_list()}
        path.write_text(json.dumps(plain, indent=1) + "\n")


def read(path: Path) -> Results:
    """Return the results that a file keeps."""
    plain = json.loads(path.read_text())
    return Results(**{**plain, "figures": figures.from_list(plain["figures"])})


def begin(stacks: Iterable[Stack], command: str) -> Results:
    """Return the results of a run that begins."""
    return Results(
        about={
            "date": datetime.now(UTC).date().isoformat(),
            "command": command,
            "python": platform.python_version(),
            "django": version("django"),
            "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        },
        versions={stack.name: stack.versions for stack in stacks},
    )
