"""django-prometheus as its README says, with its database backend."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.benchmarks.delivery import Delivery
from tests.benchmarks.stacks import Tools, bare


def configure(settings: dict[str, Any], rate: float) -> None:
    """Add the app, the two middlewares and the backend."""
    settings["INSTALLED_APPS"] += ["django_prometheus"]
    settings["MIDDLEWARE"].insert(0, "django_prometheus.middleware.PrometheusBeforeMiddleware")
    settings["MIDDLEWARE"].append("django_prometheus.middleware.PrometheusAfterMiddleware")
    settings["DATABASES"]["default"]["ENGINE"] = "django_prometheus.db.backends.sqlite3"


def tools() -> Tools:
    """Return what bare Django has, and the page of the metrics."""
    from django.urls import include, path

    return replace(bare.tools(), urls=[path("", include("django_prometheus.urls"))])


def delivered() -> Delivery:
    """Count what was counted."""
    from prometheus_client import REGISTRY

    counters = [
        sample for metric in REGISTRY.collect() if metric.name.startswith("django") for sample in metric.samples
    ]
    total = sum(sample.value for sample in counters if sample.name.endswith(("_total", "_count")))
    return Delivery(records={"observation": int(total)})
