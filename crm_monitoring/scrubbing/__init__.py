"""Secrets and personal data: what they are called, what they look like, and what stands in their place."""

from __future__ import annotations

from crm_monitoring.scrubbing.configured import (
    TextScrubber,
    reset,
    scrub,
    scrub_body,
    scrub_constant,
    scrub_exception,
    scrub_text,
)
from crm_monitoring.scrubbing.secret_forms import EMAIL
from crm_monitoring.scrubbing.spans import FILTERED
from crm_monitoring.scrubbing.url_secrets import UrlSecrets

__all__ = [
    "EMAIL",
    "FILTERED",
    "TextScrubber",
    "UrlSecrets",
    "reset",
    "scrub",
    "scrub_body",
    "scrub_constant",
    "scrub_exception",
    "scrub_text",
]
