"""The overview page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from crm_monitoring.dashboard.pages.access import dashboard_view
from crm_monitoring.dashboard.pages.alerts import now_firing
from crm_monitoring.dashboard.pages.cards import headline, own, quality, window_name
from crm_monitoring.dashboard.pages.drawings import draw
from crm_monitoring.dashboard.pages.filters import Choice, choice_of
from crm_monitoring.dashboard.store import WINDOWS, database
from crm_monitoring.dashboard.store.figures import Figures, Point, read
from crm_monitoring.extending import HELD_BACK

REFRESH_SECONDS = 15
MIDDLEWARE = "crm_monitoring.middleware.MonitoringMiddleware"


@dashboard_view
@require_safe
def show_overview(request: HttpRequest) -> HttpResponse:
    """Show the figures of a window of time."""
    choice = choice_of(request.GET)
    figures = read(choice.window, choice.environment)
    return render(request, "crm_monitoring/dashboard/overview.html", _context(figures, choice))


def _context(figures: Figures, choice: Choice) -> dict[str, Any]:
    return {
        "figures": figures,
        "choice": choice,
        "refresh_seconds": REFRESH_SECONDS,
        "is_empty": figures.source.newest is None and not figures.issues,
        "has_middleware": MIDDLEWARE in settings.MIDDLEWARE,
        "middleware": MIDDLEWARE,
        "database": database(),
        "windows": [_tab(choice, key) for key in WINDOWS],
        "compared": _compared(figures.window.key),
        "firing": now_firing(),
        "kept": [(name, value) for name, value in choice.parameters.items() if name != "environment"],
        "time_zone": timezone.get_current_timezone_name(),
        "environments": sorted({*figures.environments, choice.environment} - {""}),
        "cards": [row for row in (headline(figures, choice), quality(figures), own(figures)) if row],
        "charts": draw(figures),
        "points": [(_moment(point), point) for point in figures.points],
        "columns": _columns(choice),
        "endpoints": choice.rows(choice.sorted(figures.endpoints)),
        "operations": choice.rows(figures.operations),
        "all_rows": choice.link(is_whole=True),
        "releases": _shares(figures.errors_by_release),
        "deploys": [
            (deploy, deploy.url if deploy.url.startswith(("https://", "http://")) else "") for deploy in figures.deploys
        ],
        "dropped": sorted((kind, number) for kind, number in figures.source.dropped.items() if kind != HELD_BACK),
        "held_back": figures.source.dropped.get(HELD_BACK, 0),
    }


def _tab(choice: Choice, key: str) -> dict[str, Any]:
    window = WINDOWS[key]
    return {"name": window_name(key), "link": choice.link(window=window), "is_chosen": window == choice.window}


def _compared(key: str) -> str:
    return {
        "1h": _("Changes are relative to the hour before."),
        "24h": _("Changes are relative to the 24 hours before."),
        "7d": _("Changes are relative to the 7 days before."),
        "30d": _("Changes are relative to the 30 days before."),
    }[key]


def _moment(point: Point) -> datetime:
    return datetime.fromtimestamp(point.started, UTC)


def _columns(choice: Choice) -> list[dict[str, Any]]:
    names = {
        "name": _("Endpoint"),
        "count": _("Requests"),
        "failed": _("Failed"),
        "average": _("Average"),
        "p50": _("P50"),
        "p95": _("P95"),
        "p99": _("P99"),
        "apdex": _("Apdex"),
        "slow": _("Slow"),
    }
    return [
        {
            "key": key,
            "name": name,
            "link": choice.link(sort=choice.sort_by(key)),
            "is_chosen": key == choice.column,
            "is_descending": choice.is_descending,
        }
        for key, name in names.items()
    ]


def _shares(errors: Sequence[tuple[str, int]]) -> list[tuple[str, int, float]]:
    most = max((number for _release, number in errors), default=0)
    return [(release, number, round(100 * number / most, 1) if most else 0.0) for release, number in errors]
