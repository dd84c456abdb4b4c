"""Rules over issues: those that are new, and those that happen often."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta

from django.utils.translation import gettext as _

from crm_monitoring.conf import key, parsing
from crm_monitoring.dashboard.alerts.rules.rule import DAY, HOUR, MINUTE, Finding, Rule, minutes_between, number, window
from crm_monitoring.dashboard.fields import moment_of
from crm_monitoring.dashboard.models import Issue
from crm_monitoring.dashboard.store import alerts, floor_to

LOOK_BACK = 2 * HOUR
"""Issues that began longer ago are not new: messages wait an hour at most, and what happened is written within seconds."""


class AboutIssues(Rule):
    """What the rules over issues have in common. That an issue is over is nobody's news."""

    is_about_issues = True

    endpoints: tuple[str, ...] = key((), parsing.names, "Only issues that were seen there. Default: all issues.")


class NewIssue(AboutIssues):
    """An issue that nobody has seen before, or that came back."""

    kind = "new_issue"

    window: int = window(DAY, 7 * DAY)

    def findings(self, now: float) -> Iterator[Finding]:
        """Find the open issues of errors that began and were not told, those that happen most first."""
        since = max(alerts.watched_since(self.name, now), moment_of(now - LOOK_BACK))
        told = alerts.told_issues(self.name, since)
        for issue, began in alerts.begun_issues(since, self.environments, self.endpoints, len(told)):
            known = told.get(str(issue.pk))
            if known is None or known < began:
                yield of_issue(issue, issue.count, is_breach=True, since=began)

    def history(self, start: float, end: float) -> Iterator[tuple[float, list[Finding]]]:
        """Find the issues that began, or came back for the last time, in each minute; those that are resolved by now are not known."""
        begun: dict[int, list[Finding]] = defaultdict(list)
        for issue, began in alerts.begun_issues(moment_of(start), self.environments, self.endpoints):
            finding = of_issue(issue, issue.count, is_breach=True, since=began)
            begun[floor_to(began.timestamp(), MINUTE)].append(finding)
        for moment in minutes_between(start, end):
            yield moment, begun[floor_to(moment, MINUTE)]

    def describe(self) -> str:
        """Return what it looks for."""
        return _("New issue")

    def shown(self, value: float) -> str:
        """Return events."""
        return _("events: %(value)s") % {"value": number(value)}


class BusyIssue(AboutIssues):
    """An issue that happens often, or to many."""

    kind = "busy_issue"

    window: int = window(HOUR, DAY)
    cooldown: int = key(DAY, parsing.whole(MINUTE), "Seconds between two messages about the same.")
    threshold: float = key(100.0, parsing.number(), "Events, or users, in the window.")
    of: str = key("events", parsing.choice(("events", "users"), "a measure of issues"), "events or users.")

    def findings(self, now: float) -> Iterator[Finding]:
        """Judge each open issue of the window."""
        if self.of == "users":
            since = moment_of(now) - timedelta(seconds=self.window)
            counts = alerts.users_of_issues(since, self.environments, self.endpoints)
        else:
            counts = alerts.events_of_issues(
                floor_to(now, MINUTE) - self.window, now, self.environments, self.endpoints
            )
        for issue, count in counts:
            yield of_issue(issue, count, is_breach=count > self.threshold)

    def describe(self) -> str:
        """Return what it looks for."""
        said = {
            "events": _("More than %(threshold)s events of an issue in %(minutes)s minutes"),
            "users": _("More than %(threshold)s users affected by an issue in %(minutes)s minutes"),
        }[self.of]
        return said % {"threshold": number(self.threshold), "minutes": self.window // MINUTE}

    def shown(self, value: float) -> str:
        """Return events or users."""
        return _("%(value)s in the window") % {"value": number(value)}


def of_issue(issue: Issue, value: int, *, is_breach: bool, since: datetime | None = None) -> Finding:
    """Return what a rule found of an issue."""
    return Finding(
        environment="",
        subject=str(issue.pk),
        title=issue.title,
        value=float(value),
        is_breach=is_breach,
        since=since,
    )
