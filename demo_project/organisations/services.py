"""What the pages and the API share."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from django.core.paginator import Page, Paginator
from django.utils import timezone

from crm_monitoring import PerformanceMonitor, add_breadcrumb, capture_exception, get_logger, monitored

from .forms import OrganisationForm
from .models import Category, Interaction, Organisation

logger = get_logger(__name__)

PAGE_SIZE = 20
RECENT_DAYS = 90


def fetch_organisations(query: str, page_number: str) -> Page[Organisation]:
    add_breadcrumb("Fetching organisations", category="query")

    try:
        page = Paginator(Organisation.objects.search(query), PAGE_SIZE).get_page(page_number)
        logger.info("organisations_fetched", count=len(page))
        return page

    except Exception as error:
        logger.error("organisations_fetch_failed", error=str(error))
        capture_exception(error, extra={"query": "organisations"})
        raise


def create_organisation(form: OrganisationForm) -> Organisation:
    with PerformanceMonitor("create_organisation") as monitor:
        organisation: Organisation = form.save()

        monitor.set_data(org_id=organisation.pk, org_name=organisation.name)
        monitor.set_tag("category", organisation.category)

        logger.info(
            "organisation_created",
            org_id=organisation.pk,
            org_name=organisation.name,
            category=organisation.category,
        )
        return organisation


@dataclass(frozen=True, slots=True)
class Activity:
    organisation: Organisation
    calls: int
    emails: int
    meetings: int
    latest: Interaction | None

    @property
    def total(self) -> int:
        return self.calls + self.emails + self.meetings


@dataclass(frozen=True, slots=True)
class Kpis:
    since: date
    activities: list[Activity]

    @property
    def calls(self) -> int:
        return sum(activity.calls for activity in self.activities)

    @property
    def emails(self) -> int:
        return sum(activity.emails for activity in self.activities)

    @property
    def meetings(self) -> int:
        return sum(activity.meetings for activity in self.activities)

    @property
    def most_active(self) -> list[Activity]:
        return sorted(self.activities, key=lambda activity: activity.total, reverse=True)[:5]

    @property
    def by_category(self) -> dict[Category, int]:
        found = [activity.organisation.category for activity in self.activities]
        return {category: found.count(category) for category in Category}


@monitored("compute_kpis", slow_ms=250)
def compute_kpis() -> Kpis:
    since = timezone.localdate() - timedelta(days=RECENT_DAYS)
    return Kpis(since, [activity_of(organisation, since) for organisation in Organisation.objects.all()])


def activity_of(organisation: Organisation, since: date) -> Activity:
    # The N+1 is left in on purpose, so that monitoring has something to show: four queries for each organisation,
    # where one `annotate(Count("interactions", filter=...), Max(...))` would do for all of them.
    recent = organisation.interactions.filter(happened_on__gte=since)
    return Activity(
        organisation,
        calls=recent.filter(kind=Interaction.Kind.CALL).count(),
        emails=recent.filter(kind=Interaction.Kind.EMAIL).count(),
        meetings=recent.filter(kind=Interaction.Kind.MEETING).count(),
        latest=organisation.interactions.first(),
    )
