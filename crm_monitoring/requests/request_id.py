"""The id that ties together everything one request leaves behind."""

from __future__ import annotations

import re
from functools import cache
from random import randbytes

from django.http import HttpRequest

from crm_monitoring import conf
from crm_monitoring.scrubbing.configured import scrub_text

_VALID = re.compile(r"[A-Za-z0-9._-]{1,128}\Z")


def request_id_of(request: HttpRequest) -> str:
    """Return the id the caller sent, if it is trusted, harmless and no secret, else a new one of 32 hexadecimal digits."""
    config = conf.get()
    if config.TRUST_REQUEST_ID:
        given = request.META.get(_meta_key(config.REQUEST_ID_HEADER), "")
        if _VALID.match(given) and scrub_text(given) == given:
            return str(given)
    return randbytes(16).hex()  # noqa: S311 - an id, no secret


@cache
def _meta_key(header: str) -> str:
    return f"HTTP_{header.upper().replace('-', '_')}"
