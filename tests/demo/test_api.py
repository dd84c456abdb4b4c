from __future__ import annotations

import json

import pytest
from asgiref.sync import async_to_sync
from django.test import AsyncClient, Client

from demo_project.organisations.models import Organisation

LIST = "/api/v1/organisations"


@pytest.fixture(params=[LIST, f"{LIST}/async"])
def fetch(request, client):
    """The list and its async twin must answer the same."""

    def get(query: str = "") -> dict:
        return client.get(request.param + query).json()

    return get


def post_json(client: Client, data: object):
    return client.post(LIST, json.dumps(data), content_type="application/json")


def test_list_is_empty_without_organisations(fetch):
    assert fetch() == {"count": 0, "page": 1, "pages": 1, "results": []}


def test_list_is_cut_into_pages(fetch, organisations):
    page = fetch("?page=3")

    assert (page["count"], page["page"], page["pages"]) == (45, 3, 3)
    assert [found["name"] for found in page["results"]] == [f"Fondation {number}" for number in range(40, 45)]


@pytest.mark.parametrize(("asked", "given"), [("0", 3), ("99", 3), ("x", 1), ("", 1)])
def test_a_page_that_is_not_there_gives_the_nearest_one(fetch, organisations, asked, given):
    assert fetch(f"?page={asked}")["page"] == given


@pytest.mark.parametrize("query", ["alvér", "cgp", "LYON", " Lyon "])
def test_search_looks_at_name_category_and_city(fetch, organisations, organisation, query):
    assert [found["id"] for found in fetch(f"?q={query}")["results"]] == [organisation.pk]


def test_async_list_is_served_by_an_event_loop(organisation):
    response = async_to_sync(AsyncClient().get)(f"{LIST}/async")

    assert response.json()["count"] == 1


def test_detail_gives_one_organisation(client, organisation):
    response = client.get(f"{LIST}/{organisation.pk}")

    assert response.json() == organisation.as_dict()


@pytest.mark.parametrize("path", [f"{LIST}/1", f"{LIST}/99999999999999999999", "/api/v1/nothing/here"])
def test_what_is_not_there_is_said_in_json(client, path):
    response = client.get(path)

    assert response.status_code == 404
    assert "detail" in response.json()


def test_create_saves_and_gives_the_organisation(member):
    response = post_json(member, {"name": "Groupe Kermorel", "category": "Corporate", "city": "Rennes"})

    assert response.status_code == 201
    assert response.json() == Organisation.objects.get().as_dict()


def test_create_says_what_is_wrong_with_each_field(member, organisation):
    response = post_json(member, {"name": organisation.name, "category": "Nobody", "email": "no address"})

    assert response.status_code == 400
    assert set(response.json()["errors"]) == {"name", "category", "city", "email"}
    assert Organisation.objects.count() == 1


@pytest.mark.parametrize("body", ['{"name": ', "", "[]", "null", '{"name": ["a", "b"]}', b"\xff"])
def test_create_refuses_a_body_it_cannot_read(member, body):
    response = member.post(LIST, body, content_type="application/json")

    assert response.status_code == 400
    assert "JSON" in response.json()["detail"]


@pytest.mark.parametrize("path", [LIST, f"{LIST}/import"])
def test_a_stranger_cannot_write(client, path):
    assert client.post(path).status_code == 401


def test_csrf_protection_is_on_and_answers_in_json(user):
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(user)

    response = post_json(browser, {})

    assert response.status_code == 403
    assert "CSRF" in response.json()["detail"]


def test_me_tells_who_is_logged_in(member, user):
    assert member.get("/api/v1/me").json() == {"id": user.pk, "username": "camille", "email": "camille@crm.example"}


def test_me_asks_a_stranger_to_log_in(client):
    response = client.get("/api/v1/me")

    assert response.status_code == 401
    assert response.json() == {"detail": "Log in first."}


def test_kpis_count_recent_interactions(client, organisations):
    kpis = client.get("/api/v1/kpis").json()

    assert kpis["organisations"] == 45
    assert kpis["interactions"] == {"calls": 45, "emails": 0, "meetings": 45}
    assert kpis["by_category"]["Foundation"] == 45
    assert kpis["most_active"][0]["interactions"] == 2


def test_kpis_keep_their_n_plus_1(client, organisations, django_assert_num_queries):
    with django_assert_num_queries(1 + 4 * len(organisations)):
        client.get("/api/v1/kpis")


def test_export_streams_every_organisation_as_csv(member, organisations):
    export = member.get(f"{LIST}/export").getvalue()

    assert export.decode().splitlines()[:2] == ["name,category,city,email", "Fondation 00,Foundation,Nantes,"]
    assert len(export.splitlines()) == 1 + len(organisations)


def test_a_crash_is_answered_in_json():
    response = Client(raise_request_exception=False).get("/api/v1/broken")

    assert response.status_code == 500
    assert "detail" in response.json()
