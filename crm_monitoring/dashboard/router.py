"""For DATABASE_ROUTERS, where the dashboard has a database of its own."""

from __future__ import annotations

from typing import Any

from django.db.models import Model

from crm_monitoring.dashboard.store import database

APP_LABEL = "crm_monitoring_dashboard"


class DashboardRouter:
    """
    Keeps the dashboard's tables in DASHBOARD_DATABASE, and out of every other database. It has no say in other apps.

    `DATABASE_ROUTERS = ["crm_monitoring.dashboard.router.DashboardRouter"]`
    """

    def db_for_read(self, model: type[Model], **hints: Any) -> str | None:
        """Return where the dashboard's models are."""
        return database() if model._meta.app_label == APP_LABEL else None

    db_for_write = db_for_read

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        """Whether the dashboard's tables belong into this database."""
        return db == database() if app_label == APP_LABEL else None
