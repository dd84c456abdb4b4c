"""`manage.py monitoring status`: the page's figures in a terminal."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from textwrap import wrap
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS, Error
from django.utils import timezone, translation
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from crm_monitoring.dashboard.models import Issue
from crm_monitoring.dashboard.pages.document import document
from crm_monitoring.dashboard.pages.formatting import NOTHING, change, count, milliseconds, percent, score
from crm_monitoring.dashboard.store import DEFAULT_WINDOW, WINDOWS, database
from crm_monitoring.dashboard.store.figures import Change, Figures, Measured, knows, read
from crm_monitoring.extending import Subcommand

WIDTH = 80
ROWS = 10
_LABEL = 20
_NUMBER = 9


class Status(Subcommand):
    """Prints the figures of a window of time."""

    name = "status"
    help = "Print the dashboard's figures: errors, response times, the hottest and slowest endpoint, users, issues."

    @staticmethod
    def add_arguments(parser: CommandParser) -> None:
        """Declare --window, --environment and --json."""
        parser.add_argument("--window", choices=WINDOWS, default=DEFAULT_WINDOW.key, help="Default: %(default)s.")
        parser.add_argument("--environment", default="", help="Default: all together.")
        parser.add_argument("--json", action="store_true", help="Print JSON, as figures.json has it.")

    def run(self, **options: Any) -> None:
        """Print them. Commands run without a language, so the site's own is chosen."""
        figures = _read(options["window"], options["environment"])
        if options["json"]:
            self.stdout.write(json.dumps(document(figures), indent=2, ensure_ascii=False))
            return
        with translation.override(settings.LANGUAGE_CODE):
            for line in self._lines(figures):
                self.stdout.write(line.rstrip())

    def _lines(self, figures: Figures) -> Iterator[str]:
        yield self.style.MIGRATE_HEADING(_title(figures))
        if figures.source.newest is None and not figures.issues:
            yield from _advice()
            return
        yield from self._headline(figures)
        yield ""
        yield from self._quality(figures)
        yield from self._table(_("Endpoints"), figures.endpoints)
        yield from self._table(_("Operations"), figures.operations)
        yield from self._issues(figures.issues)
        yield ""
        yield from _source(figures)

    def _headline(self, figures: Figures) -> Iterator[str]:
        yield self._change(_("Errors"), figures.errors, count, "up")
        yield self._change(_("Average response"), figures.average_ms, milliseconds, "up")
        yield _named(_("Hottest endpoint"), figures.hottest, lambda measured: count(measured.count))
        yield _named(_("Slowest endpoint"), figures.slowest, lambda measured: milliseconds(measured.average_ms))
        yield self._change(_("Active users"), figures.active_users, count)

    def _quality(self, figures: Figures) -> Iterator[str]:
        yield self._change(_("Requests"), figures.requests, count)
        yield self._change(_("Error rate"), figures.error_rate, percent, "up")
        yield self._change(_("Apdex"), figures.apdex, score, "down")
        yield self._change(_("P95"), figures.p95_ms, milliseconds, "up")
        yield self._change(_("Failed requests"), figures.failed, count, "up")
        yield self._change(_("Slow requests"), figures.slow, count, "up")
        yield self._change(_("Users"), figures.users, count)

    def _change(self, label: str, figure: Change, shown: Callable[[float | None], str], worse: str = "") -> str:
        delta = change(figure)
        style = self.style.NOTICE if delta.direction == worse else self.style.SUCCESS
        is_judged = worse and delta.direction in ("up", "down")
        return _row(label, f"{shown(figure.now):<12}") + (style(delta.text) if is_judged else delta.text)

    def _table(self, title: str, rows: Sequence[Measured]) -> Iterator[str]:
        if not rows:
            return
        yield ""
        yield self.style.MIGRATE_HEADING(_columns(title, (_("Count"), _("Failed"), _("Average"), _("P95"))))
        for measured in rows[:ROWS]:
            yield _columns(measured.name, _numbers(measured))
        if len(rows) > ROWS:
            more = len(rows) - ROWS
            yield "  " + ngettext("%(count)s more", "%(count)s more", more) % {"count": count(more)}

    def _issues(self, issues: Sequence[Issue]) -> Iterator[str]:
        if not issues:
            return
        yield ""
        yield self.style.MIGRATE_HEADING(_("Newest issues"))
        for issue in issues:
            yield _columns(issue.title, (count(issue.count), _moment(issue.last_seen)))


def _read(window: str, environment: str) -> Figures:
    try:
        if environment and not knows(environment):
            raise CommandError(f"Nothing was measured in {environment!r}. Leave --environment out for all.")
        return read(WINDOWS[window], environment)
    except Error as error:
        alias = database()
        option = "" if alias == DEFAULT_DB_ALIAS else f" --database={alias}"
        raise CommandError(
            f"The database {alias!r} cannot be read: {type(error).__name__}. Does it answer, and has "
            f"`manage.py migrate{option}` been run?"
        ) from error


def _title(figures: Figures) -> str:
    window = {"1h": _("1 h"), "24h": _("24 h"), "7d": _("7 d"), "30d": _("30 d")}[figures.window.key]
    where = _printable(figures.environment) or _("all environments")
    return f"{window}, {where}"


def _advice() -> Iterable[str]:
    return (
        "  " + _("Nothing has been measured yet."),
        "  " + _("Is crm_monitoring.middleware.MonitoringMiddleware in MIDDLEWARE, and has the site"),
        "  " + _("answered a request since? Its figures are written within ten seconds."),
    )


def _source(figures: Figures) -> Iterator[str]:
    source = figures.source
    if source.since is not None and source.newest is not None:
        yield _("From all processes on this database since %(since)s.") % {"since": _moment(source.since)}
        yield _("The newest row is from %(newest)s.") % {"newest": _moment(source.newest)}
    dropped = ", ".join(f"{_printable(kind)} {count(number)}" for kind, number in sorted(source.dropped.items()))
    said = _("Dropped: %(dropped)s") % {"dropped": dropped} if dropped else _("Nothing was dropped in this window.")
    yield from wrap(said, WIDTH)


def _named(label: str, measured: Measured | None, shown: Callable[[Measured], str]) -> str:
    if measured is None:
        return _row(label, NOTHING)
    value = f"{shown(measured):<12}"
    return _row(label, value + _fitted(measured.name, WIDTH - 2 - _LABEL - len(value)))


def _row(label: str, value: str) -> str:
    return f"  {_fitted(label, _LABEL)}{value}"


def _columns(name: str, cells: Iterable[str]) -> str:
    numbers = "".join(f" {cell:>{_NUMBER}}" for cell in cells)
    return f"  {_fitted(name, WIDTH - 2 - len(numbers))}{numbers}"


def _numbers(measured: Measured) -> tuple[str, ...]:
    return (
        count(measured.count),
        count(measured.failed),
        milliseconds(measured.average_ms),
        milliseconds(measured.p95_ms),
    )


def _fitted(text: str, width: int) -> str:
    """Return `text` in exactly so many signs."""
    shown = _printable(text)
    return f"{shown[: width - 1]}…" if len(shown) > width else f"{shown:<{width}}"


def _printable(text: str) -> str:
    """Return `text` without what a terminal would obey: names and titles come from requests."""
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in text)


def _moment(moment: datetime) -> str:
    return date_format(timezone.localtime(moment), "SHORT_DATETIME_FORMAT")
