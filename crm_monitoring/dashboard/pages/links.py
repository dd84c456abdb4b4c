"""Addresses of the dashboard that more than one page leads to."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from django.urls import reverse


def address_of(*terms: object) -> str:
    """Return the address of what a search for these terms finds."""
    return f"{reverse('crm_monitoring_dashboard:find')}?{urlencode({'q': ' '.join(map(str, terms))})}"


def figures_of(endpoint: str) -> str:
    """Return the address of the overview, at the endpoint's row: a text fragment, for names make no ids."""
    text = quote(endpoint, safe="").replace("-", "%2D")
    return f"{reverse('crm_monitoring_dashboard:overview')}?rows=all#:~:text={text}"
