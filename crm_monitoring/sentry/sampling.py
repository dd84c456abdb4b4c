"""How many requests are traced: by route or path prefix where a rule says so, else by environment."""

from __future__ import annotations

from typing import Any

from crm_monitoring import conf


def traces_sampler(config: conf.Config, sampling_context: dict[str, Any]) -> float:
    """
    Return the sample rate, from 0 to 1, for what is about to be traced.

    A parent's decision is kept. Then the first rule of TRACES_SAMPLE_RATE_OVERRIDES that fits counts, then the environment's.

    Args:
        sampling_context: Sentry's, with "method", "path" and "route" of a request: the route is None where no pattern matched.
    """
    parent = sampling_context.get("parent_sampled")
    if parent is not None:
        return float(parent)
    for rule, rate in config.TRACES_SAMPLE_RATE_OVERRIDES.items():
        if _fits(rule, sampling_context):
            return rate
    return config.traces_sample_rate()


def _fits(rule: str, request: dict[str, Any]) -> bool:
    if rule.startswith("/"):
        return str(request.get("path", "")).startswith(rule)
    route = request.get("route")
    return route is not None and rule in (route, f"{request.get('method')} {route}")
