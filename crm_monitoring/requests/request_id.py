"""The id that ties together everything one request leaves behind."""

from __future__ import annotations

import re
from functools import cache

from django.http import HttpRequest

from crm_monitoring import conf
from crm_monitoring.ids import new_id
from crm_monitoring.scrubbing import scrub_text

_VALID = re.compile(r"[A-Za-z0-9._-]{1,128}\Z")


def request_id_of(request: HttpRequest, /) -> str:
    """Return the id the caller sent, if it is trusted, harmless and no secret, else a new one of 32 hexadecimal digits."""
    config = conf.get()
    if config.TRUST_REQUEST_ID:
        given = harmless_id(request.META.get(_meta_key(config.REQUEST_ID_HEADER)))
        if given is not None:
            return given
    return new_id()


def harmless_id(given: object) -> str | None:
    """Return an id that somebody else has given if it is harmless and no secret, else None."""
    if isinstance(given, str) and _VALID.match(given) and scrub_text(given) == given:
        return given
    return None


@cache
def _meta_key(header: str) -> str:
    return f"HTTP_{header.upper().replace('-', '_')}"
