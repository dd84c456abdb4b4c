"""Makes the messages of alerts: what decides whether to get up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.urls import NoReverseMatch, reverse
from django.utils import translation
from django.utils.translation import gettext as _

from crm_monitoring import conf
from crm_monitoring.dashboard import config
from crm_monitoring.dashboard.alerts.evaluation import Change, Step
from crm_monitoring.dashboard.alerts.messages import Message
from crm_monitoring.dashboard.alerts.rules import MINUTE, Rule
from crm_monitoring.dashboard.alerts.rules.errors import ErrorRate
from crm_monitoring.dashboard.models import Alert, Event, Issue
from crm_monitoring.dashboard.presentation import EventPage, Frame, present
from crm_monitoring.dashboard.store import alerts, deploys, issues
from crm_monitoring.extending import scrub_text

OWN_FRAMES = 5
MOST_ISSUES = 10
"""How many issues one message names; it says how many more there are."""


def of_change(change: Change, alert: Alert, now: datetime) -> Message:
    """Return what a change of an alert has to say, in the language of LANGUAGE_CODE."""
    rule, step = change.rule, change.step or Step.START
    with translation.override(settings.LANGUAGE_CODE):
        return _scrubbed(
            Message(
                step=step.value,
                rule=rule.name,
                kind=rule.kind,
                environment=alert.environment,
                headline=_headline(rule, alert.title),
                status={Step.START: _("Alert"), Step.REMINDER: _("Still firing"), Step.END: _("Over")}[step],
                since=_utc(alert.since or now),
                moment=_utc(now),
                figures=tuple(_figures(change, alert)),
                url=_page_of(rule, alert),
                dashboard_url=_address("overview"),
                thread=thread_of(alert),
                links=_links(alert, step),
            )
        )


def of_issues(changes: Sequence[Change], alert: Alert, now: datetime) -> Message:
    """Return what issues have to say: one of them in full, of several the worst first."""
    with translation.override(settings.LANGUAGE_CODE):
        return _scrubbed(_of_one(changes[0], alert, now) if len(changes) == 1 else _of_many(changes, alert, now))


def _of_one(change: Change, alert: Alert, now: datetime) -> Message:
    issue = alerts.issue_of(alert.subject)
    came_back = issue is not None and issue.regressed_at is not None and not _is_counted(change)
    page = _newest(issue)
    return Message(
        step=Step.START.value,
        rule=change.rule.name,
        kind=change.rule.kind,
        environment="",
        headline=_headline(change.rule, alert.title),
        status=_("Back again") if came_back else _("Alert"),
        since=_utc(alert.since or now),
        moment=_utc(now),
        figures=tuple(_facts_of(change, issue, page)) if issue else (),
        stack=tuple(_stack(page)) if page else (),
        url=_address("issue", alert.subject) if issue else "",
        dashboard_url=_address("overview"),
        thread=thread_of(alert),
        links=_links(alert, Step.START),
    )


def _of_many(changes: Sequence[Change], alert: Alert, now: datetime) -> Message:
    rule, findings = changes[0].rule, [change.finding for change in changes if change.finding]
    more = len(findings) - MOST_ISSUES
    lines = [f"{finding.value or 0:g} × {finding.title}" for finding in findings[:MOST_ISSUES]]
    began = [finding.since for finding in findings if finding.since]
    return Message(
        step=Step.START.value,
        rule=rule.name,
        kind=rule.kind,
        environment="",
        headline=f"{len(findings)} × {rule.describe()}",
        status=_("Alert"),
        since=_utc(min(began, default=now)),
        moment=_utc(now),
        stack=tuple([*lines, _("and %(count)s more") % {"count": more}] if more > 0 else lines),
        url=f"{issues_url}?sort=first_seen" if (issues_url := _address("issues")) else "",
        dashboard_url=_address("overview"),
        thread=thread_of(alert),
    )


def thread_of(alert: Alert) -> str:
    """Return what all messages of a rule and subject have in common, hexadecimal digits."""
    return sha256(f"{alert.rule}\0{alert.environment}\0{alert.subject}".encode()).hexdigest()[:24]


def sample(now: datetime) -> Message:
    """Return a message that is about nothing, to try a channel."""
    with translation.override(settings.LANGUAGE_CODE):
        return Message(
            step=Step.START.value,
            rule="test",
            kind="test",
            environment=conf.get().ENVIRONMENT,
            headline=_("Test of this channel"),
            status=_("Alert"),
            since=_utc(now),
            moment=_utc(now),
            figures=((_("Result"), _("If you can read this, alerts arrive.")),),
            dashboard_url=_address("overview"),
            thread="0" * 24,
        )


def _scrubbed(message: Message) -> Message:
    given = {name: getattr(message, name) for name in Message.__slots__}
    return Message(
        **{
            **given,
            "headline": scrub_text(message.headline),
            "figures": tuple((name, scrub_text(value)) for name, value in message.figures),
            "stack": tuple(map(scrub_text, message.stack)),
        }
    )


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")


def _headline(rule: Rule, title: str) -> str:
    return f"{rule.describe()}: {title}" if title else rule.describe()


def _figures(change: Change, alert: Alert) -> Iterator[tuple[str, str]]:
    finding, rule = change.finding, change.rule
    if finding is not None:
        yield _("Measured"), rule.measured(finding.value)
        if finding.requests is not None:
            minutes = rule.window // MINUTE
            yield _("Counted"), _("%(count)s in %(minutes)s minutes") % {"count": finding.requests, "minutes": minutes}
    release = deploys.latest(alert.environment)
    if release:
        yield _("Release"), release
    if alert.acknowledged_by:
        yield _("Acknowledged by"), alert.acknowledged_by


# -- issues ---------------------------------------------------------------------------------------------------------------


def _is_counted(change: Change) -> bool:
    """Whether the issue is told of for how often it happens, not for being new."""
    return change.finding is not None and change.finding.since is None


def _facts_of(change: Change, issue: Issue, page: EventPage | None) -> Iterator[tuple[str, str]]:
    view = issues.get(issue.pk)
    yield _("Measured"), change.rule.measured(change.finding.value if change.finding else None)
    for name, values in (
        (_("Environment"), [sighting.environment for sighting in view.sightings]),
        (_("Endpoint"), [sighting.endpoint for sighting in view.sightings]),
    ):
        known = list(dict.fromkeys(filter(None, values)))
        if known:
            yield name, ", ".join(known[:3]) + (" …" if len(known) > 3 else "")
    if issue.last_release:
        yield _("Release"), issue.last_release
    yield _("First seen"), _utc(issue.first_seen)
    if view.users:
        yield _("Users"), str(view.users)
    if page and page.request_id:
        yield _("Request id"), page.request_id


def _newest(issue: Issue | None) -> EventPage | None:
    if issue is None:
        return None
    try:
        return present(issues.event(issue).body)
    except Event.DoesNotExist:
        # Its events may be older than those that are kept.
        return None


def _stack(page: EventPage) -> Iterator[str]:
    frames = [frame for part in page.exceptions[:1] for stretch in part.stretches for frame in stretch.frames]
    own = [frame for frame in frames if not frame.is_library]
    # Without code of its own the project sees where in the library it is.
    yield from map(_call, (own or frames)[:OWN_FRAMES])
    folded = len(frames) - len((own or frames)[:OWN_FRAMES])
    if folded:
        yield _("and %(count)s more calls") % {"count": folded}


def _call(frame: Frame) -> str:
    place = f"{frame.filename or frame.module}:{frame.number}" if frame.number else frame.filename or frame.module
    return f"{place} in {frame.function}" if frame.function else place


# -- where to look --------------------------------------------------------------------------------------------------------


def _page_of(rule: Rule, alert: Alert) -> str:
    if isinstance(rule, ErrorRate):
        return _with(_address("issues"), environment=alert.environment)
    rows = "all" if alert.subject else ""
    return _with(_address("overview"), window="1h", environment=alert.environment, rows=rows)


def _links(alert: Alert, step: Step) -> tuple[tuple[str, str], ...]:
    address = "" if step is Step.END else _address("alerts")
    return ((_("Mute or acknowledge"), f"{address}#alert-{alert.pk}"),) if address else ()


def _with(address: str, **parameters: str) -> str:
    query = urlencode({name: value for name, value in parameters.items() if value})
    return f"{address}?{query}" if address and query else address


def _address(name: str, *args: Any) -> str:
    try:
        return _absolute(reverse(f"crm_monitoring_dashboard:{name}", args=args))
    except NoReverseMatch:
        # A project may have alerts without the pages.
        return ""


def _absolute(path: str) -> str:
    site = config.get().SITE_URL
    return site + path.lstrip("/") if site else ""
