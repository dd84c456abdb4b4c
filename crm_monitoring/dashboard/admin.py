"""The dashboard's tables in Django's admin, to look things up: only the dashboard's own pages change anything."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.contrib import admin
from django.db.models import Model, QuerySet, URLField
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from crm_monitoring.dashboard import models
from crm_monitoring.dashboard.inbox.untrusted import indented
from crm_monitoring.dashboard.store import database, issues


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # cannot be subscripted at run time
    """
    Shows rows and changes none.

    Moments are filtered, not drilled into: a date hierarchy reads them all, and asks MariaDB for time zones it seldom has.
    """

    list_per_page = 50
    # Counting all rows, beside those found, is slow where there are millions.
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Read from the database that the dashboard keeps, whatever routers say."""
        rows: QuerySet[Any] = self.model._default_manager.using(database())
        ordering = self.get_ordering(request)
        return rows.order_by(*ordering) if ordering else rows

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody may."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody may."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody may."""
        return False


@admin.register(models.Issue)
class IssueAdmin(ReadOnlyAdmin):
    """Issues, each with a link to its page."""

    list_display = ("title", "place", "level", "status", "count", "first_seen", "last_seen", "page")
    list_filter = ("status", "level", "last_seen")
    search_fields = ("title", "place", "fingerprint")

    @admin.display(description=_("page"))
    def page(self, issue: models.Issue) -> SafeString | str:
        """Link to the issue's page."""
        return _link("issue", issue.pk)


class KeptAdmin(ReadOnlyAdmin):
    """What is kept with the body that was sent."""

    list_filter = ("moment", "environment")
    search_fields = ("event_id", "endpoint", "release")
    exclude = ("body",)
    readonly_fields = ("decoded", "page")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave the bodies out: they are large, and the page of one row asks for its own."""
        return super().get_queryset(request).defer("body")


@admin.register(models.Event)
class EventAdmin(KeptAdmin):
    """Events, each with its body."""

    list_display = ("event_id", "issue", "moment", "environment", "release", "endpoint", "page")
    list_select_related = ("issue",)

    @admin.display(description=_("body"))
    def decoded(self, event: models.Event) -> SafeString:
        """Show the body as indented JSON."""
        return _json(issues.event(event.issue, event.event_id).body)

    @admin.display(description=_("page"))
    def page(self, event: models.Event) -> SafeString | str:
        """Link to the event's page."""
        return _link("event", event.issue_id, event.event_id)


@admin.register(models.SlowTransaction)
class SlowTransactionAdmin(KeptAdmin):
    """Slow transactions, each with its spans."""

    list_display = ("event_id", "endpoint", "duration_ms", "moment", "environment", "release", "page")

    @admin.display(description=_("body"))
    def decoded(self, transaction: models.SlowTransaction) -> SafeString:
        """Show the body as indented JSON."""
        return _json(issues.transaction(transaction.event_id).body)

    @admin.display(description=_("page"))
    def page(self, transaction: models.SlowTransaction) -> SafeString | str:
        """Link to the transaction's page."""
        return _link("transaction", transaction.event_id)


@admin.register(models.Sighting)
class SightingAdmin(ReadOnlyAdmin):
    """Where issues have been seen."""

    list_display = ("issue", "environment", "release", "endpoint", "count", "first_seen", "last_seen")
    list_select_related = ("issue",)
    list_filter = ("environment",)
    search_fields = ("endpoint", "release")


@admin.register(models.MetricRow)
class MetricRowAdmin(ReadOnlyAdmin):
    """What was counted."""

    list_display = ("kind", "name", "began", "seconds", "environment", "release", "count", "failed", "slow")
    list_filter = ("kind",)
    search_fields = ("name",)
    ordering = ("-started",)
    exclude = ("sketch",)

    @admin.display(description=_("start"), ordering="started")
    def began(self, row: models.MetricRow) -> datetime:
        """Show the start of the bucket as a moment."""
        # Django's admin would convert with USE_TZ only.
        return timezone.localtime(datetime.fromtimestamp(row.started, UTC))


@admin.register(models.Deploy)
class DeployAdmin(ReadOnlyAdmin):
    """Releases that went live."""

    list_display = ("release", "environment", "moment", "url")
    list_filter = ("environment",)
    search_fields = ("release",)
    # Django 5.2 warns that its default changes, even where nobody edits.
    formfield_overrides = {URLField: {"assume_scheme": "https"}}


@admin.register(models.Alert)
class AlertAdmin(ReadOnlyAdmin):
    """What the rules have to say, of what, and since when."""

    list_display = ("rule", "title", "environment", "state", "value", "since", "resolved_at", "last_sent", "page")
    list_filter = ("state", "rule", "environment")
    search_fields = ("title", "subject", "rule", "environment")

    @admin.display(description=_("page"))
    def page(self, alert: models.Alert) -> SafeString | str:
        """Link to the page of all alerts."""
        return _link("alerts")


@admin.register(models.Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    """The messages of alerts, and how far they have come."""

    list_display = ("alert", "channel", "kind", "created", "attempts", "sent_at", "due", "error")
    list_select_related = ("alert",)
    list_filter = ("channel", "kind", "created")
    search_fields = ("alert__title", "channel", "alert__environment")


def _json(body: Mapping[str, Any]) -> SafeString:
    return format_html("<pre>{}</pre>", indented(body).decode())


def _link(name: str, *args: Any) -> SafeString | str:
    try:
        address = reverse(f"crm_monitoring_dashboard:{name}", args=args)
    except NoReverseMatch:
        # A project may have the admin without the pages.
        return "–"
    return format_html('<a href="{}">{}</a>', address, _("Open in the dashboard"))
