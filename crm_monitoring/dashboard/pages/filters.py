"""What a reader of the overview has chosen, in the address, so that a link shows the same to a colleague."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from django.http import QueryDict

from crm_monitoring.dashboard.models import ENVIRONMENT_LENGTH
from crm_monitoring.dashboard.store import DEFAULT_WINDOW, WINDOWS, Window
from crm_monitoring.dashboard.store.figures import Measured

SORTS: Mapping[str, Callable[[Measured], float | str]] = {
    "name": lambda measured: measured.name,
    "count": lambda measured: measured.count,
    "failed": lambda measured: measured.failed,
    "average": lambda measured: measured.average_ms,
    "p50": lambda measured: measured.p50_ms,
    "p95": lambda measured: measured.p95_ms,
    "p99": lambda measured: measured.p99_ms,
    "apdex": lambda measured: -1.0 if measured.apdex is None else measured.apdex,
    "slow": lambda measured: measured.slow,
}
DEFAULT_SORT = "-count"
ROWS = 25
"""Rows of a table until all are asked for."""


@dataclass(frozen=True, slots=True)
class Choice:
    """
    The parameters of the overview, each usable.

    Attributes:
        environment: Empty for all.
        sort: Column of the endpoints, with "-" before it for the largest first.
        is_whole: Whether tables show all rows.
    """

    window: Window = DEFAULT_WINDOW
    environment: str = ""
    sort: str = DEFAULT_SORT
    is_whole: bool = False

    @property
    def parameters(self) -> dict[str, str]:
        """What of the choice is not default, as in the address."""
        parameters = {
            "window": self.window.key if self.window != DEFAULT_WINDOW else "",
            "environment": self.environment,
            "sort": self.sort if self.sort != DEFAULT_SORT else "",
            "rows": "all" if self.is_whole else "",
        }
        return {name: value for name, value in parameters.items() if value}

    def link(self, **changes: Any) -> str:
        """Return the query string of this choice with some changes."""
        return "?" + urlencode(replace(self, **changes).parameters)

    def sorted(self, endpoints: Sequence[Measured]) -> list[Measured]:
        """Return the endpoints in the chosen order."""
        return sorted(endpoints, key=SORTS[self.column], reverse=self.is_descending)

    def rows(self, measured: Sequence[Measured]) -> Sequence[Measured]:
        """Return the rows to show."""
        return measured if self.is_whole else measured[:ROWS]

    @property
    def column(self) -> str:
        """The column that orders the endpoints."""
        return self.sort.removeprefix("-")

    @property
    def is_descending(self) -> bool:
        """Whether the largest comes first."""
        return self.sort.startswith("-")

    def sort_by(self, column: str) -> str:
        """Return the `sort` that a click on a column asks for: the other way round where it is chosen already."""
        if column == self.column:
            return column if self.is_descending else f"-{column}"
        return column if column == "name" else f"-{column}"


def choice_of(parameters: QueryDict) -> Choice:
    """Return what the parameters of an address choose. What cannot be used counts as left out."""
    sort = parameters.get("sort", DEFAULT_SORT)
    return Choice(
        window=WINDOWS.get(parameters.get("window", ""), DEFAULT_WINDOW),
        environment=parameters.get("environment", "").replace("\0", "")[:ENVIRONMENT_LENGTH],
        sort=sort if sort.removeprefix("-") in SORTS else DEFAULT_SORT,
        is_whole=parameters.get("rows") == "all",
    )
