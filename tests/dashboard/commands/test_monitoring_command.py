from __future__ import annotations

from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from crm_monitoring import faults
from crm_monitoring.dashboard import config
from crm_monitoring.dashboard.models import Event


@pytest.fixture
def inbox(a_sqlite: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The inbox of a process that is no test: there what is held is written when a command ends."""
    monkeypatch.setattr(config, "is_test_run", lambda: False)
    monkeypatch.setattr(faults, "reraise", False)
    return a_sqlite


def test_test_sees_both_arrive_in_the_inbox(inbox: str, capsys: Any) -> None:
    call_command("monitoring", "test")

    assert capsys.readouterr().out.endswith("Both arrived in the inbox.\n")
    assert Event.objects.using(inbox).count() == 2


def test_test_says_why_they_did_not_arrive(inbox: str) -> None:
    table = Event._meta.db_table
    with connections[inbox].cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO away")
    try:
        with pytest.raises(CommandError, match="They did not arrive in the inbox. The dashboard's tables are missing"):
            call_command("monitoring", "test")
    finally:
        with connections[inbox].cursor() as cursor:
            cursor.execute(f"ALTER TABLE away RENAME TO {table}")
