"""django-silk as its README says; what it calls intercepting is here the rate."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from tests.benchmarks.delivery import Delivery
from tests.benchmarks.stacks import Tools, bare


def configure(settings: dict[str, Any], rate: float) -> None:
    """Add the app, the middleware and the share of requests it keeps."""
    settings["INSTALLED_APPS"] += ["silk"]
    settings["MIDDLEWARE"].insert(0, "silk.middleware.SilkyMiddleware")
    settings["SILKY_INTERCEPT_PERCENT"] = rate * 100
    settings["TEMPLATES"][0]["OPTIONS"] = {"context_processors": ["django.template.context_processors.request"]}


def monitor(name: str) -> AbstractContextManager[Any]:
    """Measure a block by a profile."""
    from silk.profiling.profiler import silk_profile

    profile: AbstractContextManager[Any] = silk_profile(name=name)
    return profile


def tools() -> Tools:
    """Return its profiles, the standard library's logging and the pages that show what was kept."""
    from django.urls import include, path

    return Tools(bare.info, bare.debug, monitor, len, urls=[path("silk/", include("silk.urls", namespace="silk"))])


def delivered() -> Delivery:
    """Count the rows."""
    from silk.models import Profile, Request, Response, SQLQuery

    return Delivery(records={model.__name__: model.objects.count() for model in (Request, Response, SQLQuery, Profile)})
