"""The page of alerts: the rules, what is firing, what was sent to whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from time import time
from typing import Any, NamedTuple

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_POST, require_safe

from crm_monitoring.dashboard import config
from crm_monitoring.dashboard.alerts import channels, rules
from crm_monitoring.dashboard.alerts.rules import Rule
from crm_monitoring.dashboard.fields import moment_of
from crm_monitoring.dashboard.models import Alert, Delivery
from crm_monitoring.dashboard.pages import formatting
from crm_monitoring.dashboard.pages.access import dashboard_view
from crm_monitoring.dashboard.pages.links import figures_of
from crm_monitoring.dashboard.store import alerts

CHANGE = "crm_monitoring_dashboard.change_alert"
HISTORY = 50
EXAMPLE = """CRM_MONITORING = {
    "SITE_URL": "https://crm.example.org/",
    "ALERT_CHANNELS": {"team": {"type": "email", "to": ["team@example.org"]}},
}"""

_MOMENT = datetime(2000, 1, 1, tzinfo=UTC)


class RuleRow(NamedTuple):
    """A rule as people read it, and of how many subjects it is true now."""

    rule: Rule
    condition: str
    window: str
    cooldown: str
    channels: Sequence[str]
    firing: int


class AlertRow(NamedTuple):
    """
    An alert with its figure, and where more is to be seen of it.

    Attributes:
        title: The issue, endpoint or operation; of an environment as a whole what its rule looks for.
        condition: What its rule looks for, where the title does not say so.
        link: The issue's page, or the figures of the endpoint; empty where there is no page for it.
    """

    alert: Alert
    title: str
    condition: str
    figure: str
    link: str


class SentMessage(NamedTuple):
    """A delivery, and the alert that it is about."""

    delivery: Delivery
    row: AlertRow


@dashboard_view
@require_safe
def show_alerts(request: HttpRequest) -> HttpResponse:
    """Show the rules with their state, what is firing, and the latest alerts with their deliveries."""
    context = {**about_alerts(), "may_act": request.user.has_perm(CHANGE), "now": moment_of(time())}
    return render(request, "crm_monitoring/dashboard/alerts.html", context)


@dashboard_view
@csrf_protect
@require_POST
def act_on_alert(request: HttpRequest, pk: int) -> HttpResponse:
    """Mute or acknowledge an alert, then show all of them."""
    if not request.user.has_perm(CHANGE):
        raise PermissionDenied
    act = _ACTIONS.get(request.POST.get("action", ""))
    if act is None:
        return HttpResponseBadRequest("No such action.", content_type="text/plain")
    if not act(pk, request.user.get_username()):
        messages.warning(request, _("It is over already."), fail_silently=True)
    return HttpResponseRedirect(reverse("crm_monitoring_dashboard:alerts"))


def _mute(seconds: int) -> Callable[[int, str], int]:
    return lambda pk, by: alerts.mute(pk, moment_of(time() + seconds))


_ACTIONS: Mapping[str, Callable[[int, str], int]] = {
    "acknowledge": lambda pk, by: alerts.acknowledge(pk, by, time()),
    "mute_hour": _mute(3_600),
    "mute_day": _mute(86_400),
    "notify": lambda pk, by: alerts.mute(pk, None),
}


def about_alerts() -> dict[str, Any]:
    """Return what the page shows: rules, what is wrong with some, what is firing, and the latest alerts."""
    active = {rule.name: rule for rule in rules.active()}
    firing = alerts.firing()
    counts = Counter(alert.rule for alert in firing)
    return {
        "channel": next(iter(config.get().ALERT_CHANNELS), ""),
        "example": EXAMPLE,
        "problems": (*rules.problems(), *channels.problems()),
        "rules": [_rule_row(rule, counts[rule.name]) for rule in active.values()],
        "firing": [_alert_row(alert, active) for alert in firing],
        "history": [SentMessage(delivery, _alert_row(delivery.alert, active)) for delivery in alerts.history(HISTORY)],
    }


def now_firing() -> list[AlertRow]:
    """Return what is firing; where no alert is sent, nobody is asked."""
    if not config.get().ALERT_CHANNELS:
        return []
    active = {rule.name: rule for rule in rules.active()}
    return [_alert_row(alert, active) for alert in alerts.firing()]


def _rule_row(rule: Rule, firing: int) -> RuleRow:
    return RuleRow(
        rule,
        rule.describe(),
        duration(rule.window),
        duration(rule.cooldown),
        rule.channels or tuple(config.get().ALERT_CHANNELS),
        firing,
    )


def _alert_row(alert: Alert, active: Mapping[str, Rule]) -> AlertRow:
    rule = active.get(alert.rule)
    if rule is None:
        # It is gone from the setting, and with it what it looked for.
        return AlertRow(alert, str(alert), "", formatting.NOTHING, "")
    looked_for = rule.describe()
    title, below = (alert.title, looked_for) if alert.title else (looked_for, "")
    return AlertRow(alert, title, below, rule.measured(alert.value), _link(alert, rule))


def _link(alert: Alert, rule: Rule) -> str:
    if rule.is_about_issues:
        return reverse("crm_monitoring_dashboard:issue", args=(alert.subject,)) if alert.subject.isdecimal() else ""
    return figures_of(alert.subject) if alert.subject else reverse("crm_monitoring_dashboard:overview")


def duration(seconds: int) -> str:
    """Return a length of time: "5 minutes", "1 hour, 30 minutes"."""
    return timesince(_MOMENT, _MOMENT + timedelta(seconds=seconds))
