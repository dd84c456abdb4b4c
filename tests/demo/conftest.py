from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from demo_project.organisations.models import Category, Interaction, Organisation


@pytest.fixture(autouse=True)
def database(db):
    """Every test of the demo may use the database."""


@pytest.fixture
def user() -> User:
    return User.objects.create_user("camille", "camille@crm.example")


@pytest.fixture
def member(user) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def organisation() -> Organisation:
    return Organisation.objects.create(name="Cabinet Alvérane", category=Category.ADVISER, city="Lyon")


@pytest.fixture
def organisations() -> list[Organisation]:
    """Forty-five organisations, 20 to a page, each with two interactions of this week."""
    found = Organisation.objects.bulk_create(
        Organisation(name=f"Fondation {number:02}", category=Category.FOUNDATION, city="Nantes") for number in range(45)
    )
    yesterday = timezone.localdate() - timedelta(days=1)
    Interaction.objects.bulk_create(
        Interaction(organisation=organisation, kind=kind, contact="Inès Delmas", happened_on=yesterday)
        for organisation in found
        for kind in (Interaction.Kind.CALL, Interaction.Kind.MEETING)
    )
    return found
