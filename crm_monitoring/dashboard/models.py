"""
What the dashboard keeps: what was counted, issues with their events, deploys.

Moments of rows are Unix seconds, which every database adds up and compares alike; moments that people read are datetimes.
"""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from crm_monitoring.dashboard.fields import MomentField

NAME_LENGTH = 200
ENVIRONMENT_LENGTH = 64
RELEASE_LENGTH = 200
HASH_LENGTH = 32
REQUEST_ID_LENGTH = 64
TAG_LENGTH = 64
TRACE_ID_LENGTH = 32

RULE_LENGTH = 64


class Flush(models.Model):
    """
    What one flush of one process has counted in one minute. Rows are only ever added, and emptied once they are in their minute.

    Attributes:
        id: The same when the flush is tried again: so it is counted once.
        started: Start of the minute, Unix seconds.
        body: What was counted, see `metrics.sums.Names`; empty once it is in its minute.
        emptied: When it was emptied, Unix seconds by the database's clock.
    """

    id = models.UUIDField(primary_key=True)
    started = models.BigIntegerField()
    environment = models.CharField(max_length=ENVIRONMENT_LENGTH)
    body = models.BinaryField(null=True)
    emptied = models.BigIntegerField(null=True)

    class Meta:
        verbose_name = _("flush")
        verbose_name_plural = _("flushes")
        indexes = [models.Index(fields=["emptied", "started"], name="crm_monitoring_flush_waits")]

    def __str__(self) -> str:
        return f"{self.environment} {self.started}"


class RollUp(models.Model):
    """
    What was counted in a slot of time by all processes. Wider ones are made from the narrower ones that are in them.

    Attributes:
        started: Start of the slot, Unix seconds, a multiple of `seconds`.
        body: What was counted of each name, see `metrics.sums.Names`.
        totals: What that adds up to, see `metrics.sums.Totals`: charts need no names.
        rolled: Whether the next wider one has it as it is.
    """

    seconds = models.PositiveIntegerField()
    started = models.BigIntegerField()
    environment = models.CharField(max_length=ENVIRONMENT_LENGTH)
    body = models.BinaryField()
    totals = models.BinaryField()
    rolled = models.BooleanField(default=False)

    class Meta:
        verbose_name = _("roll-up")
        verbose_name_plural = _("roll-ups")
        constraints = [
            models.UniqueConstraint(fields=["seconds", "started", "environment"], name="crm_monitoring_rollup_once")
        ]
        indexes = [models.Index(fields=["rolled", "seconds", "started"], name="crm_monitoring_rollup_waits")]

    def __str__(self) -> str:
        return f"{self.environment} {self.started} ({self.seconds} s)"


class Visit(models.Model):
    """
    One user seen in one five-minute slot.

    Attributes:
        started: Start of the slot, Unix seconds.
        user: Keyed hash of the user's id, never the id.
    """

    started = models.BigIntegerField()
    environment = models.CharField(max_length=ENVIRONMENT_LENGTH)
    user = models.CharField(max_length=HASH_LENGTH)

    class Meta:
        verbose_name = _("visit")
        verbose_name_plural = _("visits")
        constraints = [
            models.UniqueConstraint(fields=["started", "environment", "user"], name="crm_monitoring_visit_once")
        ]

    def __str__(self) -> str:
        return self.user


class Issue(models.Model):
    """
    All failures of one kind.

    Attributes:
        fingerprint: Hash of what makes them one kind.
        title: Of the exception "ValueError: no such category", else the message.
        place: Innermost frame of the project's own code, "organisations.views in create"; empty for a message.
        count: How often it happened, with what the quota held back.
        regressed_at: When it came back after it had been resolved.
    """

    class Status(models.TextChoices):
        """What people have made of it."""

        OPEN = "open", _("open")
        RESOLVED = "resolved", _("resolved")
        IGNORED = "ignored", _("ignored")

    fingerprint = models.CharField(max_length=64, unique=True)
    title = models.CharField(max_length=300)
    place = models.CharField(max_length=300, blank=True)
    logger = models.CharField(max_length=NAME_LENGTH, blank=True)
    level = models.CharField(max_length=12)
    status = models.CharField(max_length=12, choices=Status.choices, default=Status.OPEN)
    count = models.PositiveBigIntegerField(default=0)
    first_seen = MomentField()
    last_seen = MomentField(db_index=True)
    first_release = models.CharField(max_length=RELEASE_LENGTH, blank=True)
    last_release = models.CharField(max_length=RELEASE_LENGTH, blank=True)
    resolved_at = MomentField(null=True, blank=True)
    regressed_at = MomentField(null=True, blank=True)

    class Meta:
        verbose_name = _("issue")
        verbose_name_plural = _("issues")
        ordering = ["-last_seen"]
        permissions = [("view_dashboard", _("Can see the monitoring dashboard"))]

    def __str__(self) -> str:
        return self.title


class Sighting(models.Model):
    """Where an issue has been seen: one row for each combination, with its own count."""

    issue = models.ForeignKey(Issue, on_delete=models.CASCADE, related_name="sightings")
    environment = models.CharField(max_length=ENVIRONMENT_LENGTH)
    release = models.CharField(max_length=RELEASE_LENGTH, blank=True)
    endpoint = models.CharField(max_length=NAME_LENGTH, blank=True)
    count = models.PositiveBigIntegerField(default=0)
    first_seen = MomentField()
    last_seen = MomentField()

    class Meta:
        verbose_name = _("sighting")
        verbose_name_plural = _("sightings")
        constraints = [
            models.UniqueConstraint(
                fields=["issue", "environment", "release", "endpoint"], name="crm_monitoring_sighting_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.endpoint} ({self.environment} {self.release})"


class TagValue(models.Model):
    """How often an issue's events had a value of a tag; past fifty values of one tag, "(other)"."""

    issue = models.ForeignKey(Issue, on_delete=models.CASCADE, related_name="tags")
    name = models.CharField(max_length=TAG_LENGTH)
    value = models.CharField(max_length=NAME_LENGTH)
    count = models.PositiveBigIntegerField(default=0)
    last_seen = MomentField(db_index=True)

    class Meta:
        verbose_name = _("value of a tag")
        verbose_name_plural = _("values of tags")
        constraints = [models.UniqueConstraint(fields=["issue", "name", "value"], name="crm_monitoring_tag_once")]
        indexes = [models.Index(fields=["name", "value"], name="crm_monitoring_tag_found")]

    def __str__(self) -> str:
        return f"{self.name}:{self.value}"


class AffectedUser(models.Model):
    """One user who met an issue, by the same keyed hash as a visit; `last_seen` is when for the last time."""

    issue = models.ForeignKey(Issue, on_delete=models.CASCADE, related_name="users")
    user = models.CharField(max_length=HASH_LENGTH)
    last_seen = MomentField(db_index=True)

    class Meta:
        verbose_name = _("affected user")
        verbose_name_plural = _("affected users")
        constraints = [models.UniqueConstraint(fields=["issue", "user"], name="crm_monitoring_affected_once")]

    def __str__(self) -> str:
        return self.user


class Kept(models.Model):
    """
    What is kept whole of something that happened.

    Attributes:
        event_id: 32 hexadecimal digits: Sentry's, or one of our own.
        request_id: Of the request or unit of work it belongs to; a task has that of who asked for it.
        moment: When it happened.
        endpoint: The transaction's name: "GET organisations/{pk}/".
        body: The scrubbed event, JSON compressed with zlib. In JSON columns PostgreSQL takes no NUL, which texts may hold.
    """

    event_id = models.CharField(max_length=32, unique=True)
    request_id = models.CharField(max_length=REQUEST_ID_LENGTH, blank=True, db_default="", db_index=True)
    trace_id = models.CharField(max_length=TRACE_ID_LENGTH, blank=True, db_default="", db_index=True)
    moment = MomentField(db_index=True)
    environment = models.CharField(max_length=ENVIRONMENT_LENGTH)
    release = models.CharField(max_length=RELEASE_LENGTH, blank=True)
    endpoint = models.CharField(max_length=NAME_LENGTH, blank=True)
    body = models.BinaryField()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.event_id


class Event(Kept):
    """One occurrence of an issue, as it would have been sent to Sentry."""

    issue = models.ForeignKey(Issue, on_delete=models.CASCADE, related_name="events")

    class Meta:
        verbose_name = _("event")
        verbose_name_plural = _("events")
        ordering = ["-moment", "-id"]


class SlowTransaction(Kept):
    """A sampled transaction that took longer than SLOW_REQUEST_MS, with its spans."""

    duration_ms = models.FloatField()

    class Meta:
        verbose_name = _("slow transaction")
        verbose_name_plural = _("slow transactions")
        ordering = ["-moment", "-id"]


class KeptWork(Kept):
    """
    One request or unit of work, with its lines, queries and operations.

    Attributes:
        kind: "request", or what sort of unit it is: "task", "job".
        duration_ms: How long it took; `moment` is its end.
        status: HTTP status of a request.
        user: Keyed hash of the user's id, empty for nobody.
        size: Bytes of the body.
    """

    class Reason(models.TextChoices):
        """Why it was kept."""

        FAILED = "failed", _("failed")
        SLOW = "slow", _("slow")
        SAMPLE = "sample", _("sample")

    kind = models.CharField(max_length=ENVIRONMENT_LENGTH)
    duration_ms = models.FloatField()
    status = models.PositiveSmallIntegerField(null=True)
    failed = models.BooleanField()
    reason = models.CharField(max_length=12, choices=Reason.choices)
    user = models.CharField(max_length=HASH_LENGTH, blank=True)
    size = models.PositiveIntegerField()

    class Meta:
        verbose_name = _("kept request")
        verbose_name_plural = _("kept requests")
        ordering = ["-moment", "-id"]
        indexes = [models.Index(fields=["endpoint", "moment"], name="crm_monitoring_work_alike")]


class Deploy(models.Model):
    """A release that went live."""

    release = models.CharField(max_length=RELEASE_LENGTH)
    environment = models.CharField(max_length=ENVIRONMENT_LENGTH)
    moment = MomentField(db_index=True)
    url = models.URLField(blank=True)

    class Meta:
        verbose_name = _("deploy")
        verbose_name_plural = _("deploys")
        ordering = ["-moment"]

    def __str__(self) -> str:
        return f"{self.release} ({self.environment})"


class Lease(models.Model):
    """
    The right to do something that only one process may do at a time.

    Attributes:
        until: Unix seconds until which whoever took it has it; the default is long ago.
    """

    name = models.CharField(max_length=40, primary_key=True)
    until = models.FloatField(default=0.0)

    class Meta:
        verbose_name = _("lease")
        verbose_name_plural = _("leases")

    def __str__(self) -> str:
        return self.name


class Alert(models.Model):
    """
    What a rule has to say of one subject.

    Attributes:
        rule: Name of the rule in ALERTS.
        environment: Empty for an issue, which may be in many.
        subject: An endpoint or operation, the key of an issue; empty for the environment as a whole.
        title: The subject as people read it.
        since: When it last began to be true; of an issue, when it began or came back.
        over_since: When it began to be true no longer, while it still fires.
        last_sent: When its last message was queued.
        muted_until: Until when nobody is told.
        acknowledged_at: When somebody took it on: nobody is reminded until it is over. `acknowledged_by` says who.
        value: What was measured last, in the unit of the rule's threshold.
    """

    class State(models.TextChoices):
        """What is known of it."""

        OK = "ok", _("ok")
        PENDING = "pending", _("pending")
        FIRING = "firing", _("firing")
        RESOLVED = "resolved", _("resolved")

    rule = models.CharField(max_length=RULE_LENGTH)
    environment = models.CharField(max_length=ENVIRONMENT_LENGTH, blank=True)
    subject = models.CharField(max_length=NAME_LENGTH, blank=True)
    title = models.CharField(max_length=300, blank=True)
    state = models.CharField(max_length=12, choices=State.choices, default=State.OK)
    since = MomentField(null=True, blank=True)
    over_since = MomentField(null=True, blank=True)
    resolved_at = MomentField(null=True, blank=True)
    last_sent = MomentField(null=True, blank=True)
    muted_until = MomentField(null=True, blank=True)
    acknowledged_at = MomentField(null=True, blank=True)
    acknowledged_by = models.CharField(max_length=NAME_LENGTH, blank=True, db_default="")
    value = models.FloatField(null=True, blank=True)

    class Meta:
        verbose_name = _("alert")
        verbose_name_plural = _("alerts")
        ordering = ["-since", "-pk"]
        constraints = [
            models.UniqueConstraint(fields=["rule", "environment", "subject"], name="crm_monitoring_alert_once")
        ]

    def __str__(self) -> str:
        return self.title or self.rule


class Delivery(models.Model):
    """
    One message of an alert to one channel: queued, tried until it is sent.

    Attributes:
        due: When it may be tried; whoever tries it moves this on first. None once it is sent or given up.
        error: Class of the exception, or status, that the last attempt ended with; never a message.
        body: The `alerts.messages.Message` as JSON, without secrets.
    """

    class Kind(models.TextChoices):
        """Which of the messages of an alert it is."""

        START = "start", _("start")
        REMINDER = "reminder", _("reminder")
        END = "end", _("end")

    alert = models.ForeignKey(Alert, on_delete=models.CASCADE, related_name="deliveries")
    channel = models.CharField(max_length=RULE_LENGTH)
    kind = models.CharField(max_length=12, choices=Kind.choices)
    created = MomentField(db_index=True)
    due = MomentField(null=True, blank=True, db_index=True)
    attempts = models.PositiveIntegerField(default=0)
    sent_at = MomentField(null=True, blank=True)
    error = models.CharField(max_length=RULE_LENGTH, blank=True)
    body = models.TextField()

    class Meta:
        verbose_name = _("delivery")
        verbose_name_plural = _("deliveries")
        ordering = ["-created", "-pk"]

    def __str__(self) -> str:
        return f"{self.kind} {self.channel}"
