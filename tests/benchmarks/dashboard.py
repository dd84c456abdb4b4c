"""How long the dashboard takes to read its figures from a million rows: `python -m tests.benchmarks.dashboard --help`."""

from __future__ import annotations

import argparse
import os
import random
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from statistics import median
from time import perf_counter, time
from typing import Any
from uuid import UUID

import django
from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test.utils import CaptureQueriesContext, override_settings

ENDPOINTS = 200
ENVIRONMENTS = ("production", "staging")
USERS = 300
HOUR, DAY = 3_600, 86_400
MONTH = 30 * DAY
RUNS = 5
BATCH = 5_000
# Width of rows and the age up to which there are such: as compaction leaves them.
WIDTHS = ((60, 2 * HOUR), (900, 48 * HOUR), (3_600, MONTH))
COLUMNS = (
    "batch, position, kind, started, seconds, environment, release, name, count, redirected, rejected, failed, slow, "
    "satisfied, tolerating, duration_ms, slowest_ms, sketch"
)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.dashboard", description=__doc__)
    parser.add_argument("--database", choices=("sqlite", "postgresql", "mariadb"), default="sqlite")
    parser.add_argument("--rows", type=int, default=1_000_000)
    return parser.parse_args(arguments)


def main() -> None:
    options = parse()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    from tests.dashboard.databases import ALIAS, created, installed, reason_to_skip

    if reason := reason_to_skip(options.database):
        sys.exit(reason)
    setting = {"DASHBOARD_DATABASE": ALIAS, "LOG_LEVEL": "ERROR"}
    with (
        override_settings(CRM_MONITORING=setting),
        created(options.database, f"crm_monitoring_benchmark_{os.getpid()}") as database,
        installed(database) as connection,
    ):
        measure(connection, options.rows)


def measure(connection: BaseDatabaseWrapper, rows: int) -> None:
    from crm_monitoring.dashboard.store import digests
    from crm_monitoring.dashboard.store.figures import WINDOWS, read

    random.seed(1)
    timed(f"{rows} rows written", lambda: write(connection, rows, int(time())))
    timed("digests made", lambda: list(digests.update()))
    timed("digests made again, of nothing new", lambda: list(digests.update()))
    tidy(connection)
    print(f"\n{'window':24}{'queries':>8}{'requests':>10}{'min':>10}{'median':>10}{'max ms':>10}")
    for window in WINDOWS.values():
        for environment in ("", ENVIRONMENTS[0]):
            taken = []
            for _ in range(RUNS):
                start = perf_counter()
                figures = read(window, environment)
                taken.append((perf_counter() - start) * 1000)
            with CaptureQueriesContext(connection) as queries:
                read(window, environment)
            print(
                f"{f'{window.key} {environment}':24}{len(queries):8}{figures.requests.now:10}"
                f"{min(taken):10.0f}{median(taken):10.0f}{max(taken):10.0f}"
            )


def timed(what: str, action: Any) -> None:
    start = perf_counter()
    action()
    print(f"{what}: {perf_counter() - start:.1f} s", flush=True)


# -- rows -----------------------------------------------------------------------------------------------------------------


def write(connection: BaseDatabaseWrapper, number: int, now: int) -> None:
    from crm_monitoring.dashboard.models import Visit

    rows = islice(known(now), number)
    insert = copy if connection.vendor == "postgresql" else insert_many
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        insert(cursor, rows)
        Visit.objects.using(connection.alias).bulk_create(visits(now), batch_size=1_000)


def known(now: int) -> Iterator[tuple[Any, ...]]:
    """Rows as compaction leaves them, then ever more of single flushes, spread over a month."""
    pools = {seconds: pool(seconds) for seconds, _ in WIDTHS}
    for made, (started, seconds, name, environment) in enumerate(slots(now)):
        batch, position = UUID(int=made // 1_000), made % 1_000
        counters = random.choice(pools[seconds])
        yield batch, position, "request", started, seconds, environment, "1.4.2", name, *counters


def slots(now: int) -> Iterator[tuple[int, int, str, str]]:
    names = [f"GET resources{number}/{{pk}}/" for number in range(ENDPOINTS)]
    younger = now
    for seconds, age in WIDTHS:
        oldest = (now - age) // HOUR * HOUR
        for started in range(oldest, younger, seconds):
            for environment in ENVIRONMENTS:
                yield from ((started, seconds, name, environment) for name in names)
        younger = oldest
    while True:
        started = (now - random.randrange(MONTH)) // 60 * 60
        yield started, 60, random.choice(names), random.choice(ENVIRONMENTS)


def pool(seconds: int) -> list[tuple[Any, ...]]:
    """Return counters and sketches to choose from: durations are log-normal, some endpoints are busier than others."""
    return [counters(max(1, round(random.paretovariate(1.2) * seconds / 60))) for _ in range(300)]


def counters(count: int) -> tuple[Any, ...]:
    from crm_monitoring.dashboard.metrics.sketch import Sketch

    durations, sketch = [random.lognormvariate(4.5, 0.8) for _ in range(min(count, 5_000))], Sketch()
    for duration in durations:
        sketch.add(duration)
    count = len(durations)
    slow = sum(duration > 1000 for duration in durations)
    satisfied = sum(duration <= 500 for duration in durations)
    sums = (count, count // 20, count // 15, count // 100, slow, satisfied, count - satisfied)
    return *sums, sum(durations), max(durations), sketch.to_bytes()


def visits(now: int) -> Iterator[Any]:
    """Visits: office hours in five minutes for two days, days beyond."""
    from crm_monitoring.dashboard.models import Visit

    for user in range(USERS):
        slots = range((now - 2 * DAY) // 300 * 300, now, 300)
        days = range((now - MONTH) // DAY * DAY, now - 3 * DAY, DAY)
        for started in [*[slot for slot in slots if random.random() < 0.3], *days]:
            yield Visit(started=started, environment="production", user=f"{user:032x}")


# -- databases ------------------------------------------------------------------------------------------------------------


def insert_many(cursor: Any, rows: Iterator[tuple[Any, ...]]) -> None:
    # RELEASE is a word of MariaDB's SQL.
    columns = ", ".join(cursor.db.ops.quote_name(column) for column in COLUMNS.split(", "))
    values = ", ".join(["%s"] * len(COLUMNS.split(", ")))
    statement = f"INSERT INTO crm_monitoring_dashboard_metricrow ({columns}) VALUES ({values})"
    while batch := list(islice(rows, BATCH)):
        cursor.executemany(statement, [(first.hex, *others) for first, *others in batch])


def copy(cursor: Any, rows: Iterator[tuple[Any, ...]]) -> None:
    with cursor.copy(f"COPY crm_monitoring_dashboard_metricrow ({COLUMNS}) FROM STDIN") as copying:
        for row in rows:
            copying.write_row(row)


def tidy(connection: BaseDatabaseWrapper) -> None:
    """Do what a database does by and by."""
    statement = {"postgresql": "VACUUM ANALYZE", "sqlite": "ANALYZE"}.get(connection.vendor)
    if statement:
        with connection.cursor() as cursor:
            cursor.execute(statement)


if __name__ == "__main__":
    main()
