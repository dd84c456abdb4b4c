from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from crm_monitoring import get_logger

logger = get_logger(__name__)


class Command(BaseCommand):
    """Logs what it then raises, as importers do."""

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            raise ValueError("row 3 is broken")
        except ValueError:
            logger.exception("import_failed", row=3)
            raise
