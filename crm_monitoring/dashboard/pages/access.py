"""Who may open the dashboard."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.views import redirect_to_login
from django.db import InterfaceError, OperationalError, ProgrammingError, connections, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render, resolve_url
from django.urls import NoReverseMatch, Resolver404, get_script_prefix, resolve
from django.views.decorators.cache import cache_control

from crm_monitoring import faults
from crm_monitoring.dashboard.store import answered, database, silent_since
from crm_monitoring.extending import unmonitored

VIEW = "crm_monitoring_dashboard.view_dashboard"

View = Callable[..., HttpResponse]


def dashboard_view(view: View) -> View:
    """
    Show a view to staff with the permission `view_dashboard`: others get 403, who is not logged in the login page.

    What it answers is for one person and changes all the time, so nobody keeps it. It is not measured: a page that refreshes
    itself would soon be the hottest endpoint on it. It runs outside the transaction of ATOMIC_REQUESTS, which would wait for the
    database for as long as that takes. Where the database cannot be read, or does not answer, the page says so.
    """

    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response = answer(request, *args, **kwargs)
        # One of the site's own, set by a middleware further out, takes its place.
        response.headers.setdefault("Content-Security-Policy", policy(settings.STATIC_URL))
        return response

    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not _user(request).is_authenticated:
            return redirect_to_login(request.get_full_path(), login_url())
        if not may_view(request):
            return render(request, "crm_monitoring/dashboard/forbidden.html", status=403)
        try:
            return answered(lambda: view(request, *args, **kwargs))
        except (InterfaceError, OperationalError, ProgrammingError) as error:
            faults.record("Reading for the dashboard", error)
            return render(request, "crm_monitoring/dashboard/unreadable.html", _about_database(), status=503)

    guarded: View = unmonitored(login_not_required(cache_control(private=True, no_store=True)(checked)))
    for alias in connections:
        guarded = transaction.non_atomic_requests(alias)(guarded)
    return guarded


def _about_database() -> dict[str, Any]:
    return {"database": database(), "silent_since": silent_since()}


def policy(static_url: str | None) -> str:
    """Return the Content-Security-Policy of the dashboard's pages: its own files, and nothing inline."""
    parts = urlsplit(static_url or "")
    files = f"{parts.scheme or 'https'}://{parts.netloc}" if parts.netloc else "'self'"
    return (
        f"default-src 'none'; script-src {files}; style-src {files}; img-src {files}; font-src {files}; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


def may_view(request: HttpRequest) -> bool:
    """Tell whether the person who asks may see the dashboard."""
    user = _user(request)
    # A user model of the project's own need not have them.
    return all(getattr(user, name, False) for name in ("is_active", "is_staff", "has_perm")) and user.has_perm(VIEW)


def _user(request: HttpRequest) -> Any:
    # Without AuthenticationMiddleware a request has no user; `manage.py check` says so.
    return getattr(request, "user", None) or AnonymousUser()


def login_url() -> str:
    """Return LOGIN_URL; where it leads nowhere, as Django's default does in many projects, the admin's login page."""
    return known_login_url() or str(settings.LOGIN_URL)


def known_login_url() -> str | None:
    """Return the address of LOGIN_URL, or of the admin's login page; None where both lead nowhere."""
    for place in (settings.LOGIN_URL, "admin:login"):
        with suppress(NoReverseMatch, Resolver404):
            return _resolved(resolve_url(place))
    return None


def _resolved(url: str) -> str:
    parts = urlsplit(url)
    if not parts.netloc:
        resolve("/" + parts.path.removeprefix(get_script_prefix()).removeprefix("/"))
    return url
