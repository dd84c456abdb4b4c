"""From measured points to the paths and ticks of an SVG chart. Pure: no text for people is made here."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo

_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
_STEPS = (
    *(5 * _MINUTE, 10 * _MINUTE, 15 * _MINUTE, 30 * _MINUTE),
    *(_HOUR, 2 * _HOUR, 4 * _HOUR, 6 * _HOUR, 12 * _HOUR),
    *(_DAY, 2 * _DAY, 7 * _DAY, 14 * _DAY),
)
# A window whose ends lie within steps is a little longer than it says.
_MOST_TIME_TICKS = 6.5
_VALUE_TICKS = 4
_BAR_SHARE = 0.8


@dataclass(frozen=True, slots=True)
class Plane:
    """
    The rectangle that values are drawn into, in the units of the SVG's view box.

    Attributes:
        since: Unix seconds at its left edge; `until` at its right.
        top: The value at its upper edge; 0 is at the lower.
    """

    since: float
    until: float
    top: float
    left: float = 44.0
    right: float = 352.0
    upper: float = 10.0
    lower: float = 148.0

    def x(self, moment: float) -> float:
        """Return where a moment lies, kept within the rectangle."""
        share = (moment - self.since) / (self.until - self.since)
        return round(self.left + min(max(share, 0.0), 1.0) * (self.right - self.left), 1)

    def y(self, value: float) -> float:
        """Return where a value lies."""
        return round(self.lower - value / self.top * (self.lower - self.upper), 1)


def bars(plane: Plane, starts: Sequence[int], values: Sequence[float], seconds: int) -> str:
    """
    Return the path of one bar for each value that is not 0.

    Args:
        seconds: What a bar stands for; it is drawn a little narrower.
    """
    margin = seconds * (1 - _BAR_SHARE) / 2
    return "".join(
        f"M{plane.x(start + margin)} {plane.lower}V{plane.y(value)}H{plane.x(start + seconds - margin)}V{plane.lower}Z"
        for start, value in zip(starts, values, strict=True)
        if value
    )


def line(plane: Plane, starts: Sequence[int], values: Sequence[float | None], seconds: int) -> str:
    """Return the path of a line through the middles of the steps, with a gap where a value is None."""
    path = []
    is_drawing = False
    for start, value in zip(starts, values, strict=True):
        if value is not None:
            # A move and a line to the same place: a round cap makes a dot of a value that stands alone.
            place = f"{plane.x(start + seconds / 2)} {plane.y(value)}"
            path.append(f"L{place}" if is_drawing else f"M{place}L{place}")
        is_drawing = value is not None
    return "".join(path)


def value_ticks(largest: float, *, whole: bool = False) -> list[float]:
    """
    Return round values from 0 to the first that is not below the largest one.

    Args:
        whole: Only whole numbers, for what is counted.
    """
    if largest <= 0:
        return [0.0, 1.0]
    step = _round_up(largest / _VALUE_TICKS)
    if whole:
        step = max(step, 1.0)
    return [number * step for number in range(math.ceil(largest / step - 1e-9) + 1)]


def _round_up(number: float) -> float:
    """Return the next of 1, 2, 5, 10, 20, 50 ... and of their decimal fractions."""
    power = 10.0 ** math.floor(math.log10(number))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= number * (1 - 1e-9))


def time_ticks(since: float, until: float, zone: tzinfo) -> list[datetime]:
    """Return up to six round moments of a stretch of time: minutes, hours or midnights as clocks in the zone show them."""
    step = next((step for step in _STEPS if (until - since) / step <= _MOST_TIME_TICKS), _STEPS[-1])
    moments = {moment.timestamp() for moment in _round_moments(since, until, step, zone)}
    return [datetime.fromtimestamp(moment, zone) for moment in sorted(moments) if since <= moment <= until]


def _round_moments(since: float, until: float, step: int, zone: tzinfo) -> Iterator[datetime]:
    day = datetime.fromtimestamp(since, zone).date()
    last = datetime.fromtimestamp(until, zone).date()
    while day <= last:
        if _is_counted(day, step):
            for second in range(0, _DAY, step):
                yield datetime.combine(day, time(second // _HOUR, second % _HOUR // _MINUTE), zone)
        day += timedelta(days=1)


def _is_counted(day: date, step: int) -> bool:
    return step < _DAY or day.toordinal() % (step // _DAY) == 0
