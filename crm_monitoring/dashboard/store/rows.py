"""Writes what one flush has to say of metrics and visits, once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from crm_monitoring.dashboard.models import MetricRow, Visit
from crm_monitoring.dashboard.store import transaction

COMPACTED_AFTER_S = 600
"""Rows of younger buckets are left as they were written, so that those of a batch that is written again are recognised."""

_MARGIN_S = 60


@dataclass(slots=True, repr=False, eq=False)
class Batch:
    """
    Rows that are written together. It keeps its id when it is written again, so its rows are there once.

    Attributes:
        in_doubt: Its transaction was about to be committed; nobody knows whether it was.
    """

    rows: Sequence[MetricRow]
    visits: Sequence[Visit] = ()
    id: UUID = field(default_factory=uuid4)
    in_doubt: bool = False

    def __post_init__(self) -> None:
        for position, row in enumerate(self.rows):
            row.batch, row.position = self.id, position

    @property
    def count(self) -> int:
        """How much was counted in all rows together."""
        return sum(row.count for row in self.rows)

    def is_too_late(self, now: float) -> bool:
        """Whether the rows may have been written and compacted since: nobody could tell them from new ones."""
        youngest = now - COMPACTED_AFTER_S + _MARGIN_S
        return self.in_doubt and any(row.started < youngest for row in self.rows)


def write(batch: Batch) -> None:
    """
    Add the rows and visits of `batch`, in one transaction. What was written before is left as it is.

    Raises:
        django.db.Error: if the database cannot take them; `batch` can be written again.
    """
    with transaction() as alias:
        MetricRow.objects.using(alias).bulk_create(batch.rows, ignore_conflicts=True)
        Visit.objects.using(alias).bulk_create(batch.visits, ignore_conflicts=True)
        batch.in_doubt = True
