"""Databases that cannot be written: the user notices nothing, nothing is lost, and it is told."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.db import Error, connections

from crm_monitoring import capture_message, faults
from crm_monitoring.dashboard import flushing
from crm_monitoring.dashboard.inbox import receiver, waiting
from crm_monitoring.dashboard.models import Issue
from crm_monitoring.health import problems
from tests.clients import WSGIClient


class File:
    """A SQLite file as the dashboard's database, in whatever state."""

    alias = "inbox"

    def __init__(self, path: Path, monitoring: Any) -> None:
        self.path = path
        self._monitoring = monitoring

    def use(self, **options: Any) -> None:
        self.drop()
        connections.settings[self.alias] = {
            **connections.settings["default"],
            "NAME": f"file:{self.path}{options.pop('query', '')}",
            "OPTIONS": {"uri": True, "timeout": 0.05, **options},
        }
        self._monitoring(DASHBOARD_DATABASE=self.alias)

    def migrate(self) -> None:
        self.path.parent.mkdir(exist_ok=True)
        with connections[self.alias].schema_editor() as editor:
            for model in apps.get_app_config("crm_monitoring_dashboard").get_models():
                editor.create_model(model)

    def titles(self) -> list[str]:
        return list(Issue.objects.using(self.alias).values_list("title", flat=True))

    def drop(self) -> None:
        if self.alias in connections.settings:
            connections[self.alias].close()
            del connections[self.alias]
            del connections.settings[self.alias]


@pytest.fixture
def file(tmp_path: Path, settings: Any, monitoring: Any, django_db_blocker: Any) -> Iterator[File]:
    settings.ROOT_URLCONF = "tests.urls"
    file = File(tmp_path / "dashboard" / "db.sqlite3", monitoring)
    with django_db_blocker.unblock():
        yield file
        file.drop()


def _is_down(file: File) -> Callable[[], None]:
    file.use()
    return file.migrate


def _is_not_migrated(file: File) -> Callable[[], None]:
    file.path.parent.mkdir()
    file.use()
    return file.migrate


def _is_locked(file: File) -> Callable[[], None]:
    file.use()
    file.migrate()
    other = sqlite3.connect(file.path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    return other.close


def _is_read_only(file: File) -> Callable[[], None]:
    file.use()
    file.migrate()
    file.use(query="?mode=ro")
    return file.use


@pytest.mark.parametrize("break_it", [_is_down, _is_not_migrated, _is_locked, _is_read_only])
def test_a_database_that_cannot_be_written_costs_the_user_nothing_and_gets_all_once_it_can(
    server: WSGIClient, file: File, break_it: Callable[[File], Callable[[], None]]
) -> None:
    mend = break_it(file)

    assert server.get("/fails/").status == 500
    capture_message("import_failed")
    for _ in range(3):
        with pytest.raises(Error):
            receiver.write()
        connections[file.alias].close()
    assert receiver.counts()["waiting"] == 2
    mend()
    receiver.write()

    assert sorted(file.titles()) == ["ValueError: boom", "import_failed"]
    assert receiver.counts()["waiting"] == 0
    assert waiting.FULL not in faults.losses()


@pytest.mark.parametrize(
    ("break_it", "problem"),
    [
        (_is_down, "The dashboard's database cannot be written: OperationalError."),
        (_is_not_migrated, "The dashboard's tables are missing: run manage.py migrate --database=inbox."),
        (_is_locked, "The dashboard's database cannot be written: OperationalError."),
    ],
)
def test_the_trouble_is_told_as_long_as_it_lasts(
    file: File, break_it: Callable[[File], Callable[[], None]], problem: str
) -> None:
    mend = break_it(file)
    capture_message("import_failed")

    assert not flushing.flush()
    assert any(told.startswith(problem) for told in problems())
    mend()
    assert flushing.flush()
    assert not any(told.startswith(problem) for told in problems())


def test_an_outage_that_lasts_costs_no_more_than_the_bound(file: File, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver.events, "limit", 5)
    _is_down(file)

    for number in range(20):
        capture_message(f"failure {'abcdefghijklmnopqrst'[number]}")
        flushing.flush()

    assert receiver.counts()["waiting"] == 5
    assert faults.losses()[waiting.FULL] == 15


def test_two_flushes_at_once_count_each_event_once(file: File, monitoring: Any) -> None:
    file.use(timeout=10)
    file.migrate()
    monitoring(DASHBOARD_DATABASE=file.alias, EVENTS_BURST=100)
    for number in range(20):
        capture_message(f"row {number} failed")
    start = threading.Barrier(4)

    def flush() -> None:
        start.wait()
        receiver.write()
        connections[file.alias].close()

    threads = [threading.Thread(target=flush) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert Issue.objects.using(file.alias).get().count == 20
    assert receiver.counts()["waiting"] == 0
