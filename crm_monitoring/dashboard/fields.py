"""How the database keeps moments: the only place that minds whether the project has USE_TZ."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from datetime import timezone as fixed
from typing import Any

from django.conf import settings
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone


class MomentField(models.DateTimeField):  # type: ignore[type-arg]  # cannot be subscripted at run time
    """
    A moment, aware in Python with and without USE_TZ, in a column of a DateTimeField.

    The column holds UTC either way. Django's local time, as it is without USE_TZ, runs twice through the hour that autumn repeats:
    in it what comes later would seem to be earlier. So the rows also stay right when a project changes USE_TZ.
    """

    def deconstruct(self) -> tuple[str, str, Sequence[Any], dict[str, Any]]:
        """Be a DateTimeField in migrations, as the column is."""
        name, _, args, keywords = super().deconstruct()
        return name, "django.db.models.DateTimeField", args, keywords

    def get_prep_value(self, value: Any) -> Any:
        """Return an aware moment. A naive one, as Django's admin filters by without USE_TZ, is local."""
        moment = super().get_prep_value(value)
        is_naive = moment is not None and timezone.is_naive(moment)
        return timezone.make_aware(moment, timezone.get_default_timezone()) if is_naive else moment

    def get_db_prep_value(self, value: Any, connection: BaseDatabaseWrapper, prepared: bool = False) -> Any:
        """Return what the driver takes: without USE_TZ Django refuses aware moments where columns have no time zone."""
        moment = value if prepared else self.get_prep_value(value)
        if moment is not None and not settings.USE_TZ and not connection.features.supports_timezones:
            moment = moment.astimezone(UTC).replace(tzinfo=None)
        return super().get_db_prep_value(moment, connection, prepared=True)

    def from_db_value(
        self, value: datetime | None, expression: models.Expression, connection: BaseDatabaseWrapper
    ) -> datetime | None:
        """Return an aware moment."""
        if value is None or settings.USE_TZ:
            return value
        local = timezone.get_default_timezone()
        # Where columns have a time zone, Django has made it local.
        known = timezone.make_aware(value, local if connection.features.supports_timezones else UTC)
        # With its offset alone: two moments of one zone compare by the clock, which autumn sets back.
        return known.astimezone(fixed(known.astimezone(local).utcoffset() or timedelta()))


def moment_of(seconds: float) -> datetime:
    """Return the moment given in Unix seconds."""
    return datetime.fromtimestamp(seconds, UTC)
