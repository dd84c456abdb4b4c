"""Who may do what only one process may do at a time."""

from __future__ import annotations

from time import time

from crm_monitoring.dashboard.models import Lease
from crm_monitoring.dashboard.store import database


def take(name: str, seconds: float) -> bool:
    """
    Take the lease `name` for so many seconds, unless somebody has it.

    Of many processes that ask at once one gets it: the database lets one update of a row follow the other, and the second finds
    the lease taken. Clocks of hosts may differ; the lease is held longer or shorter by that.

    Raises:
        django.db.Error: if the database cannot be asked.
    """
    now, leases = time(), Lease.objects.using(database())
    until = leases.filter(name=name).values_list("until", flat=True).first()
    if until is None:
        leases.bulk_create([Lease(name=name)], ignore_conflicts=True)
    elif until > now:
        return False
    return leases.filter(name=name, until__lte=now).update(until=now + seconds) == 1


def give_back(name: str) -> None:
    """Let whoever asks next take the lease."""
    Lease.objects.using(database()).filter(name=name).update(until=0.0)
