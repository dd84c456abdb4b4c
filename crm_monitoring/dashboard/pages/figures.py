"""The figures for programs."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from crm_monitoring.dashboard.pages.access import dashboard_view
from crm_monitoring.dashboard.pages.document import document
from crm_monitoring.dashboard.store import DEFAULT_WINDOW, WINDOWS
from crm_monitoring.dashboard.store.figures import knows, read


@dashboard_view
@require_safe
def show_figures(request: HttpRequest) -> HttpResponse:
    """
    Answer with the figures of `?window=` and `?environment=`, see `document`; 400 and "error" where there is no such one.
    """
    key, environment = request.GET.get("window", DEFAULT_WINDOW.key), request.GET.get("environment", "")
    if key not in WINDOWS:
        return _refusal(f"Unknown window. Choose one of {', '.join(WINDOWS)}.")
    # No database has a NUL in its texts, and PostgreSQL takes none in a question.
    if environment and ("\0" in environment or not knows(environment)):
        return _refusal("Nothing was measured in such an environment. Leave it out for all.")
    return JsonResponse(document(read(WINDOWS[key], environment)))


def _refusal(sentence: str) -> JsonResponse:
    return JsonResponse({"error": sentence}, status=400)
