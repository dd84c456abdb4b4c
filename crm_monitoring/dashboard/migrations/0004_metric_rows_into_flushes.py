from __future__ import annotations

from typing import Any
from uuid import uuid4

from django.apps.registry import Apps
from django.db import migrations, transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from crm_monitoring.dashboard.metrics.counters import of_numbers
from crm_monitoring.dashboard.metrics.sketch import Sketch
from crm_monitoring.dashboard.metrics.sums import Key, Names

NUMBERS = (
    "count",
    "redirected",
    "rejected",
    "failed",
    "slow",
    "satisfied",
    "tolerating",
    "duration_ms",
    "slowest_ms",
)


def move(apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    """
    Make flushes of the metric rows, which are rolled up as any others.

    Each slot in a transaction of its own: where this is interrupted, it goes on.
    """
    alias = editor.connection.alias
    rows, flushes = (_model(apps, name).objects.using(alias) for name in ("MetricRow", "Flush"))
    for started, environment in rows.order_by().values_list("started", "environment").distinct():
        of_slot, names = rows.filter(started=started, environment=environment), Names()
        for kind, name, release, sketch, *numbers in of_slot.values_list("kind", "name", "release", "sketch", *NUMBERS):
            _add(names, Key(kind, name, release if kind == "error" else ""), numbers, bytes(sketch))
        with transaction.atomic(using=alias):
            flushes.create(id=uuid4(), started=started // 60 * 60, environment=environment, body=names.to_bytes())
            of_slot.delete()


def _model(apps: Apps, name: str) -> Any:
    return apps.get_model("crm_monitoring_dashboard", name)


def _add(names: Names, key: Key, numbers: list[Any], sketch: bytes) -> None:
    # The sketches of metric rows did not say their format, which was the first.
    names.of(key).add(of_numbers(numbers, Sketch.from_bytes(sketch and b"\1" + sketch)))


class Migration(migrations.Migration):
    dependencies = [("crm_monitoring_dashboard", "0003_flushes_and_rollups")]

    operations = [
        migrations.RunPython(move, migrations.RunPython.noop),
        migrations.DeleteModel(name="Digest"),
        migrations.DeleteModel(name="MetricRow"),
    ]
