"""The windows of time that the pages show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Window:
    """
    A stretch of time that the page can show.

    Attributes:
        key: As in the URL: "24h".
        seconds: Its length.
        step: Seconds between two points of its charts.
    """

    key: str
    seconds: int
    step: int


WINDOWS: Mapping[str, Window] = {
    window.key: window
    for window in (
        Window("1h", 3_600, 60),
        Window("24h", 86_400, 900),
        Window("7d", 7 * 86_400, 2 * 3_600),
        Window("30d", 30 * 86_400, 8 * 3_600),
    )
}
DEFAULT_WINDOW = WINDOWS["24h"]
