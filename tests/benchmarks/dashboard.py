"""
What the dashboard costs with so many processes and endpoints: `python -m tests.benchmarks.dashboard --help`.

The database has a month, as production leaves it, and the last ten minutes of every process: a flush each ten seconds that touches all
endpoints. Then the page is read, rules are looked at, and for a while all processes flush as often as they would, from this one.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter, process_time, sleep, time
from typing import Any
from uuid import uuid4

import django
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test.utils import CaptureQueriesContext, override_settings

ENVIRONMENTS = ("production", "staging")
USERS = 300
HOUR, DAY = 3_600, 86_400
MONTH = 30 * DAY
MINUTES = 10
FLUSHES_A_MINUTE = 6
RUNS = 5
# Width of roll-ups, and between which ages there are such.
WIDER = {60: 900, 900: 7_200, 7_200: DAY}
WIDTHS = ((60, MINUTES * 60, 50 * HOUR), (900, 900, 8 * DAY), (7_200, 7_200, MONTH), (86_400, DAY, MONTH))


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.dashboard", description=__doc__)
    parser.add_argument("--database", choices=("sqlite", "postgresql", "mariadb"), default="sqlite")
    parser.add_argument("--processes", type=int, default=64)
    parser.add_argument("--endpoints", type=int, default=100)
    parser.add_argument("--seconds", type=int, default=30, help="How long all processes flush.")
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
        random.seed(1)
        write_a_month(connection, options.endpoints, int(time()))
        write_the_last_minutes(connection, options, int(time()))
        tidy(connection)
        measure_the_page(connection)
        measure_a_round()
        measure_flushes(options)


# -- what is measured -----------------------------------------------------------------------------------------------------


def measure_the_page(connection: BaseDatabaseWrapper) -> None:
    from crm_monitoring.dashboard.store import WINDOWS
    from crm_monitoring.dashboard.store.figures import read

    print(f"{'window':24}{'queries':>8}{'requests':>10}{'CPU ms':>10}{'median':>10}{'max ms':>10}")
    for window in WINDOWS.values():
        for environment in ("", ENVIRONMENTS[0]):
            taken = [timed(lambda: read(window, environment)) for _ in range(RUNS)]  # noqa: B023 - is called at once
            with CaptureQueriesContext(connection) as queries:
                figures = read(window, environment)
            walls = [wall for wall, _ in taken]
            print(
                f"{f'{window.key} {environment}':24}{len(queries):8}{figures.requests.now:10}"
                f"{median(cpu for _, cpu in taken):10.0f}{median(walls):10.0f}{max(walls):10.0f}",
                flush=True,
            )


def measure_a_round() -> None:
    """Look at five minutes of all endpoints, as the rule for P95 does, once what waits is rolled up."""
    from crm_monitoring.dashboard.metrics.counters import Metric
    from crm_monitoring.dashboard.store import alerts, rollups

    moved = timed(lambda: rollups.add_flushes(time()))
    taken = [timed(lambda: alerts.tallies(Metric.REQUEST, int(time()) // 60 * 60 - 300, time())) for _ in range(RUNS)]
    print(
        f"what waited rolled up: {moved[1]:.0f} ms of CPU; five minutes of rules: {median(cpu for _, cpu in taken):.0f}"
    )


def measure_flushes(options: argparse.Namespace) -> None:
    """Flush as often as all processes do; what one of them pays, and the server."""
    from crm_monitoring.dashboard.store import aside, flushes, upkeep
    from crm_monitoring.dashboard.store.flushes import Batch

    pool = [counted(options.endpoints, 4) for _ in range(20)]
    pause, before, taken = 10 / options.processes, cpu_of_servers(), []
    started = due = perf_counter()
    while perf_counter() - started < options.seconds:
        batch = Batch(ENVIRONMENTS[0], int(time()) // 60 * 60, random.choice(pool))

        def flush(batch: Batch = batch) -> None:
            with aside():
                flushes.add(batch)
                upkeep.run()

        taken.append(timed(flush))
        due += pause
        sleep(max(0.0, due - perf_counter()))
    elapsed = perf_counter() - started
    print(
        f"{len(taken)} flushes in {elapsed:.0f} s: {sum(cpu for _, cpu in taken) / len(taken):.1f} ms of CPU each, "
        f"{median(wall for wall, _ in taken):.1f} ms in the median, {max(wall for wall, _ in taken):.0f} at most; "
        f"the server {100 * (cpu_of_servers() - before) / elapsed:.2f} % of a core"
    )


def timed(action: Callable[[], Any]) -> tuple[float, float]:
    """Return the milliseconds that it takes, and those of CPU."""
    wall, cpu = perf_counter(), process_time()
    action()
    return (perf_counter() - wall) * 1000, (process_time() - cpu) * 1000


def cpu_of_servers() -> float:
    """Return the seconds of CPU that all servers on this machine have taken, of those that run."""
    ticks = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            name, _, rest = (process / "stat").read_text().rpartition(")")
        except OSError:
            continue
        if name.partition("(")[2] in ("postgres", "mariadbd", "mysqld"):
            ticks += sum(map(int, rest.split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


# -- what there is --------------------------------------------------------------------------------------------------------


def write_a_month(connection: BaseDatabaseWrapper, endpoints: int, now: int) -> None:
    from crm_monitoring.dashboard.models import RollUp, Visit

    def rows() -> Iterator[RollUp]:
        for seconds, youngest, oldest in WIDTHS:
            pool = [counted(endpoints, min(seconds // 20, 200)) for _ in range(3)]
            stored = [(names.to_bytes(), names.totals().to_bytes()) for names in pool]
            for started in range((now - oldest) // seconds * seconds, now - youngest - seconds, seconds):
                for environment in ENVIRONMENTS:
                    body, totals = random.choice(stored)
                    yield RollUp(
                        seconds=seconds,
                        started=started,
                        environment=environment,
                        body=body,
                        totals=totals,
                        rolled=seconds < DAY and started // WIDER[seconds] < (now - 120) // WIDER[seconds],
                    )

    RollUp.objects.using(connection.alias).bulk_create(rows(), batch_size=500)
    Visit.objects.using(connection.alias).bulk_create(visits(now), batch_size=1_000)


def write_the_last_minutes(connection: BaseDatabaseWrapper, options: argparse.Namespace, now: int) -> None:
    """Write the flushes of all processes, rolled up but for the last five seconds."""
    from crm_monitoring.dashboard.models import Flush
    from crm_monitoring.dashboard.store import rollups

    bodies = [counted(options.endpoints, 4).to_bytes() for _ in range(20)]

    def flushes(minute: int, number: int) -> None:
        Flush.objects.using(connection.alias).bulk_create(
            (
                Flush(id=uuid4(), started=minute, environment=ENVIRONMENTS[0], body=random.choice(bodies))
                for _ in range(number)
            ),
            batch_size=500,
        )

    started = process_time()
    for minute in range(now // 60 * 60 - 60 * MINUTES, now // 60 * 60 + 60, 60):
        flushes(minute, options.processes * FLUSHES_A_MINUTE)
        while rollups.add_flushes(now):
            pass
    rolled = options.processes * FLUSHES_A_MINUTE * (MINUTES + 1)
    print(f"{1000 * (process_time() - started) / rolled:.2f} ms of CPU to roll up a flush, with writing it")
    flushes(now // 60 * 60, options.processes // 2)


def counted(endpoints: int, most: int) -> Any:
    """Count requests of every endpoint: durations are log-normal, some endpoints are busier than others."""
    from crm_monitoring.dashboard.metrics.sums import Key, Names

    names = Names()
    for number in range(endpoints):
        counters = names.of(Key("request", f"GET resources{number}/{{pk}}/"))
        for _ in range(min(most, max(1, round(random.paretovariate(1.2) * most / 4)))):
            duration = random.lognormvariate(4.5, 0.8)
            counters.time(duration)
            counters.judge(200 if random.random() < 0.99 else 500, duration, 500.0)
    return names


def visits(now: int) -> Iterator[Any]:
    """Visits: office hours in five minutes for two days, days beyond."""
    from crm_monitoring.dashboard.models import Visit

    for user in range(USERS):
        slots = range((now - 2 * DAY) // 300 * 300, now, 300)
        days = range((now - MONTH) // DAY * DAY, now - 3 * DAY, DAY)
        for started in [*[slot for slot in slots if random.random() < 0.3], *days]:
            yield Visit(started=started, environment="production", user=f"{user:032x}")


def tidy(connection: BaseDatabaseWrapper) -> None:
    """Do what a database does by and by."""
    statement = {"postgresql": "VACUUM ANALYZE", "sqlite": "ANALYZE"}.get(connection.vendor)
    if statement:
        with connection.cursor() as cursor:
            cursor.execute(statement)


if __name__ == "__main__":
    main()
