"""
Messages of alerts on their way: queued, claimed by one process, tried until they are sent.

Who sends a message is decided by a conditional update of its row. No lock is held while it is sent.
"""

from __future__ import annotations

from django.db.models import Exists, OuterRef, QuerySet

from crm_monitoring.dashboard.fields import moment_of
from crm_monitoring.dashboard.models import Delivery
from crm_monitoring.dashboard.store.connection import database

_FIRST_PAUSE_S = 30
_LONGEST_PAUSE_S = 1_800


def is_waiting(now: float) -> bool:
    """Whether any message may be sent now."""
    return _due(now).exists()


def claim(channel: str, now: float) -> Delivery | None:
    """
    Return the oldest message that may be sent to a channel now, for this caller alone.

    It becomes due again by itself: should the caller die while it sends, somebody else will send it.
    """
    for delivery in _due(now).filter(channel=channel).order_by("pk")[:10]:
        attempts = delivery.attempts + 1
        same = Delivery.objects.using(database()).filter(pk=delivery.pk, attempts=delivery.attempts, due__isnull=False)
        if same.update(attempts=attempts, due=moment_of(now + pause(attempts))):
            delivery.attempts = attempts
            return delivery
    return None


def pause(attempts: int) -> int:
    """Return after how many seconds a message is tried again."""
    return min(_FIRST_PAUSE_S << min(attempts - 1, 10), _LONGEST_PAUSE_S)


def note_sent(delivery: Delivery, now: float) -> None:
    """Note that a message is sent."""
    _same(delivery).update(sent_at=moment_of(now), due=None, error="")


def note_failed(delivery: Delivery, error: str, now: float, retry_after: float = 0.0) -> None:
    """
    Note why a message could not be sent. The channel rests for a while.

    Args:
        error: Class of the exception, or status.
        retry_after: Seconds for which the channel asked.
    """
    due = moment_of(now + max(pause(delivery.attempts), retry_after))
    _same(delivery).update(due=due, error=error)
    if retry_after:
        unsent = Delivery.objects.using(database()).filter(channel=delivery.channel, sent_at=None, due__lt=due)
        unsent.update(due=due)


def failing() -> list[tuple[str, str]]:
    """Return the channels to which messages wait that could not be sent, each with the last error."""
    unsent = Delivery.objects.using(database()).filter(sent_at=None, due__isnull=False).exclude(error="")
    return sorted(dict(unsent.order_by("pk").values_list("channel", "error")).items())


def _due(now: float) -> QuerySet[Delivery]:
    # One after the other: that something is over is not told before that it began.
    earlier = Delivery.objects.filter(
        alert=OuterRef("alert"), channel=OuterRef("channel"), pk__lt=OuterRef("pk"), due__isnull=False
    )
    return Delivery.objects.using(database()).filter(~Exists(earlier), due__lte=moment_of(now))


def _same(delivery: Delivery) -> QuerySet[Delivery]:
    return Delivery.objects.using(database()).filter(pk=delivery.pk, sent_at=None)
