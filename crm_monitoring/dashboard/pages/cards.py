"""The figures on top of the overview, each with its change and with what it means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from django.urls import reverse
from django.utils.module_loading import import_string
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from crm_monitoring import faults
from crm_monitoring.dashboard import config
from crm_monitoring.dashboard.pages import formatting
from crm_monitoring.dashboard.pages.filters import Choice
from crm_monitoring.dashboard.store.figures import Change, Figures, Measured

Direction = Literal["up", "down", ""]


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """
    One figure.

    Attributes:
        about: What it means.
        detail: A second line in small print.
        change: Against the window before, empty where there is nothing to compare; `before` is what it was.
        tone: "good" or "bad", empty where a change is neither.
        link: Where to read on, if anywhere.
        is_name: Whether the value is an endpoint rather than a number.
    """

    key: str
    label: str
    value: str
    about: str
    detail: str = ""
    change: str = ""
    before: str = ""
    tone: str = ""
    link: str = ""
    is_name: bool = False


def window_name(key: str) -> str:
    """Return a window's name as its tab says it."""
    return {"1h": _("1 h"), "24h": _("24 h"), "7d": _("7 d"), "30d": _("30 d")}[key]


def headline(figures: Figures, choice: Choice) -> list[Card]:
    """Return the five figures that answer whether all is well."""
    return [
        _changing(
            "errors",
            _("Errors (%(window)s)") % {"window": window_name(figures.window.key)},
            figures.errors,
            formatting.count,
            _(
                "Events of level error and above, including those that the quota held back. One failure makes one event."
            ),
            worse="up",
            link=reverse("crm_monitoring_dashboard:issues"),
        ),
        _changing(
            "average",
            _("Average response"),
            figures.average_ms,
            formatting.milliseconds,
            _("The mean over all requests, from the arrival of a request to the end of its response."),
            worse="up",
        ),
        _endpoint(
            "hottest",
            _("Hottest endpoint"),
            figures.hottest,
            _("The endpoint with the most requests."),
            lambda measured: _requests(measured.count),
            choice.link(sort="-count"),
        ),
        _endpoint(
            "slowest",
            _("Slowest endpoint"),
            figures.slowest,
            _("The endpoint with the longest average response."),
            lambda measured: _("%(duration)s on average") % {"duration": formatting.milliseconds(measured.average_ms)},
            choice.link(sort="-average"),
        ),
        _changing(
            "users",
            _("Active users"),
            figures.active_users,
            formatting.count,
            _("Distinct users seen in the last 15 minutes. Requests that do not read their user are not counted."),
            detail=_("%(count)s in %(window)s")
            % {"count": formatting.count(figures.users.now), "window": window_name(figures.window.key)},
        ),
    ]


def quality(figures: Figures) -> list[Card]:
    """Return the five figures that say how good the service is."""
    limits = config.get()
    return [
        _changing(
            "error-rate",
            _("Error rate"),
            figures.error_rate,
            formatting.percent,
            _("Share of requests answered with a server error, status 500 and above."),
            worse="up",
        ),
        _changing(
            "apdex",
            _("Apdex"),
            figures.apdex,
            formatting.score,
            _(
                "How satisfied users were, from 0 to 1. A request answered within %(satisfied)s counts as one, within "
                "%(tolerated)s as a half; slower or failed ones count as zero."
            )
            % {
                "satisfied": formatting.milliseconds(limits.APDEX_MS),
                "tolerated": formatting.milliseconds(limits.APDEX_MS * 4),
            },
            worse="down",
        ),
        _changing(
            "p95",
            _("P95"),
            figures.p95_ms,
            formatting.milliseconds,
            _("95 of 100 requests were answered within this time."),
            worse="up",
        ),
        _changing(
            "failed",
            _("Failed requests"),
            figures.failed,
            formatting.count,
            _("Requests answered with a server error, status 500 and above."),
            worse="up",
        ),
        _changing(
            "slow",
            _("Slow transactions"),
            figures.slow,
            formatting.count,
            _("Requests that took longer than %(limit)s.") % {"limit": formatting.milliseconds(limits.SLOW_REQUEST_MS)},
            worse="up",
            link=reverse("crm_monitoring_dashboard:transactions"),
        ),
    ]


def own(figures: Figures) -> list[Card]:
    """Return the cards of the CARDS key; one that fails is counted and left out."""
    cards = (_own(path, figures) for path in config.get().CARDS)
    return [card for card in cards if card is not None]


def _own(path: str, figures: Figures) -> Card | None:
    try:
        card = import_string(path)(figures)
        if not isinstance(card, Card):
            raise TypeError(f"{path} does not return a Card.")
    except Exception as error:
        faults.record(f"The card {path}", error)
        return None
    return card


def _changing(
    key: str,
    label: str,
    figure: Change,
    shown: Callable[[float | None], str],
    about: str,
    *,
    worse: Direction = "",
    detail: str = "",
    link: str = "",
) -> Card:
    delta = formatting.change(figure)
    return Card(
        key=key,
        label=label,
        value=shown(figure.now),
        about=about,
        detail=detail,
        change=delta.text,
        before=shown(figure.before),
        tone=_tone(delta.direction, worse),
        link=link,
    )


def _tone(direction: str, worse: Direction) -> str:
    if not worse or direction not in ("up", "down"):
        return ""
    return "bad" if direction == worse else "good"


def _endpoint(
    key: str, label: str, measured: Measured | None, about: str, detail: Callable[[Measured], str], link: str
) -> Card:
    if measured is None:
        return Card(key=key, label=label, value=formatting.NOTHING, about=about)
    return Card(
        key=key, label=label, value=measured.name, about=about, detail=detail(measured), link=link, is_name=True
    )


def _requests(number: int) -> str:
    return ngettext("%(count)s request", "%(count)s requests", number) % {"count": formatting.count(number)}
