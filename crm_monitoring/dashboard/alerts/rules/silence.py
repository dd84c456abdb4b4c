"""The rule over requests that do not come."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import gettext as _

from crm_monitoring.conf import key, parsing
from crm_monitoring.dashboard.alerts.rules.rule import DAY, MINUTE, Finding, Rule, number, window
from crm_monitoring.dashboard.store import alerts
from crm_monitoring.extending import sentry_status


class NoRequests(Rule):
    """No requests where there were some before."""

    kind = "no_requests"

    window: int = window(10 * MINUTE, DAY)
    endpoints: tuple[str, ...] = key(
        (), parsing.names, "Endpoints, each judged by itself. Default: any request at all."
    )

    def findings(self, now: float) -> Iterator[Finding]:
        """Judge each endpoint of each environment."""
        for environment in self.environments or (sentry_status().environment,):
            for endpoint in self.endpoints or ("",):
                newest = alerts.newest_request(environment, endpoint, now)
                # Where there never was one, nobody misses any.
                if newest is not None:
                    silent = max(0.0, now - newest - MINUTE)
                    yield Finding(
                        environment=environment,
                        subject=endpoint,
                        title=endpoint,
                        value=round(silent / MINUTE, 1),
                        is_breach=silent >= self.window,
                    )

    def describe(self) -> str:
        """Return what it looks for."""
        return _("No requests for %(minutes)s minutes") % {"minutes": self.window // MINUTE}

    def shown(self, value: float) -> str:
        """Return minutes."""
        return _("%(value)s minutes without a request") % {"value": number(value)}
