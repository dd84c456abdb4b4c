"""
The dashboard in a real browser: `pip install -e ".[test,browser]"`, and Debian's chromium.

Skipped where either is absent, and in CI, whose machines have no browser.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.test import Client, override_settings
from django.utils import timezone
from pytest_django.live_server_helper import LiveServer

from crm_monitoring.dashboard import flushing
from crm_monitoring.dashboard.metrics.counters import Metric
from crm_monitoring.dashboard.models import Deploy, Event, Issue, Visit
from tests.dashboard.traffic import errors, measured, write

CHROMIUM = shutil.which("chromium") or ""

if "CI" in os.environ:
    pytest.skip("CI has no browser", allow_module_level=True)
if not CHROMIUM:
    pytest.skip("there is no chromium", allow_module_level=True)
playwright_api = pytest.importorskip("playwright.sync_api", reason="the extra `browser` is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="the extra `browser` is not installed")

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

REFRESH_MS = 15_000
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


@pytest.fixture(scope="module")
def chromium(django_db_setup: None) -> Iterator[Any]:
    """A browser. While it is open Playwright runs a loop in this thread, which Django takes for asynchronous code of ours."""
    with pytest.MonkeyPatch.context() as patch, playwright_api.sync_playwright() as playwright:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(django_db_setup: None) -> Iterator[LiveServer]:
    """The demo, served with a strict policy."""
    with override_settings(MIDDLEWARE=["tests.dashboard.policy.strict", *django_settings.MIDDLEWARE]):
        server = LiveServer("localhost")
        yield server
        server.stop()


@pytest.fixture
def complaints() -> list[str]:
    """What the browser's console was told: of errors, of scripts that failed, of what the policy forbids."""
    return []


@pytest.fixture
def visit(chromium: Any, site: LiveServer, complaints: list[str]) -> Iterator[Callable[..., Any]]:
    """Open an address as a superuser, in a browser with some options."""
    opened = []
    client = Client()
    client.force_login(User.objects.create_superuser("camille"))
    session = client.cookies[django_settings.SESSION_COOKIE_NAME].value

    def open_page(query: str = "", path: str = "/monitoring/", **options: Any) -> Any:
        context = chromium.new_context(**{"locale": "en-GB", **options})
        opened.append(context)
        context.add_cookies([{"name": django_settings.SESSION_COOKIE_NAME, "value": session, "url": site.url}])
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(site.url + path + query)
        return page

    yield open_page
    for context in opened:
        context.close()


@pytest.fixture
def traffic() -> None:
    """Some traffic of the last hour, and some of last week."""
    now = time.time()
    write(
        "default",
        *[
            measured("GET organisations/", [100.0] * 90 + [2_000.0] * 10, at=now - 600, failed=2),
            measured("GET organisations/{pk}/", [50.0] * 40, at=now - 1_200),
            measured("GET kpis/", [700.0] * 5, at=now - 1_800, environment="staging"),
            measured("GET old/", [10.0] * 500, at=now - 4 * 86_400),
            measured("import_organisations", [3_000.0], at=now - 600, kind=Metric.OPERATION),
            errors("abc", 12, at=now - 600),
            errors("event", 3, at=now - 600, kind=Metric.LOSS),
        ],
    )
    Visit.objects.bulk_create(
        Visit(started=int(now) // 300 * 300, environment="production", user=f"{number:032}") for number in range(15)
    )
    seen = timezone.now() - timedelta(minutes=10)
    Issue.objects.create(
        fingerprint="abc", title="ValueError: no", level="error", count=12, first_seen=seen, last_seen=seen
    )
    Deploy.objects.create(release="1.4.2", environment="production", moment=seen)


def figures(page: Any) -> dict[str, str]:
    return {
        figure.get_attribute("data-key"): figure.locator(".value").inner_text()
        for figure in page.locator(".figure").all()
    }


def endpoints(page: Any) -> list[str]:
    return page.locator("[aria-labelledby=endpoints] tbody th").all_inner_texts()


def sees(condition: Callable[[], bool]) -> None:
    """Wait until the page shows it."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def violations(page: Any) -> str:
    found = axe.Axe().run(page, options=RULES)
    return found.generate_report() if found.violations_count else ""


# -- figures --------------------------------------------------------------------------------------------------------------


def test_every_figure_is_that_of_the_traffic(visit: Any, traffic: None, complaints: list[str]) -> None:
    page = visit()

    assert "default-src 'self'" in page.request.get(page.url).headers["content-security-policy"]
    assert figures(page) == {
        "errors": "12",
        "average": "238 ms",
        "hottest": "GET organisations/",
        "slowest": "GET kpis/",
        "users": "15",
        "error-rate": "1.4%",
        "apdex": "0.94",
        "p95": figures(page)["p95"],
        "failed": "2",
        "slow": "10",
    }
    assert figures(page)["p95"] in ("2.0 s", "1.9 s")  # Within 2 % of 2 s.
    assert endpoints(page) == ["GET organisations/", "GET organisations/{pk}/", "GET kpis/"]
    assert page.locator("text=event (3)").count() == 1
    assert complaints == []


def test_real_requests_are_seen_once_they_are_written(visit: Any, site: LiveServer, complaints: list[str]) -> None:
    page = visit()
    assert page.locator(".empty").count() == 1

    for path in ("/organisations/", "/organisations/", "/organisations/", "/kpis/"):
        page.request.get(site.url + path)
    flushing.flush()
    page.get_by_role("link", name="Look again").click()
    page.wait_for_selector(".figure")

    assert figures(page)["hottest"] == "GET organisations/"
    assert endpoints(page) == ["GET organisations/", "GET kpis/"]
    assert page.locator("[aria-labelledby=endpoints] tbody td:nth-child(2)").all_inner_texts() == ["3", "1"]
    assert complaints == []


def test_bars_are_where_the_requests_were(visit: Any, traffic: None) -> None:
    page = visit("?window=1h")

    height = page.locator("[data-key=chart-requests] path.requests").evaluate("path => path.getBBox().height")

    assert height == pytest.approx(138, abs=1)  # The highest has 100 of 100.
    assert page.locator("[data-key=chart-requests] path.requests").get_attribute("d").count("M") == 3


def test_pointer_reads_a_chart(visit: Any, traffic: None) -> None:
    page = visit("?window=1h")
    chart = page.locator("[data-key=chart-requests]")
    box = chart.locator("path.requests").bounding_box()

    page.mouse.move(box["x"] + box["width"] - 1, box["y"] + box["height"] / 2)

    assert "Requests 100 · Failed 2" in chart.locator(".readout").inner_text()
    page.mouse.move(1, 1)
    assert chart.locator(".readout").inner_text() == ""


# -- choosing -------------------------------------------------------------------------------------------------------------


def test_window_switches_without_reloading(visit: Any, traffic: None, complaints: list[str]) -> None:
    page = visit()
    page.evaluate("window.marked = true")

    page.get_by_role("link", name="7 d").click()
    sees(lambda: figures(page)["hottest"] == "GET old/")

    assert page.url.endswith("?window=7d")
    assert page.locator(".tabs [aria-current]").inner_text() == "7 d"
    assert page.evaluate("window.marked")
    page.go_back()
    sees(lambda: figures(page)["hottest"] == "GET organisations/")
    assert complaints == []


def test_environment_applies_at_once_and_is_kept(visit: Any, traffic: None) -> None:
    page = visit("?window=7d")

    page.get_by_label("Environment").select_option("staging")
    sees(lambda: figures(page)["hottest"] == "GET kpis/")
    page.get_by_role("link", name="1 h", exact=True).click()
    sees(lambda: page.locator(".tabs [aria-current]").inner_text() == "1 h")

    assert endpoints(page) == ["GET kpis/"]
    assert page.get_by_label("Environment").input_value() == "staging"


def test_endpoints_sort_and_keep_the_focus(visit: Any, traffic: None) -> None:
    page = visit()
    header = page.get_by_role("columnheader", name="Average").first.get_by_role("link")

    header.focus()
    page.keyboard.press("Enter")
    sees(lambda: endpoints(page)[0] == "GET kpis/")
    assert page.evaluate("document.activeElement.textContent.trim()").startswith("Average")
    page.keyboard.press("Enter")

    sees(lambda: endpoints(page)[0] == "GET organisations/{pk}/")


def test_page_works_without_javascript(visit: Any, traffic: None, complaints: list[str]) -> None:
    page = visit(java_script_enabled=False)

    assert page.locator(".figure[data-key=errors] .value").inner_text() == "12"
    page.get_by_label("Environment").select_option("staging")
    page.get_by_role("button", name="Show").click()
    assert page.locator(".figure[data-key=hottest] .value").inner_text() == "GET kpis/"
    page.get_by_role("link", name="7 d").click()
    assert "environment=staging" in page.url
    page.get_by_role("link", name="P95", exact=True).click()
    assert page.locator("th[aria-sort=descending]").inner_text().startswith("P95")
    assert not page.get_by_role("button", name="Pause updates").is_visible()
    assert complaints == []


# -- refreshing -----------------------------------------------------------------------------------------------------------


def test_page_refreshes_itself_and_leaves_alone_what_the_reader_did(
    visit: Any, traffic: None, complaints: list[str]
) -> None:
    page = visit()
    page.clock.install()
    page.reload()
    page.get_by_text("The charts as a table").click()
    page.get_by_role("link", name="Apdex").focus()
    page.evaluate("scrollTo(0, 300)")
    page.evaluate("document.querySelector('.figure[data-key=errors] .value').marked = true")
    write("default", errors("abc", 5))

    page.clock.run_for(REFRESH_MS)

    sees(lambda: figures(page)["errors"] == "17")
    assert page.evaluate("document.querySelector('.figure[data-key=errors] .value').marked")
    assert page.locator("details[data-key=values]").get_attribute("open") is not None
    assert page.evaluate("document.activeElement.textContent.trim()") == "Apdex"
    assert page.evaluate("scrollY") == 300
    assert complaints == []


def count_requests(page: Any) -> list[str]:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if request.resource_type == "fetch" else None)
    return asked


def set_hidden(page: Any, *, hidden: bool) -> None:
    page.evaluate(
        """hidden => {
            Object.defineProperty(document, "hidden", {configurable: true, get: () => hidden});
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


def test_hidden_page_stops_and_a_shown_one_refreshes_at_once(visit: Any, traffic: None) -> None:
    page = visit()
    page.clock.install()
    page.reload()
    set_hidden(page, hidden=True)
    asked = count_requests(page)

    page.clock.run_for(REFRESH_MS * 4)
    assert asked == []
    set_hidden(page, hidden=False)

    sees(lambda: len(asked) == 1)


def test_paused_page_stops_until_it_is_resumed(visit: Any, traffic: None) -> None:
    page = visit()
    page.clock.install()
    page.reload()
    asked = count_requests(page)

    page.get_by_role("button", name="Pause updates").click()
    page.clock.run_for(REFRESH_MS * 4)
    assert asked == []
    page.get_by_role("button", name="Resume updates").click()

    sees(lambda: len(asked) == 1)


def test_page_says_that_it_could_not_refresh_and_tries_again(visit: Any, traffic: None) -> None:
    page = visit()
    page.clock.install()
    page.reload()
    page.route("**/monitoring/", lambda route: route.abort())

    page.clock.run_for(REFRESH_MS)
    sees(lambda: "Could not refresh" in page.locator("[role=status]").inner_text())
    page.unroute("**/monitoring/")
    page.clock.run_for(REFRESH_MS)

    sees(lambda: page.locator("[role=status]").inner_text() == "")


def test_page_says_that_its_reader_is_logged_out(visit: Any, traffic: None) -> None:
    page = visit()
    page.clock.install()
    page.reload()
    page.context.clear_cookies()

    page.clock.run_for(REFRESH_MS)

    sees(lambda: "no longer logged in" in page.locator("[role=status]").inner_text())
    assert figures(page)["errors"] == "12"


# -- for everybody --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", [{}, PHONE], ids=["desk", "phone"])
def test_page_is_accessible(
    visit: Any, traffic: None, complaints: list[str], scheme: str, screen: dict[str, Any]
) -> None:
    page = visit(color_scheme=scheme, **screen)
    page.get_by_text("The charts as a table").click()

    assert violations(page) == ""
    assert complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_empty_page_is_accessible(visit: Any, complaints: list[str], scheme: str) -> None:
    page = visit(color_scheme=scheme)

    assert page.get_by_role("heading", name="Nothing has been measured yet").is_visible()
    assert violations(page) == ""
    assert complaints == []


def test_dark_scheme_is_dark(visit: Any, traffic: None) -> None:
    colours = [
        visit(color_scheme=scheme).evaluate("getComputedStyle(document.body).backgroundColor")
        for scheme in ("light", "dark")
    ]

    assert colours == ["rgb(245, 246, 248)", "rgb(14, 17, 22)"]


@pytest.mark.parametrize("width", [320, 360, 768, 1280])
def test_page_never_scrolls_sideways(visit: Any, traffic: None, width: int) -> None:
    write("default", measured("GET " + "averylongsegmentwithoutend" * 7, [1.0] * 200))

    page = visit(viewport={"width": width, "height": 740})

    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_first_key_leads_past_the_navigation(visit: Any, traffic: None) -> None:
    page = visit()

    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")

    assert page.evaluate("document.activeElement.id") == "content"


def test_keyboard_reaches_all_controls_and_sees_where_it_is(visit: Any, traffic: None) -> None:
    page = visit()
    reached = []
    for _ in range(60):
        page.keyboard.press("Tab")
        name, outline = page.evaluate(
            """() => {
                const element = document.activeElement;
                const label = element.getAttribute("aria-label") || element.textContent;
                return [label.trim(), getComputedStyle(element).outlineStyle];
            }"""
        )
        assert outline != "none", name
        reached.append(name)
        if name.startswith("All issues"):
            break

    for name in (
        "Overview",
        "Issues",
        "7 d",
        "Pause updates",
        "About: Apdex",
        "The charts as a table",
        "P99",
        "All issues",
    ):
        assert name in reached


def test_explanation_shows_on_focus_and_closes_by_escape(visit: Any, traffic: None) -> None:
    page = visit()
    explanation = page.locator("#about-apdex")
    assert not explanation.is_visible()

    page.get_by_role("button", name="About: Apdex").focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    assert explanation.is_visible()
    page.keyboard.press("Escape")

    assert not explanation.is_visible()


def test_explanation_shows_on_hover_and_stays_while_it_is_read(visit: Any, traffic: None) -> None:
    page = visit()

    page.get_by_role("button", name="About: P95").hover()
    assert page.locator("#about-p95").is_visible()
    page.locator("#about-p95").hover()

    assert page.locator("#about-p95").is_visible()


def test_nothing_moves_for_whom_motion_is_too_much(visit: Any, traffic: None) -> None:
    page = visit(reduced_motion="reduce")

    assert page.locator(".tabs a").first.evaluate("link => getComputedStyle(link).transitionDuration") == "0s"


def test_printed_page_has_the_figures_and_no_controls(visit: Any, traffic: None) -> None:
    page = visit(color_scheme="dark")

    page.emulate_media(media="print")

    assert page.locator(".figure[data-key=errors]").is_visible()
    assert not page.locator(".tabs").is_visible()
    assert not page.get_by_role("button", name="Pause updates").is_visible()


def test_page_speaks_french(visit: Any, traffic: None, complaints: list[str]) -> None:
    page = visit(locale="fr-FR")

    assert page.locator("html").get_attribute("lang") == "fr"
    assert page.locator(".figure[data-key=errors] dt span").first.inner_text() == "Erreurs (24\u00a0h)"
    assert figures(page)["error-rate"] == "1,4\u00a0%"
    assert violations(page) == ""
    assert complaints == []


# -- the other pages ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["issues/", "transactions/"])
def test_other_pages_are_accessible_and_clean(
    visit: Any, traffic: None, complaints: list[str], path: str, scheme: str
) -> None:
    page = visit(path=f"/monitoring/{path}", color_scheme=scheme)

    assert violations(page) == ""
    assert complaints == []


def test_issue_is_accessible_and_fits_a_phone(visit: Any, site: LiveServer, complaints: list[str]) -> None:
    page = visit()
    page.request.get(site.url + "/break/error/")
    sees(lambda: flushing.flush() and Event.objects.exists())

    page.goto(f"{site.url}/monitoring/issues/{Issue.objects.get().pk}/")

    assert violations(page) == ""
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert complaints == []
