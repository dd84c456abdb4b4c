"""Who a request acts for: known without a query, and never by a name that tells of a person."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from django.http import HttpRequest

from crm_monitoring.requests.user import evaluated_user_id


def user_id(pk: Any) -> str | None:
    request = HttpRequest()
    request.user = SimpleNamespace(is_authenticated=True, pk=pk)  # type: ignore[assignment]
    return evaluated_user_id(request)


@pytest.mark.parametrize("pk", [7, 33612345678, "7", "ada", "customer-7", UUID(int=7), "12345678"], ids=repr)
def test_a_key_that_tells_of_nobody_stays(pk: Any) -> None:
    assert user_id(pk) == str(pk)


@pytest.mark.parametrize(
    "pk",
    [
        "ada@example.org",
        "ADA@EXAMPLE.ORG",
        "+33612345678",
        "0612345678",
        "+33 6 12 34 56 78",
        "06.12.34.56.78",
        "org:ada@example.org",
    ],
)
def test_a_key_that_is_an_address_or_a_number_of_a_person_is_hashed(pk: str) -> None:
    hashed = user_id(pk)

    assert hashed is not None
    assert re.fullmatch("[0-9a-f]{32}", hashed)
    assert hashed == user_id(pk)
    assert hashed != user_id(f"{pk}1" if pk[0] != "+" else "+33612345679")


def test_the_hash_is_the_projects_own(settings: Any) -> None:
    ours = user_id("grace@example.org")
    settings.SECRET_KEY = "another"

    assert user_id("grace@example.org") != ours
