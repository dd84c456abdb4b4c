from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from typing import Any

from django.core.paginator import Page, Paginator
from django.forms import BaseForm
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.utils.translation import gettext as _
from django.views.csrf import csrf_failure as csrf_failure_page
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from crm_monitoring import PerformanceMonitor, get_logger, set_user_context

from . import services
from .csv_file import COLUMNS
from .forms import ImportForm, OrganisationForm
from .importer import import_organisations
from .models import Organisation

logger = get_logger(__name__)


def problem(status: int, detail: str, errors: dict[str, list[str]] | None = None) -> JsonResponse:
    return JsonResponse({"detail": detail} | ({"errors": errors} if errors else {}), status=status)


def invalid(form: BaseForm, detail: str) -> JsonResponse:
    return problem(400, detail, {field: [*errors] for field, errors in form.errors.items()})


def login_needed() -> JsonResponse:
    return problem(401, _("Log in first."))


@require_http_methods(["GET", "HEAD", "POST"])
def organisations(request: HttpRequest) -> HttpResponse:
    return create_organisation(request) if request.method == "POST" else list_organisations(request)


def list_organisations(request: HttpRequest) -> HttpResponse:
    page = services.fetch_organisations(request.GET.get("q", ""), request.GET.get("page", "1"))
    return listing(page, list(page))


@require_safe
async def list_organisations_async(request: HttpRequest) -> HttpResponse:
    async with PerformanceMonitor("list_organisations_async") as monitor:
        found = Organisation.objects.search(request.GET.get("q", ""))
        # The pages of a range cost no query, so nothing here blocks the event loop.
        page = Paginator(range(await found.acount()), services.PAGE_SIZE).get_page(request.GET.get("page", "1"))
        first = (page.number - 1) * services.PAGE_SIZE
        shown = [organisation async for organisation in found[first : first + services.PAGE_SIZE]]
        monitor.set_data(count=len(shown))
        logger.info("organisations_fetched", count=len(shown))
        return listing(page, shown)


def listing(page: Page[Any], shown: list[Organisation]) -> JsonResponse:
    return JsonResponse(
        {
            "count": page.paginator.count,
            "page": page.number,
            "pages": page.paginator.num_pages,
            "results": [organisation.as_dict() for organisation in shown],
        }
    )


def create_organisation(request: HttpRequest) -> HttpResponse:
    if not request.user.is_authenticated:
        return login_needed()
    try:
        data = json.loads(request.body)
    except ValueError as error:
        return problem(400, _("The body is not valid JSON: %(reason)s.") % {"reason": error})
    if not isinstance(data, dict) or not all(isinstance(value, str) for value in data.values()):
        return problem(400, _("The body must be a JSON object whose values are texts."))
    form = OrganisationForm(data)
    if not form.is_valid():
        return invalid(form, _("Some fields are not valid."))
    return JsonResponse(services.create_organisation(form).as_dict(), status=201)


@require_safe
def organisation(request: HttpRequest, pk: int) -> HttpResponse:
    found = Organisation.objects.filter(pk=pk).first()
    return JsonResponse(found.as_dict()) if found else problem(404, _("There is no such organisation."))


@require_POST
def import_file(request: HttpRequest) -> HttpResponse:
    if not request.user.is_authenticated:
        return login_needed()
    form = ImportForm(request.POST, request.FILES)
    if not form.is_valid():
        logger.warning("import_rejected", reason=form.errors["file"][0])
        return invalid(form, _("The file cannot be imported; nothing was saved."))
    report = import_organisations(form.cleaned_data["file"])
    rejected = [{"line": row.line, "name": row.name, "reasons": row.reasons} for row in report.rejected]
    return JsonResponse({"success": report.success, "errors": report.errors, "rejected": rejected})


@require_safe
def export(request: HttpRequest) -> StreamingHttpResponse:
    headers = {"Content-Disposition": 'attachment; filename="organisations.csv"'}
    return StreamingHttpResponse(csv_lines(), content_type="text/csv; charset=utf-8", headers=headers)


class Echo:
    """A file that hands back what is written to it."""

    def write(self, line: str) -> str:
        return line


def csv_lines() -> Iterator[str]:
    writer = csv.writer(Echo())
    yield writer.writerow(COLUMNS)
    for row in Organisation.objects.values_list(*COLUMNS).iterator():
        yield writer.writerow(row)


@require_safe
def me(request: HttpRequest) -> HttpResponse:
    user = request.user
    if not user.is_authenticated:
        return login_needed()

    set_user_context(user_id=user.pk, email=user.email)

    logger.info("user_profile_accessed", user_id=user.pk)

    return JsonResponse({"id": user.pk, "username": user.get_username(), "email": user.email})


@require_safe
def kpis(request: HttpRequest) -> HttpResponse:
    kpis = services.compute_kpis()
    return JsonResponse(
        {
            "organisations": len(kpis.activities),
            "since": kpis.since,
            "interactions": {"calls": kpis.calls, "emails": kpis.emails, "meetings": kpis.meetings},
            "by_category": kpis.by_category,
            "most_active": [
                {"id": activity.organisation.pk, "name": activity.organisation.name, "interactions": activity.total}
                for activity in kpis.most_active
            ],
        }
    )


@require_safe
def broken(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("This view fails on purpose")


def not_found(request: HttpRequest, rest: str) -> HttpResponse:
    return problem(404, _("There is nothing at this address."))


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    if request.path.startswith("/api/"):
        return problem(403, reason)
    return csrf_failure_page(request, reason)
