"""The charts of the overview: what charts.py computes, with texts in the reader's language and time zone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from crm_monitoring.dashboard.models import Deploy
from crm_monitoring.dashboard.pages import charts, formatting
from crm_monitoring.dashboard.store.figures import Figures, Point

_DAY = 86_400
_TEN_THOUSAND = 10_000
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Series:
    """One path; `look` names its colour and kind in the style sheet."""

    name: str
    look: str
    path: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A text at a place on an axis, or a deploy."""

    at: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """One chart; `summary` tells in a sentence what is to be seen."""

    key: str
    title: str
    total: str
    summary: str
    plane: charts.Plane
    series: Sequence[Series]
    values: Sequence[Mark]
    times: Sequence[Mark]
    deploys: Sequence[Mark]


def draw(figures: Figures) -> list[Chart]:
    """Return the charts of requests, errors and durations."""
    return [_requests(figures), _errors(figures), _durations(figures)]


def _requests(figures: Figures) -> Chart:
    ticks = charts.value_ticks(max(point.requests for point in figures.points), whole=True)
    canvas = _Canvas(figures, ticks[-1])
    return canvas.chart(
        "requests",
        _("Requests"),
        formatting.count(figures.requests.now),
        _summary(figures, lambda point: point.requests, formatting.count),
        [
            canvas.bars(_("total"), "requests", [point.requests for point in figures.points]),
            canvas.bars(_("failed"), "failed", [point.failed for point in figures.points]),
        ],
        [Mark(canvas.plane.y(tick), _compact(tick)) for tick in ticks],
    )


def _errors(figures: Figures) -> Chart:
    ticks = charts.value_ticks(max(point.errors for point in figures.points), whole=True)
    canvas = _Canvas(figures, ticks[-1])
    return canvas.chart(
        "errors",
        _("Errors"),
        formatting.count(figures.errors.now),
        _summary(figures, lambda point: point.errors, formatting.count),
        [canvas.bars(_("errors"), "failed", [point.errors for point in figures.points])],
        [Mark(canvas.plane.y(tick), _compact(tick)) for tick in ticks],
    )


def _durations(figures: Figures) -> Chart:
    ticks = charts.value_ticks(max(point.p95_ms or 0.0 for point in figures.points))
    canvas = _Canvas(figures, ticks[-1])
    return canvas.chart(
        "durations",
        _("Response time"),
        "",
        _summary(figures, lambda point: point.p95_ms or 0.0, formatting.milliseconds),
        [
            canvas.line(_("P95"), "p95", [point.p95_ms for point in figures.points]),
            canvas.line(_("P50"), "p50", [point.p50_ms for point in figures.points]),
        ],
        [Mark(canvas.plane.y(tick), formatting.milliseconds(tick) if tick else "0") for tick in ticks],
    )


class _Canvas:
    """Holds what all series of a chart share."""

    def __init__(self, figures: Figures, top: float) -> None:
        self._seconds = figures.window.step
        self._window = figures.window
        self._deploys = figures.deploys
        self._starts = [point.started for point in figures.points]
        self.plane = charts.Plane(self._starts[0], self._starts[-1] + self._seconds, top)

    def bars(self, name: str, look: str, values: Sequence[float]) -> Series:
        return Series(name, look, charts.bars(self.plane, self._starts, values, self._seconds))

    def line(self, name: str, look: str, values: Sequence[float | None]) -> Series:
        return Series(name, look, charts.line(self.plane, self._starts, values, self._seconds))

    def chart(
        self, key: str, title: str, total: str, summary: str, series: Sequence[Series], values: Sequence[Mark]
    ) -> Chart:
        return Chart(
            key=key,
            title=title,
            total=total,
            summary=summary,
            plane=self.plane,
            series=series,
            values=values,
            times=self._times(),
            deploys=[_deploy(self.plane, deploy) for deploy in self._deploys if _is_within(self.plane, deploy)],
        )

    def _times(self) -> list[Mark]:
        moments = charts.time_ticks(self.plane.since, self.plane.until, timezone.get_current_timezone())
        look = "H:i" if self._window.seconds <= _DAY else "j M"
        return [Mark(self.plane.x(moment.timestamp()), date_format(moment, look)) for moment in moments]


def _is_within(plane: charts.Plane, deploy: Deploy) -> bool:
    return bool(plane.since <= deploy.moment.timestamp() <= plane.until)


def _deploy(plane: charts.Plane, deploy: Deploy) -> Mark:
    text = _("Deploy of %(release)s, %(moment)s") % {
        "release": deploy.release,
        "moment": date_format(timezone.localtime(deploy.moment), "SHORT_DATETIME_FORMAT"),
    }
    return Mark(plane.x(deploy.moment.timestamp()), text)


def _summary(figures: Figures, value: Callable[[Point], float], shown: Callable[[float], str]) -> str:
    highest = max(figures.points, key=value)
    if not value(highest):
        return _("Nothing in this window.")
    moment = datetime.fromtimestamp(highest.started, timezone.get_current_timezone())
    return _("Highest: %(value)s, at %(moment)s. All values are in the table below the charts.") % {
        "value": shown(value(highest)),
        "moment": date_format(moment, "SHORT_DATETIME_FORMAT"),
    }


def _compact(number: float) -> str:
    """Return a number short enough for an axis: "12 k"."""
    if number >= _MILLION:
        return _("%(number)s M") % {"number": formatting.count(number / _MILLION)}
    if number >= _TEN_THOUSAND:
        return _("%(number)s k") % {"number": formatting.count(number / 1000)}
    return formatting.count(number)
