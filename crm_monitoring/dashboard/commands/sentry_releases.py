"""
Tells Sentry's API of a release and its deploy. The only module that asks that API.

What it takes and answers: https://docs.sentry.io/api/releases/
"""

from __future__ import annotations

import json
from datetime import UTC
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from crm_monitoring import conf
from crm_monitoring.dashboard.config import DashboardConfig as Config
from crm_monitoring.dashboard.models import Deploy
from crm_monitoring.extending import FILTERED, scrub_text

TIMEOUT_SECONDS = 10.0
KEYS = ("SENTRY_AUTH_TOKEN", "SENTRY_ORG", "SENTRY_PROJECT")

_MAX_MESSAGE = 500
_ADVICE = {
    401: "It does not know the token: is SENTRY_AUTH_TOKEN right, and not revoked?",
    403: "The token may not do this: it needs the scope project:releases or org:ci, and access to SENTRY_PROJECT.",
    404: "Are SENTRY_ORG, SENTRY_PROJECT and SENTRY_URL right?",
    429: "It accepts no more for now: try again in a few minutes.",
}


class NotTold(Exception):
    """What Sentry was not told, why, and what to do about it. It never holds the token."""


class _NoRedirects(HTTPRedirectHandler):
    # A redirect would take the token along, wherever it leads.
    def redirect_request(self, *args: Any) -> None:
        return None


def tell(deploy: Deploy, config: Config) -> str:
    """
    Create the release and its deploy at Sentry. A release that exists already stays as it is.

    Returns:
        What was created, in words.

    Raises:
        NotTold: The server refused it, or there was no answer within `TIMEOUT_SECONDS`.
    """
    releases = f"{config.SENTRY_URL}api/0/organizations/{quote(config.SENTRY_ORG, safe='')}/releases/"
    _post("release", releases, config, {"version": deploy.release, "projects": [config.SENTRY_PROJECT]})
    if conf.get().BACKEND != "sentry":
        # GlitchTip keeps releases, and knows no deploys.
        return "release"
    finished = {
        "environment": deploy.environment,
        "dateFinished": deploy.moment.astimezone(UTC).isoformat(),
        "projects": [config.SENTRY_PROJECT],
    }
    optional = {"url": deploy.url} if deploy.url else {}
    _post("deploy", f"{releases}{quote(deploy.release, safe='')}/deploys/", config, {**finished, **optional})
    return "release and deploy"


def _post(what: str, url: str, config: Config, body: dict[str, Any]) -> None:
    headers = {"Authorization": f"Bearer {config.SENTRY_AUTH_TOKEN}", "Content-Type": "application/json"}
    request = Request(url, json.dumps(body).encode(), headers, method="POST")  # noqa: S310 - SENTRY_URL is http or https
    try:
        complaint = _complaint_of_answer(request, config)
    except (OSError, HTTPException) as error:
        complaint = _complaint_of_connection(error, config)
    if complaint:
        raise NotTold(f"The {what} was not created at {config.SENTRY_URL}: {complaint}")


def _complaint_of_answer(request: Request, config: Config) -> str | None:
    try:
        with build_opener(_NoRedirects).open(request, timeout=TIMEOUT_SECONDS) as answer:
            if answer.headers.get_content_type() == "application/json":
                return None
            return "the answer is not JSON. Is SENTRY_URL a Sentry server?"
    except HTTPError as error:
        with error:
            return f"the server answered {error.code}. {_advice(error, config)}"


def _advice(error: HTTPError, config: Config) -> str:
    if error.code == 400:
        return f"It says: {_shown(error.read(_MAX_MESSAGE).decode(errors='replace'), config)}"
    if 300 <= error.code < 400:
        target = urlsplit(error.headers.get("Location", ""))
        return f"It redirects to {_shown(f'{target.scheme}://{target.netloc}/', config)}: use that as SENTRY_URL, if it is right."
    if error.code >= 500:
        return "The problem is on the server's side: try again later."
    return _ADVICE.get(error.code, "Is SENTRY_URL a Sentry server?")


def _complaint_of_connection(error: Exception, config: Config) -> str:
    reason = getattr(error, "reason", error)
    if isinstance(reason, TimeoutError):
        return f"no answer within {TIMEOUT_SECONDS:g} s. Try again later, or ask whoever runs the server."
    return (
        f"no connection ({_shown(f'{type(reason).__name__}: {reason}', config)}). "
        "Is SENTRY_URL right, and is there a firewall or a proxy in between?"
    )


def _shown(text: str, config: Config) -> str:
    printable = "".join(sign if sign.isprintable() else " " for sign in text)
    return scrub_text(printable.replace(config.SENTRY_AUTH_TOKEN, FILTERED)).strip()
