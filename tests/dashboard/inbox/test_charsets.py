"""What a column's character set does not have costs no event, and holds up none behind it."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.db import connections

from crm_monitoring import capture_message, faults
from crm_monitoring.dashboard import flushing
from crm_monitoring.dashboard.inbox import receiver
from crm_monitoring.dashboard.models import Issue, SlowTransaction
from crm_monitoring.dashboard.store.issue_writer import Slow
from tests.dashboard.databases import ALIAS, installed, reason_to_skip


@pytest.fixture(params=[pytest.param("mariadb", marks=pytest.mark.databases)])
def an_old_charset(request: pytest.FixtureRequest, monitoring: Any, django_db_blocker: Any) -> Any:
    """A database whose tables know three bytes of UTF-8 at most."""
    if reason := reason_to_skip(request.param):
        pytest.skip(reason)
    settings = request.getfixturevalue("databases_of_vendors")[request.param]
    tables = [Issue._meta.db_table, "crm_monitoring_dashboard_sighting", "crm_monitoring_dashboard_event"]
    with django_db_blocker.unblock(), installed(settings) as connection:
        monitoring(DASHBOARD_DATABASE=ALIAS)
        for charset in ("utf8mb3", "utf8mb4"):
            with connection.cursor() as cursor:
                cursor.execute("SET foreign_key_checks = 0")
                for table in tables:
                    cursor.execute(f"ALTER TABLE {table} CONVERT TO CHARACTER SET {charset}")
            if charset == "utf8mb3":
                yield ALIAS
                connections[ALIAS].close()
                for table in reversed(tables):
                    with connections[ALIAS].cursor() as cursor:
                        cursor.execute(f"DELETE FROM {table}")


def test_an_emoji_in_a_title_is_written_as_a_question_mark(an_old_charset: str) -> None:
    capture_message("payment \U0001f4a5 failed")
    capture_message("import_failed")

    assert flushing.flush(10)

    titles = set(Issue.objects.using(an_old_charset).values_list("title", flat=True))
    assert titles == {"payment ? failed", "import_failed"}
    assert (receiver.counts()["waiting"], faults.losses()) == (0, {})


def test_all_texts_but_the_body_are_made_safe() -> None:
    slow = Slow(
        event_id=uuid4().hex,
        moment=0.0,
        environment="caf\xe9",
        release="\u2713",
        endpoint="GET \U0001f4a5/",
        body=b"\xf0\x9f\x92\xa5",
        duration_ms=1.0,
    )

    safe = slow.in_any_charset()

    assert (safe.environment, safe.release, safe.endpoint, safe.body) == ("caf\xe9", "?", "GET ?/", slow.body)
    assert SlowTransaction._meta.get_field("body").get_internal_type() == "BinaryField"
