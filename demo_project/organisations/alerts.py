"""A page that shows alerts at work: the rules, what fires, the mails that were sent, and a button that breaks something."""

from __future__ import annotations

import secrets
import time

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from crm_monitoring import capture_exception, unmonitored
from crm_monitoring.dashboard.pages.alerts import about_alerts

from . import mails

MAILS = 10
REFRESH_S = 3
WAIT_S = 60

# Alerts tell what the dashboard knows: who may not see it may not see them.
may_see = permission_required("crm_monitoring_dashboard.view_dashboard")


@require_safe
@unmonitored
@may_see
def show(request: HttpRequest) -> HttpResponse:
    newest = mails.newest(MAILS)
    context = {
        **about_alerts(),
        "mails": newest,
        "folder": mails.folder(),
        "refresh_s": REFRESH_S if is_waiting(request.GET.get("since", ""), newest) else None,
    }
    return render(request, "organisations/alerts.html", context)


def is_waiting(since: str, newest: list[mails.Mail]) -> bool:
    """Tell whether something broke at `since`, Unix seconds, about which there is no mail yet: not for ever."""
    if not since.isdecimal() or time.time() - int(since) > WAIT_S:
        return False
    return not newest or newest[0].sent.timestamp() < int(since)


@require_POST
@may_see
def break_something(request: HttpRequest) -> HttpResponse:
    """Fail in a way that is new each time: of what is known already nobody is told again."""
    breakdown = type(f"Breakdown{secrets.token_hex(3).upper()}", (RuntimeError,), {})
    try:
        raise breakdown("Somebody pressed the button")
    except RuntimeError as error:
        capture_exception(error, tags={"demo": "alert"})
    messages.warning(
        request, _("Something broke that never broke before: the mail about it will be below in a moment.")
    )
    return redirect(f"{reverse('organisations:alerts')}?since={int(time.time())}")
