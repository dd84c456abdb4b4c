"""Who may do what only one process may do at a time."""

from __future__ import annotations

from django.db.models import Q, QuerySet

from crm_monitoring.dashboard.models import Lease
from crm_monitoring.dashboard.store import clock
from crm_monitoring.dashboard.store.connection import database, leaving_what_is_held, transaction

_SLACK_S = 5.0
"""Who asks may have waited since it looked at its clock."""


def take(name: str, seconds: float) -> bool:
    """
    Take the lease `name` for so many seconds, unless somebody has it.

    Of many processes that ask at once one gets it: the database lets one update of a row follow the other, and the second finds
    the lease taken. One that lasts much longer than `seconds` from now was taken by a clock that was wrong: it is none.

    Raises:
        django.db.Error: if the database cannot be asked.
    """
    is_taken = False
    with leaving_what_is_held(), transaction() as alias:
        is_taken = _take(name, seconds, clock.now(), Lease.objects.using(alias))
    return is_taken


def _take(name: str, seconds: float, now: float, leases: QuerySet[Lease]) -> bool:
    longest = now + seconds + _SLACK_S
    is_free = Q(until__lte=now) | Q(until__gt=longest)
    # A look first: whoever finds it taken writes nothing, and waits for nobody.
    until = leases.filter(name=name).values_list("until", flat=True).first()
    if until is None:
        leases.bulk_create([Lease(name=name)], ignore_conflicts=True)
    elif now < until <= longest:
        return False
    return leases.filter(is_free, name=name).update(until=now + seconds) == 1


def give_back(name: str) -> None:
    """Let whoever asks next take the lease."""
    Lease.objects.using(database()).filter(name=name).update(until=0.0)
