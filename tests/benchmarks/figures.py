"""Figures: what was measured, of whom, in which circumstances."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Key:
    """
    What a figure is the figure of.

    Attributes:
        section: The kind of measurement, which tells the unit.
        what: The case, or the operation.
        rate: Share of requests that are traced.
    """

    section: str
    what: str
    stack: str
    interface: str = "wsgi"
    rate: float = 0.0


@dataclass(frozen=True)
class Figure:
    """A value, and between what it varied from round to round where it was taken several times."""

    key: Key
    value: float
    low: float | None = None
    high: float | None = None


class Figures:
    """All figures of a run."""

    def __init__(self, figures: Iterable[Figure] = ()) -> None:
        self._figures = {figure.key: figure for figure in figures}

    def __iter__(self) -> Iterator[Figure]:
        return iter(self._figures.values())

    def add(self, figures: Iterable[Figure]) -> None:
        """Take more figures."""
        self._figures |= {figure.key: figure for figure in figures}

    def get(self, key: Key) -> Figure | None:
        """Return a figure, None where it was not measured."""
        return self._figures.get(key)

    def value(self, section: str, what: str, stack: str, interface: str = "wsgi", rate: float = 0.0) -> float | None:
        """Return the value of a figure, None where it was not measured."""
        figure = self.get(Key(section, what, stack, interface, rate))
        return None if figure is None else figure.value

    def as_list(self) -> list[dict[str, Any]]:
        """Return plain data, for JSON."""
        return [
            {**dataclasses.asdict(figure.key), "value": figure.value, "low": figure.low, "high": figure.high}
            for figure in self
        ]


def from_list(rows: Iterable[dict[str, Any]]) -> Figures:
    """Return the figures that `as_list` made plain."""
    names = [field.name for field in dataclasses.fields(Key)]
    return Figures(
        Figure(Key(**{name: row[name] for name in names}), row["value"], row["low"], row["high"]) for row in rows
    )
