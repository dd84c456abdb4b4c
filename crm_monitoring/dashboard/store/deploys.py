"""The deploys: moments at which a release went live."""

from __future__ import annotations

from datetime import datetime, timedelta

from crm_monitoring.dashboard.models import Deploy
from crm_monitoring.dashboard.store.connection import database

SAME_DEPLOY = timedelta(minutes=10)
"""A job of the CI that runs once more within this time has deployed once."""


def mark(deploy: Deploy) -> bool:
    """
    Store the deploy. One of the same release, environment and URL within `SAME_DEPLOY` is moved to its moment instead.

    Returns:
        Whether it is a new one.
    """
    known = _known(deploy)
    if known is None:
        deploy.save(using=database())
        return True
    known.moment = deploy.moment
    known.save(using=database(), update_fields=["moment"])
    return False


def since(moment: datetime) -> set[str]:
    """Return the environments where something went live since then."""
    return set(Deploy.objects.using(database()).filter(moment__gte=moment).values_list("environment", flat=True))


def latest(environment: str) -> str:
    """Return the release that went live last in an environment, empty where none is known."""
    there = Deploy.objects.using(database()).filter(environment=environment)
    return there.order_by("-moment").values_list("release", flat=True).first() or ""


def _known(deploy: Deploy) -> Deploy | None:
    same = Deploy.objects.using(database()).filter(
        release=deploy.release, environment=deploy.environment, url=deploy.url
    )
    return same.filter(moment__gte=deploy.moment - SAME_DEPLOY).first()
