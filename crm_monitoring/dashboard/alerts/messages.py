"""What an alert says: what, since when, figures, the top of the stack and where to look, without secrets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import orjson
from django.conf import settings
from django.urls import NoReverseMatch, reverse
from django.utils import translation
from django.utils.translation import gettext as _

from crm_monitoring import conf
from crm_monitoring.dashboard import config
from crm_monitoring.dashboard.alerts.evaluation import Change, Step
from crm_monitoring.dashboard.alerts.rules import MINUTE, Rule
from crm_monitoring.dashboard.alerts.rules.errors import ErrorRate
from crm_monitoring.dashboard.models import Alert, Event, Issue
from crm_monitoring.dashboard.pages.presentation import Frame, present
from crm_monitoring.dashboard.store import alerts, issues
from crm_monitoring.extending import scrub_text

STACK_FRAMES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """
    One message, as all channels say it and as webhooks get it.

    Attributes:
        step: "start", "reminder" or "end".
        kind: Of the rule: "error_rate".
        headline: What it is about, the same in all messages of an alert.
        status: What `step` means, in words.
        since: When it began, ISO 8601 in UTC; `moment` is when this message was made.
        figures: Names and values in words.
        stack: Of an issue, the innermost calls first.
        url: Where it can be looked at; empty without SITE_URL.
        thread: The same in all messages of a rule and subject.
    """

    step: str
    rule: str
    kind: str
    environment: str
    headline: str
    status: str
    since: str
    moment: str
    figures: tuple[tuple[str, str], ...] = ()
    stack: tuple[str, ...] = ()
    url: str = ""
    dashboard_url: str = ""
    thread: str = ""

    def to_json(self) -> str:
        """Return the message as it is stored and as webhooks get it."""
        return orjson.dumps(asdict(self)).decode()


def from_json(text: str) -> Message:
    """Return the message that `to_json` gave."""
    given: dict[str, Any] = orjson.loads(text)
    return Message(**{**given, "figures": tuple(map(tuple, given["figures"])), "stack": tuple(given["stack"])})


def as_text(message: Message) -> str:
    """Return the message for those who read plain text."""
    parts = [
        f"{message.status}: {message.headline}",
        "\n".join(f"{name}: {value}" for name, value in facts(message)),
        "\n".join(message.stack),
        "\n".join(filter(None, (message.url, message.dashboard_url))),
    ]
    return "\n\n".join(part for part in parts if part)


def facts(message: Message) -> list[tuple[str, str]]:
    """Return where, since when and the figures, each with its name, in the site's language."""
    with translation.override(settings.LANGUAGE_CODE):
        where = [(_("Environment"), message.environment)] if message.environment else []
        since = datetime.fromisoformat(message.since)
        return [*where, (_("Since"), _moment(since)), *message.figures, (_("Rule"), message.rule)]


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


# -- made of changes ------------------------------------------------------------------------------------------------------


def of_change(change: Change, alert: Alert, now: datetime) -> Message:
    """Return what a change of an alert has to say, in the language of LANGUAGE_CODE."""
    with translation.override(settings.LANGUAGE_CODE):
        return _scrubbed(
            Message(
                step=change.step.value,
                rule=change.rule.name,
                kind=change.rule.kind,
                environment=alert.environment,
                headline=_headline(change.rule, alert.title),
                status=_status(change),
                since=_utc(alert.since or now),
                moment=_utc(now),
                figures=tuple(_figures(change)),
                **_of_issue(change, alert.subject),
                dashboard_url=_address("overview"),
                thread=thread_of(alert),
            )
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
    return Message(
        **{
            **{name: value for name, value in asdict(message).items() if name not in ("figures", "stack")},
            "headline": scrub_text(message.headline),
            "figures": tuple((name, scrub_text(value)) for name, value in message.figures),
            "stack": tuple(map(scrub_text, message.stack)),
        }
    )


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")


def _status(change: Change) -> str:
    if change.step is Step.START:
        came_back = change.finding is not None and change.finding.since is not None and change.is_known
        return _("Back again") if came_back else _("Alert")
    return _("Still firing") if change.step is Step.REMINDER else _("Over")


def _headline(rule: Rule, title: str) -> str:
    return f"{rule.describe()}: {title}" if title else rule.describe()


def _figures(change: Change) -> Iterator[tuple[str, str]]:
    finding = change.finding
    if finding is not None:
        yield _("Measured"), change.rule.measured(finding.value)
        if finding.requests is not None:
            yield (
                _("Counted"),
                _("%(count)s in %(minutes)s minutes")
                % {
                    "count": finding.requests,
                    "minutes": change.rule.window // MINUTE,
                },
            )


# -- issues ---------------------------------------------------------------------------------------------------------------


def _of_issue(change: Change, subject: str) -> dict[str, Any]:
    issue = alerts.issue_of(subject) if change.rule.is_about_issues else None
    if issue is None:
        return {"url": _address("issues") if isinstance(change.rule, ErrorRate) else ""}
    stack = () if change.step is Step.END else tuple(_stack(issue))
    return {"url": _address("issue", issue.pk), "stack": stack}


def _stack(issue: Issue) -> Iterator[str]:
    try:
        page = present(issues.event(issue).body)
    except Event.DoesNotExist:
        # Its events may be older than those that are kept.
        return
    frames = [frame for part in page.exceptions[:1] for stretch in part.stretches for frame in stretch.frames]
    yield from map(_call, frames[:STACK_FRAMES])


def _call(frame: Frame) -> str:
    place = f"{frame.filename or frame.module}:{frame.number}" if frame.number else frame.filename or frame.module
    return f"{place} in {frame.function}" if frame.function else place


def _address(name: str, *args: Any) -> str:
    site = config.get().SITE_URL
    if not site:
        return ""
    try:
        path = reverse(f"crm_monitoring_dashboard:{name}", args=args)
    except NoReverseMatch:
        # A project may have alerts without the pages.
        return ""
    return site + path.lstrip("/")
