from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client

from demo_project.organisations.models import Organisation
from demo_project.organisations.seed import create_organisations, create_users


def text(response) -> str:
    return response.content.decode()


def test_home_links_everything(client):
    page = text(client.get("/"))

    for path in (
        *("/organisations/", "/organisations/new/", "/organisations/import/", "/kpis/", "/login/"),
        "/monitoring/",
        *("/health/monitoring", "/health/live", "/health/ready", "/test-sentry"),
        *("/api/v1/organisations", "/api/v1/organisations/async", "/api/v1/me", "/api/v1/kpis"),
        *("/break/error/", "/break/handled/", "/break/slow/", "/break/missing/", "/break/message/", "/break/stream/"),
    ):
        assert f'href="{path}"' in page


@pytest.mark.parametrize("path", ["/", "/organisations/", "/kpis/", "/login/", "/health/live", "/health/ready"])
def test_page_is_there_for_everybody(client, path):
    assert client.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/", "/organisations/", "/api/v1/organisations", "/api/v1/organisations/async"])
def test_page_answers_to_head(client, path):
    assert client.head(path).status_code == 200


def test_home_speaks_french(client):
    page = text(client.get("/", headers={"accept-language": "fr"}))

    assert '<html lang="fr">' in page
    assert "Casser quelque chose exprès" in page


def test_pages_ask_nothing_of_other_hosts(client, organisation):
    for path in ("/", "/organisations/", "/kpis/", "/login/"):
        page = text(client.get(path))
        assert "http://" not in page
        assert "https://" not in page


def test_list_says_when_there_is_nothing_yet(client):
    assert "There is no organisation yet." in text(client.get("/organisations/"))


def test_list_says_when_nothing_matches_and_escapes_the_query(client, organisation):
    page = text(client.get("/organisations/", {"q": "<script>"}))

    assert "Nothing matches “&lt;script&gt;”." in page


def test_list_keeps_the_search_from_page_to_page(client, organisations):
    page = text(client.get("/organisations/", {"q": "nantes", "page": "2"}))

    assert "Page 2 of 3" in page
    assert 'rel="prev" href="?q=nantes&amp;page=1"' in page
    assert 'rel="next" href="?q=nantes&amp;page=3"' in page


def test_detail_shows_interactions(client, organisations):
    page = text(client.get(organisations[0].get_absolute_url()))

    assert "Fondation 00" in page
    assert "Inès Delmas" in page


def test_detail_of_nobody_is_a_404(client):
    response = client.get("/organisations/1/")

    assert response.status_code == 404
    assert "Nothing here" in text(response)


@pytest.mark.parametrize("path", ["/organisations/new/", "/organisations/import/"])
def test_writing_asks_for_login(client, path):
    assert client.get(path).url == f"/login/?next={path}"


def test_create_leads_to_the_new_organisation(member):
    response = member.post(
        "/organisations/new/", {"name": "Institut Orsanne", "category": "Institution", "city": "Metz"}
    )

    assert response.url == Organisation.objects.get().get_absolute_url()
    assert "Institut Orsanne was created." in text(member.get(response.url))


def test_create_shows_what_is_wrong(member, organisation):
    response = member.post("/organisations/new/", {"name": organisation.name, "category": "CGP", "city": ""})

    assert response.status_code == 400
    assert "Organisation with this Name already exists." in text(response)
    assert 'aria-invalid="true"' in text(response)


def test_demo_user_may_use_the_dashboard_and_change_nothing_else():
    create_users()
    create_users()

    demo = User.objects.get(username="demo")
    assert demo.is_staff
    assert demo.has_perms(
        ["crm_monitoring_dashboard.view_dashboard", "crm_monitoring_dashboard.view_issue"]
        + ["crm_monitoring_dashboard.change_issue"]
    )
    assert not demo.has_perm("crm_monitoring_dashboard.delete_issue")


def test_colleagues_may_not_see_the_dashboard():
    create_users()

    camille = User.objects.get(username="camille")
    assert not camille.is_staff
    assert camille.get_all_permissions() == set()


def test_demo_user_logs_in_and_out():
    create_users()
    browser = Client()

    logged_in = browser.post("/login/", {"username": "demo", "password": "demo", "next": ""}, follow=True)
    assert "Log out demo" in text(logged_in)

    logged_out = browser.post("/logout/", follow=True)
    assert "Log out demo" not in text(logged_out)


def test_kpis_are_shown(client, organisations):
    page = text(client.get("/kpis/"))

    assert "<dt>Calls</dt><dd>45</dd>" in page
    assert "Fondation 00" in page


@pytest.mark.parametrize("path", ["/break/error/", "/api/v1/broken"])
def test_unhandled_errors_are_unhandled(path):
    assert Client(raise_request_exception=False).get(path).status_code == 500


@pytest.mark.parametrize("path", ["/break/handled/", "/break/message/", "/break/slow/"])
def test_what_is_handled_leads_home(client, path, monkeypatch):
    monkeypatch.setattr("demo_project.organisations.breakage.SLOW_S", 0)

    response = client.get(path, follow=True)

    assert response.redirect_chain == [("/", 302)]
    assert 'class="messages"' in text(response)


def test_missing_page_is_missing(client):
    assert client.get("/break/missing/").status_code == 404


def test_stream_comes_in_pieces(client, monkeypatch):
    monkeypatch.setattr("demo_project.organisations.breakage.STREAM_PAUSE_S", 0)

    assert list(client.get("/break/stream/")) == [b"1/5\n", b"2/5\n", b"3/5\n", b"4/5\n", b"5/5\n"]


def test_seeding_again_changes_nothing():
    assert create_organisations() == 200
    assert create_organisations() == 0


def test_seeding_gives_every_organisation_interactions():
    create_organisations()

    assert not Organisation.objects.filter(interactions=None).exists()
