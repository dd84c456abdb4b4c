from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from crm_monitoring import get_logger

from . import services
from .forms import ImportForm, OrganisationForm
from .importer import import_organisations
from .models import Organisation

logger = get_logger(__name__)


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    return render(request, "organisations/home.html")


@require_safe
def organisation_list(request: HttpRequest) -> HttpResponse:
    query = request.GET.get("q", "")
    page = services.fetch_organisations(query, request.GET.get("page", "1"))
    return render(request, "organisations/list.html", {"page": page, "query": query})


@require_safe
def organisation_detail(request: HttpRequest, pk: int) -> HttpResponse:
    organisation = get_object_or_404(Organisation.objects.prefetch_related("interactions"), pk=pk)
    return render(request, "organisations/detail.html", {"organisation": organisation})


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def organisation_create(request: HttpRequest) -> HttpResponse:
    form = OrganisationForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        organisation = services.create_organisation(form)
        messages.success(request, _("%(name)s was created.") % {"name": organisation})
        return redirect(organisation)
    return render(request, "organisations/create.html", {"form": form}, status=400 if form.is_bound else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def organisation_import(request: HttpRequest) -> HttpResponse:
    if request.method != "POST":
        return render(request, "organisations/import.html", {"form": ImportForm()})
    form = ImportForm(request.POST, request.FILES)
    if not form.is_valid():
        logger.warning("import_rejected", reason=form.errors["file"][0])
        return render(request, "organisations/import.html", {"form": form}, status=400)
    report = import_organisations(form.cleaned_data["file"])
    return render(request, "organisations/import.html", {"form": ImportForm(), "report": report})


@require_safe
def kpis(request: HttpRequest) -> HttpResponse:
    return render(request, "organisations/kpis.html", {"kpis": services.compute_kpis()})
