"""
Tells Sentry's API of a release and its deploy. The only module that asks that API.

What it takes and answers: https://docs.sentry.io/api/releases/
"""

from __future__ import annotations

import json
from datetime import UTC
from typing import Any
from urllib.parse import quote, urlsplit

from crm_monitoring import conf
from crm_monitoring.dashboard import posting
from crm_monitoring.dashboard.config import DashboardConfig
from crm_monitoring.dashboard.models import Deploy
from crm_monitoring.dashboard.posting import Answer, NoAnswer
from crm_monitoring.extending import FILTERED, scrub_text

KEYS = ("SENTRY_AUTH_TOKEN", "SENTRY_ORG", "SENTRY_PROJECT")

_ADVICE = {
    401: "It does not know the token: is SENTRY_AUTH_TOKEN right, and not revoked?",
    403: "The token may not do this: it needs the scope project:releases or org:ci, and access to SENTRY_PROJECT.",
    404: "Are SENTRY_ORG, SENTRY_PROJECT and SENTRY_URL right?",
    429: "It accepts no more for now: try again in a few minutes.",
}


class NotTold(Exception):
    """What Sentry was not told, why, and what to do about it. It never holds the token."""


def tell(deploy: Deploy, config: DashboardConfig) -> str:
    """
    Create the release and its deploy at Sentry. A release that exists already stays as it is.

    Returns:
        What was created, in words.

    Raises:
        NotTold: The server refused it, or there was no answer within `posting.TIMEOUT_SECONDS`.
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


def _post(what: str, url: str, config: DashboardConfig, body: dict[str, Any]) -> None:
    headers = {"Authorization": f"Bearer {config.SENTRY_AUTH_TOKEN}", "Content-Type": "application/json"}
    try:
        complaint = _complaint_of_answer(posting.post(url, json.dumps(body).encode(), headers), config)
    except NoAnswer as error:
        complaint = _complaint_of_connection(error, config)
    if complaint:
        raise NotTold(f"The {what} was not created at {config.SENTRY_URL}: {complaint}")


def _complaint_of_answer(answer: Answer, config: DashboardConfig) -> str | None:
    if not 200 <= answer.status < 300:
        return f"the server answered {answer.status}. {_advice(answer, config)}"
    if not answer.headers.get("Content-Type", "").startswith("application/json"):
        return "the answer is not JSON. Is SENTRY_URL a Sentry server?"
    return None


def _advice(answer: Answer, config: DashboardConfig) -> str:
    if answer.status == 400:
        return f"It says: {_shown(answer.body.decode(errors='replace'), config)}"
    if 300 <= answer.status < 400:
        target = urlsplit(answer.headers.get("Location", ""))
        return f"It redirects to {_shown(f'{target.scheme}://{target.netloc}/', config)}: use that as SENTRY_URL, if it is right."
    if answer.status >= 500:
        return "The problem is on the server's side: try again later."
    return _ADVICE.get(answer.status, "Is SENTRY_URL a Sentry server?")


def _complaint_of_connection(error: NoAnswer, config: DashboardConfig) -> str:
    if error.reason == TimeoutError.__name__:
        return f"no answer within {posting.TIMEOUT_SECONDS:g} s. Try again later, or ask whoever runs the server."
    said = f"{error.reason}: {error.detail}" if error.detail else error.reason
    return (
        f"no connection ({_shown(said, config)}). Is SENTRY_URL right, and is there a firewall or a proxy in between?"
    )


def _shown(text: str, config: DashboardConfig) -> str:
    printable = "".join(character if character.isprintable() else " " for character in text)
    return scrub_text(printable.replace(config.SENTRY_AUTH_TOKEN, FILTERED)).strip()
