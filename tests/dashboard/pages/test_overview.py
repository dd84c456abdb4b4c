"""The overview page, as its address answers; how it looks and moves is in test_browser.py."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from html.parser import HTMLParser
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.formats import date_format

from crm_monitoring import faults
from crm_monitoring.dashboard.metrics.counters import Metric
from crm_monitoring.dashboard.models import Deploy, Flush, Issue, RollUp, Visit
from crm_monitoring.dashboard.pages.filters import ROWS
from tests.dashboard import traffic as traffic_of
from tests.dashboard.traffic import errors, measured

pytestmark = pytest.mark.django_db

ADDRESS = "/monitoring/"
PERMISSION = "view_dashboard"


@pytest.fixture
def staff() -> User:
    return User.objects.create_user("camille", is_staff=True)


@pytest.fixture
def reader(staff: User) -> Client:
    """Staff who may see the dashboard."""
    staff.user_permissions.add(Permission.objects.get(codename=PERMISSION))
    client = Client()
    client.force_login(staff)
    return client


@pytest.fixture
def write() -> Callable[..., None]:
    """Write what was counted."""
    return partial(traffic_of.write, "default")


@pytest.fixture
def traffic(write: Callable[..., None]) -> None:
    """An hour of requests, and one of the window before."""
    now = time.time()
    write(
        measured("GET organisations/", [100.0] * 90 + [2_000.0] * 10, at=now - 60, failed=2),
        measured("GET organisations/{pk}/", [50.0] * 40, at=now - 300, release="1.4.1"),
        measured("GET kpis/", [700.0] * 5, at=now - 600, environment="staging"),
        measured("GET organisations/", [100.0] * 50, at=now - 90_000),
        measured("import_organisations", [3_000.0], at=now - 60, kind=Metric.OPERATION),
        errors("abc", 12, at=now - 60),
        errors("abc", 6, at=now - 90_000),
    )
    Visit.objects.bulk_create(
        Visit(started=int(now) // 300 * 300, environment="production", user=f"{number:032}") for number in range(15)
    )


class Cards(HTMLParser):
    """The texts of the figures by their key."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: dict[str, str] = {}
        self._key = ""
        self._is_value = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if attributes.get("class") in ("figure", "figure named"):
            self._key = attributes["data-key"] or ""
        self._is_value = self._is_value or attributes.get("class") == "value"

    def handle_endtag(self, tag: str) -> None:
        self._is_value = self._is_value and tag == "a"

    def handle_data(self, data: str) -> None:
        if self._is_value:
            self.texts[self._key] = data


def page(client: Client, query: str = "") -> str:
    response = client.get(ADDRESS + query)
    assert response.status_code == 200
    return response.text


# -- who may see it -------------------------------------------------------------------------------------------------------


def test_who_is_not_logged_in_gets_the_login_page_and_comes_back(client: Client) -> None:
    response = client.get(ADDRESS + "?window=7d")

    assert (response.status_code, response.headers["Location"]) == (302, "/login/?next=/monitoring/%3Fwindow%3D7d")


def test_login_page_is_the_admins_where_login_url_leads_nowhere(client: Client, settings: Any) -> None:
    settings.LOGIN_URL = "/accounts/login/"

    assert client.get(ADDRESS).headers["Location"] == "/admin/login/?next=/monitoring/"


def test_login_url_stands_where_there_is_no_admin_either(client: Client, settings: Any) -> None:
    settings.LOGIN_URL = "/accounts/login/"
    settings.ROOT_URLCONF = "tests.dashboard.urls_without_admin"

    assert client.get(ADDRESS).headers["Location"] == "/accounts/login/?next=/monitoring/"


def test_login_page_of_another_site_is_taken_as_it_is(client: Client, settings: Any) -> None:
    settings.LOGIN_URL = "https://sso.example/login"

    assert client.get(ADDRESS).headers["Location"] == "https://sso.example/login?next=/monitoring/"


def test_staff_without_the_permission_are_told_what_they_lack(client: Client, staff: User) -> None:
    client.force_login(staff)

    response = client.get(ADDRESS)

    assert response.status_code == 403
    assert "crm_monitoring_dashboard.view_dashboard" in response.text


def test_permission_without_staff_is_not_enough(reader: Client, staff: User) -> None:
    User.objects.filter(pk=staff.pk).update(is_staff=False)

    assert reader.get(ADDRESS).status_code == 403


def test_superuser_may_see_it(client: Client) -> None:
    client.force_login(User.objects.create_superuser("root"))

    assert client.get(ADDRESS).status_code == 200


def test_login_required_middleware_does_not_hide_the_permission(client: Client, settings: Any) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
    settings.LOGIN_URL = "/accounts/login/"

    assert client.get(ADDRESS).headers["Location"] == "/admin/login/?next=/monitoring/"


# -- as an answer ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("client_name", ["client", "reader"])
def test_nobody_keeps_an_answer(request: pytest.FixtureRequest, client_name: str) -> None:
    response = request.getfixturevalue(client_name).get(ADDRESS)

    assert response.headers["Cache-Control"] == "private, no-store"
    assert "Cookie" in response.headers["Vary"]


@pytest.mark.parametrize(
    ("static_url", "files"),
    [
        ("static/", "'self'"),
        ("/static/", "'self'"),
        ("https://cdn.example.org/crm/", "https://cdn.example.org"),
        ("//cdn.example.org/", "https://cdn.example.org"),
    ],
)
@pytest.mark.parametrize("client_name", ["client", "reader"])
def test_the_browser_loads_the_dashboards_own_files_and_nothing_else(
    request: pytest.FixtureRequest, settings: Any, client_name: str, static_url: str, files: str
) -> None:
    settings.STATIC_URL = static_url

    policy = request.getfixturevalue(client_name).get(ADDRESS).headers["Content-Security-Policy"]

    assert policy.startswith(f"default-src 'none'; script-src {files}; style-src {files};")
    assert "unsafe" not in policy


def test_a_policy_of_the_sites_own_holds(settings: Any, reader: Client) -> None:
    settings.MIDDLEWARE = ["tests.dashboard.policy.strict", *settings.MIDDLEWARE]

    assert reader.get(ADDRESS).headers["Content-Security-Policy"] == "default-src 'self'"


def test_head_is_answered_without_a_body(reader: Client) -> None:
    response = reader.head(ADDRESS)

    assert (response.status_code, response.content) == (200, b"")


def test_nothing_can_be_posted(reader: Client) -> None:
    assert reader.post(ADDRESS).status_code == 405


def test_page_asks_for_nothing_inline_and_nothing_foreign(reader: Client, traffic: None) -> None:
    text = page(reader)

    assert "style=" not in text
    assert "<style" not in text
    assert "javascript:" not in text
    assert "data:," not in text
    assert not [part for part in text.split("<script")[1:] if not part.startswith(' src="/static/')]
    assert "://" not in text.replace('xmlns="http://www.w3.org/2000/svg"', "")


def test_page_does_not_count_itself(reader: Client, records: list[Any]) -> None:
    page(reader)

    assert records == []


def test_page_asks_a_bounded_number_of_queries(reader: Client, traffic: None) -> None:
    with CaptureQueriesContext(connection) as queries:
        page(reader)

    # Session, user and two of permissions are Django's own.
    assert len(queries) - 4 <= 12


@pytest.mark.django_db(transaction=True)
def test_page_says_what_to_do_where_the_tables_are_missing(reader: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "reraise", False)
    with connection.schema_editor() as editor:
        editor.delete_model(RollUp)
    try:
        response = reader.get(ADDRESS)
    finally:
        with connection.schema_editor() as editor:
            editor.create_model(RollUp)

    assert response.status_code == 503
    assert "manage.py migrate --database default" in response.text
    assert faults.sentences() == ["Reading for the dashboard failed 1 time, last with OperationalError."]


# -- figures --------------------------------------------------------------------------------------------------------------


def test_five_figures_of_the_guide_come_first(reader: Client, traffic: None) -> None:
    cards = Cards(page(reader)).texts

    assert list(cards)[:5] == ["errors", "average", "hottest", "slowest", "users"]
    assert cards["errors"] == "12"
    assert cards["average"] == "238 ms"  # (90 * 100 + 10 * 2000 + 40 * 50 + 5 * 700) / 145
    assert cards["hottest"] == "GET organisations/"
    assert cards["slowest"] == "GET kpis/"
    assert cards["users"] == "15"


def test_quality_of_service_comes_second(reader: Client, traffic: None) -> None:
    cards = Cards(page(reader)).texts

    assert list(cards)[5:] == ["error-rate", "apdex", "p95", "failed", "slow"]
    assert cards["error-rate"] == "1.4%"  # 2 / 145
    assert cards["apdex"] == "0.94"  # (130 + (8 + 5) / 2) / 145
    assert cards["failed"] == "2"
    assert cards["slow"] == "10"


def test_change_against_the_window_before_is_told_to_screen_readers_too(reader: Client, traffic: None) -> None:
    text = page(reader)

    assert '<span class="change bad">+100%<span class="visually-hidden"> (before: 6)</span></span>' in text
    assert "Changes are relative to the 24 hours before." in text


def test_each_figure_says_what_it_means(reader: Client, traffic: None) -> None:
    text = page(reader)

    for key in Cards(text).texts:
        assert f'aria-describedby="about-{key}"' in text
        assert f'role="tooltip" id="about-{key}"' in text


def test_windows_show_what_they_hold(reader: Client, traffic: None) -> None:
    assert Cards(page(reader, "?window=1h")).texts["errors"] == "12"
    assert Cards(page(reader, "?window=7d")).texts["errors"] == "18"


@pytest.mark.parametrize("query", ["?window=2y", "?sort=colour", "?sort=-", "?environment=%00", "?rows=some", "?=&&"])
def test_parameters_that_cannot_be_used_count_as_left_out(reader: Client, traffic: None, query: str) -> None:
    assert Cards(page(reader, query)).texts == Cards(page(reader)).texts


def test_environment_filters_all(reader: Client, traffic: None) -> None:
    cards = Cards(page(reader, "?environment=staging")).texts

    assert (cards["errors"], cards["hottest"], cards["average"]) == ("0", "GET kpis/", "700 ms")


def test_links_keep_what_was_chosen(reader: Client, traffic: None) -> None:
    text = page(reader, "?window=7d&environment=staging&sort=p95")

    assert 'href="?environment=staging&amp;sort=p95"' in text  # 24 h, which is the default
    assert 'href="?window=7d&amp;environment=staging&amp;sort=-p95"' in text
    assert '<input type="hidden" name="window" value="7d">' in text


def test_unknown_environment_stays_chosen_and_is_empty(reader: Client, traffic: None) -> None:
    text = page(reader, "?environment=elsewhere")

    assert "<option selected>elsewhere</option>" in text
    assert "No request in this window." in text


@pytest.mark.parametrize(
    ("sort", "first"),
    [
        ("-count", "GET organisations/"),
        ("count", "GET kpis/"),
        ("name", "GET kpis/"),
        ("-failed", "GET organisations/"),
        ("average", "GET organisations/{pk}/"),
        ("-p50", "GET kpis/"),
        ("-p95", "GET organisations/"),
        ("-p99", "GET organisations/"),
        ("apdex", "GET kpis/"),
        ("-slow", "GET organisations/"),
    ],
)
def test_endpoints_sort(reader: Client, traffic: None, sort: str, first: str) -> None:
    rows = page(reader, f"?sort={sort}").split('<th scope="row" class="main mono">')

    assert rows[1].startswith(first)


def test_sorted_column_says_so_and_turns_round(reader: Client, traffic: None) -> None:
    text = page(reader, "?sort=-p95")

    assert '<th scope="col" class="number" aria-sort="descending"><a href="?sort=p95" data-live>P95' in text


def test_long_tables_are_cut_until_all_is_asked_for(reader: Client, write: Callable[..., None]) -> None:
    write(*(measured(f"GET page{number}/", [10.0]) for number in range(ROWS + 5)))

    assert page(reader).count('<th scope="row" class="main mono">') == ROWS
    assert 'href="?rows=all"' in page(reader)
    assert page(reader, "?rows=all").count('<th scope="row" class="main mono">') == ROWS + 5


def test_charts_are_pictures_with_a_text_and_a_table(reader: Client, traffic: None) -> None:
    text = page(reader)

    assert text.count('<svg viewBox="0 0 360 172" role="img"') == 3
    assert re.search(r"Highest: 1[04]\d, at", text)  # The two endpoints may share a step.
    assert text.count('<th scope="row"><time') in (96, 97)


def test_large_numbers_are_short_on_an_axis(reader: Client, write: Callable[..., None]) -> None:
    write(errors("abc", 40_000_000), measured("GET organisations/", [1.0] * 40_000))

    text = page(reader)

    assert ">40 M</text>" in text
    assert ">40 k</text>" in text


def test_times_are_in_the_readers_time_zone(reader: Client, traffic: None) -> None:
    moment = timezone.now() - timedelta(hours=2)
    Deploy.objects.create(release="1.4.2", environment="production", moment=moment)

    with timezone.override("Asia/Tokyo"):
        text = page(reader)
        shown = date_format(timezone.localtime(moment), "SHORT_DATETIME_FORMAT")

    assert f'<time datetime="{moment.isoformat(timespec="seconds")}">{shown}</time>' in text
    assert "Times are in the time zone Asia/Tokyo." in text


def test_deploys_are_marked_and_listed(reader: Client, traffic: None) -> None:
    Deploy.objects.create(release="1.4.2", environment="production", moment=timezone.now(), url="https://ci.example/7")

    text = page(reader)

    assert text.count("<title>Deploy of 1.4.2, ") == 3
    assert '<a href="https://ci.example/7" rel="noopener noreferrer">1.4.2</a>' in text


def test_errors_by_release_are_listed(reader: Client, traffic: None) -> None:
    text = page(reader, "?window=7d")

    assert '<span class="mono">1.4.2</span><span class="number">18</span>' in text


def test_newest_issues_lead_to_their_pages(reader: Client, traffic: None) -> None:
    now = timezone.now()
    issue = Issue.objects.create(
        fingerprint="abc", title="ValueError: no", level="error", count=12, first_seen=now, last_seen=now
    )

    text = page(reader)

    assert f'<a href="/monitoring/issues/{issue.pk}/">ValueError: no</a>' in text
    assert "just now" in text


# -- whose numbers --------------------------------------------------------------------------------------------------------


def test_page_says_whose_numbers_these_are(reader: Client, traffic: None) -> None:
    text = page(reader)
    oldest = datetime.fromtimestamp(Flush.objects.earliest("started").started, UTC)

    assert "From all processes that write to the database “default”" in text
    assert f'Measured since: <time datetime="{oldest.isoformat()}">' in text
    assert "Nothing was dropped in this window." in text


def test_page_says_what_was_dropped(reader: Client, write: Callable[..., None]) -> None:
    write(measured("GET organisations/", [1.0]), errors("event", 1_234, kind=Metric.LOSS))

    assert "event (1,234)." in page(reader)


def test_empty_page_says_what_to_do(reader: Client) -> None:
    text = page(reader)

    assert "Nothing has been measured yet" in text
    assert "python manage.py monitoring check" in text
    assert Cards(text).texts == {}


def test_empty_page_names_the_middleware_that_is_missing(reader: Client, settings: Any) -> None:
    settings.MIDDLEWARE = settings.MIDDLEWARE[1:]

    assert '"crm_monitoring.middleware.MonitoringMiddleware",' in page(reader)


# -- what others have written ---------------------------------------------------------------------------------------------

HOSTILE = "</title></script><img src=x onerror=alert(1)>'\"><script>alert(2)</script>{{ 7|add:7 }}"


def test_hostile_text_stays_text(reader: Client, write: Callable[..., None]) -> None:
    now = timezone.now()
    write(
        measured(HOSTILE, [1.0], environment=HOSTILE[:64], release=HOSTILE),
        measured(HOSTILE, [1.0], kind=Metric.OPERATION),
        errors(HOSTILE, 1, release=HOSTILE),
        errors(HOSTILE, 1, kind=Metric.LOSS),
    )
    Issue.objects.create(
        fingerprint="abc",
        title=HOSTILE,
        place=HOSTILE,
        logger=HOSTILE,
        level='"><script',
        count=1,
        first_seen=now,
        last_seen=now,
    )
    Deploy.objects.create(release=HOSTILE, environment=HOSTILE[:64], moment=now, url="javascript:alert(3)")

    text = page(reader, "?environment=")

    assert "<img src=x" not in text
    assert "<script>alert" not in text
    assert 'class="pill "><script' not in text
    assert "javascript:" not in text
    assert text.count("&lt;img src=x onerror=alert(1)&gt;") >= 7


def test_hostile_address_stays_text(reader: Client, traffic: None) -> None:
    text = reader.get(ADDRESS, {"environment": HOSTILE, "sort": HOSTILE, "window": HOSTILE}).text

    assert "<script>alert" not in text
    assert "<img src=x" not in text
