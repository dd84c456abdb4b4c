"""How many events may leave: a token bucket for each kind of failure and one over all, so that a flood says how big it is and costs little."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from time import monotonic

from crm_monitoring.sentry.sdk import Event, Part

MAX_FINGERPRINTS = 1000
OTHERS = "(others)"


class TokenBucket:
    """
    Lets `burst` through at once, and `per_minute` in the long run.

    The token bucket of network traffic shaping: a bucket holds at most `burst` tokens, refills evenly, and each event takes one.
    """

    __slots__ = ("_burst", "_moment", "_per_second", "_tokens")

    def __init__(self, burst: float, per_minute: float, now: float) -> None:
        self._burst = burst
        self._per_second = per_minute / 60
        self._tokens = burst
        self._moment = now

    def take(self, now: float) -> bool:
        """Take a token if there is one."""
        self._tokens = min(self._burst, self._tokens + (now - self._moment) * self._per_second)
        self._moment = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class QuotaGuard:
    """
    Decides which events leave, and counts the others by fingerprint.

    Args:
        burst: Events of one fingerprint that leave at once.
        per_minute: Events of one fingerprint that leave each minute after that.
        overall_per_minute: Events of all fingerprints that leave each minute; also how many may leave at once.
    """

    def __init__(self, burst: float, per_minute: float, overall_per_minute: float) -> None:
        self._burst = burst
        self._per_minute = per_minute
        self._overall_per_minute = overall_per_minute
        self.start_over()

    def start_over(self) -> None:
        """Forget what was asked so far, and who was asking: a forked child has its own count."""
        self._overall = TokenBucket(self._overall_per_minute, self._overall_per_minute, monotonic())
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()
        self._sources: OrderedDict[str, TokenBucket] = OrderedDict()
        self._held: Counter[str] = Counter()
        # Reentrant: a finaliser may report a failure while its own thread is counting one.
        self._lock = threading.RLock()

    def admit(self, fingerprint: str, source: str = "") -> int | None:
        """
        Ask for an event to leave.

        Args:
            source: Who tells of it. All kinds of one together leave half of what leaves overall to others.

        Returns:
            How many of its fingerprint were held back since the last one that left, or None where this one is held back too.
        """
        now = monotonic()
        with self._lock:
            if self._may_leave(fingerprint, source, now):
                return self._held.pop(fingerprint, 0)
            self._held[fingerprint] += 1
            return None

    def _may_leave(self, fingerprint: str, source: str, now: float) -> bool:
        return (
            self._bucket(fingerprint, now).take(now)
            and (not source or self._share(source, now).take(now))
            and self._overall.take(now)
        )

    def _bucket(self, fingerprint: str, now: float) -> TokenBucket:
        bucket = self._buckets.get(fingerprint)
        if bucket is None:
            bucket = self._buckets[fingerprint] = TokenBucket(self._burst, self._per_minute, now)
            self._forget_oldest()
        self._buckets.move_to_end(fingerprint)
        return bucket

    def _share(self, source: str, now: float) -> TokenBucket:
        share = self._sources.get(source)
        if share is None:
            half = max(self._overall_per_minute / 2, 1)
            share = self._sources[source] = TokenBucket(half, half, now)
            if len(self._sources) > MAX_FINGERPRINTS:
                self._sources.popitem(last=False)
        self._sources.move_to_end(source)
        return share

    def _forget_oldest(self) -> None:
        if len(self._buckets) > MAX_FINGERPRINTS:
            oldest, _ = self._buckets.popitem(last=False)
            # No count is lost, only whose it was.
            self._held[OTHERS] += self._held.pop(oldest, 0)

    def held(self) -> dict[str, int]:
        """Return how many events are held back and not told of yet, by fingerprint."""
        with self._lock:
            return {fingerprint: count for fingerprint, count in self._held.items() if count}


def fingerprint_of(event: Event) -> str:
    """
    Return what kind of failure a Sentry event is about.

    Its explicit fingerprint; else the exception's type and the innermost frame of the project's own code; else logger and message.
    """
    explicit = event.get("fingerprint")
    if explicit:
        return " ".join(map(str, explicit))
    values = (event.get("exception") or {}).get("values") or []
    if values:
        return f"{values[-1].get('type')} in {_place(values[-1])}"
    message = (event.get("logentry") or {}).get("message") or event.get("message") or ""
    return f"{event.get('logger') or ''} {message}".strip()[:200]


def source_of(event: Event) -> str:
    """
    Return who tells of a Sentry event, where there may be kinds without end: the logger of a message.

    Of exceptions there are no more kinds than places in the code.
    """
    return "" if event.get("exception") else str(event.get("logger") or "")


def _place(value: Part) -> str:
    frames = (value.get("stacktrace") or {}).get("frames") or [{}]
    own = [frame for frame in frames if frame.get("in_app")] or frames
    return f"{own[-1].get('module')}.{own[-1].get('function')}"
