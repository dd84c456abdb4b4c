"""Cards of a project's own on the overview."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from crm_monitoring import faults
from crm_monitoring.dashboard.extending import Card, Figures
from tests.dashboard.bodies import keep

pytestmark = pytest.mark.django_db


@pytest.fixture
def root(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("root"))
    keep({"message": "Without an issue the page says how to begin"})
    return client


def queue(figures: Figures) -> Card:
    """A card that a project would make."""
    return Card(key="queue", label="Jobs that wait", value="12", about=f"Of the last {figures.window.key}.")


def failing(figures: Figures) -> Card:
    raise ValueError("hunter2")


def other(figures: Figures) -> str:
    return "no card"


def test_a_card_of_a_projects_own_stands_behind_ours(root: Client, monitoring: Any) -> None:
    monitoring(CARDS=[f"{__name__}.queue"])

    page = root.get("/monitoring/").text

    assert "Jobs that wait" in page
    assert "Of the last 24h." in page
    assert page.index("Jobs that wait") > page.index("Slow transactions")


@pytest.mark.parametrize("path", [f"{__name__}.failing", f"{__name__}.other", "tests.nowhere.card", "card"])
def test_a_card_that_fails_costs_itself_only(
    root: Client, monitoring: Any, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "reraise", False)
    monitoring(CARDS=[path, f"{__name__}.queue"])

    page = root.get("/monitoring/").text

    assert "Jobs that wait" in page
    assert "hunter2" not in page
    assert faults.sentences()[0].startswith(f"The card {path} failed 1 time")
