"""The dashboard's tables in Django's admin, to look things up: only the dashboard's own pages change anything."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import CharField, DateTimeField, ForeignKey, Model, QuerySet, URLField
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from crm_monitoring.dashboard import models
from crm_monitoring.dashboard.inbox import indented
from crm_monitoring.dashboard.store import database, issues


class Table(admin.ModelAdmin):  # type: ignore[type-arg]  # cannot be subscripted at run time
    """Shows rows and changes none. A date hierarchy would read all moments, and ask MariaDB for time zones it seldom has."""

    list_per_page = 50
    # Counting all rows, beside those found, is slow where there are millions.
    show_full_result_count = False
    # Django 5.2 warns that its default changes, even where nobody edits.
    formfield_overrides = {URLField: {"assume_scheme": "https"}}
    has_add_permission = has_change_permission = has_delete_permission = lambda *args: False  # noqa: E731

    def get_queryset(self, request: Any) -> QuerySet[Any]:
        """Read from the database that the dashboard keeps, whatever routers say, and leave out bodies, which are large."""
        rows: QuerySet[Any] = self.model._default_manager.using(database()).order_by(*self.get_ordering(request))
        return rows.defer(*self.exclude or ())

    @admin.display(description=_("page"))
    def page(self, row: Any) -> str:
        """Link to the row's page. A project may have the admin without the pages."""
        name, *fields = _PAGES[type(row)].split()
        try:
            address = reverse(f"crm_monitoring_dashboard:{name}", args=[getattr(row, field) for field in fields])
        except NoReverseMatch:
            return "–"
        return format_html('<a href="{}">{}</a>', address, _("Open in the dashboard"))

    @admin.display(description=_("body"))
    def decoded(self, row: models.Kept) -> str:
        """Show the body as indented JSON."""
        return format_html("<pre>{}</pre>", indented(issues.body_of(row)).decode())


_PAGES = {
    models.Issue: "issue pk",
    models.Event: "event issue_id event_id",
    models.SlowTransaction: "transaction event_id",
    models.Alert: "alerts",
}


def _show(model: type[Model], columns: str, **options: Any) -> None:
    fields = model._meta.fields
    search = [field.name for field in fields if isinstance(field, CharField) and not field.choices]
    filters = [field.name for field in fields if field.choices or isinstance(field, DateTimeField)]
    related = [field.name for field in fields if isinstance(field, ForeignKey)]
    given = {"list_display": columns.split(), "search_fields": search, "list_filter": filters, **options}
    given["list_select_related"] = related
    admin.site.register(model, type(f"{model.__name__}Admin", (Table,), given))


_BODY = {"exclude": ("body",), "readonly_fields": ("decoded", "page")}
_show(models.Issue, "title place level status count first_seen last_seen page")
_show(models.Event, "event_id issue moment environment release endpoint page", **_BODY)
_show(models.SlowTransaction, "event_id endpoint duration_ms moment environment release page", **_BODY)
_show(models.Sighting, "issue environment release endpoint count first_seen last_seen")
_show(models.Deploy, "release environment moment url")
_show(models.Alert, "rule title environment state value since resolved_at last_sent page")
_show(models.Delivery, "alert channel kind created attempts sent_at due error")
