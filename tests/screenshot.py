"""
Make the picture of the README and of docs/dashboard.md: `python -m tests.screenshot [file] [--dark] [--phone]`.

Needs the extra `browser` and a chromium. Invented traffic of two days goes into a temporary database; the demo shows it.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.dashboard.traffic import Counted

PICTURE = Path(__file__).parents[1] / "docs" / "dashboard.png"
DESK = {"viewport": {"width": 1280, "height": 900}}
PHONE = {"viewport": {"width": 360, "height": 780}, "device_scale_factor": 2}

DAY = 86_400
STEP = 900
ENDPOINTS = {
    # Requests an hour at the busiest, median in milliseconds, share that fails.
    "GET organisations/": (940, 96, 0.0002),
    "GET organisations/{pk}/": (620, 68, 0.0),
    "GET api/v1/organisations": (410, 41, 0.0),
    "GET api/v1/organisations/{pk}": (340, 26, 0.0),
    "GET /": (260, 21, 0.0),
    "POST organisations/new/": (110, 170, 0.003),
    "GET kpis/": (90, 690, 0.0),
    "GET api/v1/organisations/export": (34, 520, 0.0),
    "POST organisations/import/": (22, 840, 0.004),
}
OPERATIONS = {"import_organisations": (9, 740, 0.02), "compute_kpis": (38, 590, 0.0), "send_welcome": (46, 120, 0.004)}
ISSUES = (
    (
        "IntegrityError: UNIQUE constraint failed: organisations_organisation.name",
        "error",
        "services in create",
        0.3,
        6,
    ),
    ("ValidationError: line 48 has 7 columns instead of 6", "error", "importer in rows", 1.1, 4),
    ("TimeoutError: the register of companies did not answer", "error", "services in look_up", 2.4, 9),
    ("payment_refused", "warning", "", 5.2, 31),
)
INCIDENT_HOURS = 2.4


def main() -> None:
    """Read the command line, invent the traffic, and take the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, default=PICTURE)
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--phone", action="store_true")
    parser.add_argument("--whole", action="store_true", help="the page down to its end")
    parser.add_argument("--path", default="/monitoring/")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        database = str(Path(directory) / "demo.sqlite3")
        session = prepare(database)
        take(options, database, session)


def prepare(database: str) -> str:
    """Fill the database, and return the session of somebody who may see it."""
    import django
    from django.core.management import call_command

    os.environ.update(DJANGO_SETTINGS_MODULE="demo_project.settings", DEMO_DATABASE=database, ENVIRONMENT="production")
    django.setup()
    from django.contrib.auth.models import User
    from django.test import Client

    call_command("migrate", verbosity=0)
    fill()
    client = Client()
    client.force_login(User.objects.create_superuser("camille"))
    return client.cookies["sessionid"].value


def fill() -> None:
    """Write the invented traffic."""
    from crm_monitoring.dashboard.models import Deploy, Issue, Visit
    from tests.dashboard.traffic import write

    now = time.time()
    write("default", *counted(now))
    Visit.objects.bulk_create(
        Visit(started=slot, environment="production", user=f"{user:032}")
        for slot in range(int(now - DAY) // 300 * 300, int(now), 300)
        for user in random.Random(slot).sample(range(64), round(4 * busyness(slot)) + 2)
    )
    for title, level, place, hours, count in ISSUES:
        Issue.objects.create(
            fingerprint=title,
            title=title,
            level=level,
            place=place and f"demo_project.organisations.{place}",
            count=count,
            first_seen=moment(now - hours * 5_400),
            last_seen=moment(now - hours * 3_600),
        )
    for release, hours in (("1.4.1", 19.2), ("1.4.2", 6.4)):
        Deploy.objects.create(release=release, environment="production", moment=moment(now - hours * 3_600))


def counted(now: float) -> Iterator[Counted]:
    """Invent the traffic of two days, the same each time."""
    from crm_monitoring.dashboard.metrics.counters import Metric
    from tests.dashboard.traffic import errors, measured

    chance = random.Random(7)
    for started in range(int(now - 2 * DAY), int(now), STEP):
        release = "1.4.2" if now - started < 6.4 * 3_600 else "1.4.1"
        for kind, sources in ((Metric.REQUEST, ENDPOINTS), (Metric.OPERATION, OPERATIONS)):
            for name, (hourly, median, failing) in sources.items():
                count = round(hourly * STEP / 3_600 * busyness(started) * chance.uniform(0.8, 1.2))
                if not count:
                    continue
                trouble = 3.0 if abs(now - started - INCIDENT_HOURS * 3_600) < STEP else 1.0
                durations = [chance.lognormvariate(math.log(median * trouble), 0.5) for _ in range(count)]
                failed = sum(chance.random() < failing * trouble**2 for _ in range(count))
                yield measured(name, durations, at=started, kind=kind, failed=failed, release=release)
                if failed and kind == Metric.REQUEST:
                    yield errors(name, failed, at=started, release=release)


def busyness(started: float) -> float:
    """Return how busy an hour is, from 0 to 1: offices sleep at night."""
    hour = started % DAY / 3_600
    return 0.06 + 0.94 * max(0.0, math.sin((hour - 5) / 14 * math.pi)) ** 0.8 if 5 < hour < 19 else 0.06


def moment(seconds: float) -> datetime:
    """Return Unix seconds as a datetime."""
    return datetime.fromtimestamp(seconds, UTC)


def take(options: argparse.Namespace, database: str, session: str) -> None:
    """Start the demo's server, and save what a browser shows."""
    from playwright.sync_api import sync_playwright

    from tests.e2e.processes import Server, free_port

    port = free_port()
    look: dict[str, Any] = {**(PHONE if options.phone else DESK), "color_scheme": "dark" if options.dark else "light"}
    command = ("manage.py", "runserver", "--noreload", str(port))
    with (
        Server(*command, port=port, DEMO_DATABASE=database, ENVIRONMENT="production"),
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        context = browser.new_context(locale="en-GB", **look)
        context.add_cookies([{"name": "sessionid", "value": session, "url": f"http://127.0.0.1:{port}"}])
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{port}{options.path}")
        options.file.parent.mkdir(exist_ok=True)
        page.screenshot(path=options.file, full_page=options.whole)
        browser.close()


if __name__ == "__main__":
    main()
