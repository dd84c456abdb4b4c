"""How many requests are traced: by route or path prefix where a rule says so, else by environment."""

from __future__ import annotations

from collections.abc import Mapping

from crm_monitoring.sentry.sdk import Options


def sample_rate(rules: Mapping[str, float], otherwise: float, sampling_context: Options) -> float:
    """
    Return the sample rate, from 0 to 1, for what is about to be traced.

    A parent's decision is kept. Then the first rule that fits counts, then `otherwise`.

    Args:
        rules: Rates by route or path prefix, as in TRACES_SAMPLE_RATE_OVERRIDES.
        sampling_context: Sentry's, with "method", "path" and "route" of a request: the route is None where no pattern matched.
    """
    parent = sampling_context.get("parent_sampled")
    if parent is not None:
        return float(parent)
    return next((rate for rule, rate in rules.items() if _fits(rule, sampling_context)), otherwise)


def _fits(rule: str, request: Options) -> bool:
    if rule.startswith("/"):
        return str(request.get("path", "")).startswith(rule)
    route = request.get("route")
    return route is not None and rule in (route, f"{request.get('method')} {route}")
