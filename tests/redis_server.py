"""The Redis that tests ask for work. Address: CRM_MONITORING_REDIS="redis://127.0.0.1:6379/0"."""

from __future__ import annotations

import os
from socket import create_connection
from urllib.parse import urlsplit

import pytest

REDIS = os.environ.get("CRM_MONITORING_REDIS", "redis://127.0.0.1:6379/0")


def answering() -> str:
    """Return its address, or skip the test where nobody answers."""
    parts = urlsplit(REDIS)
    try:
        create_connection((parts.hostname or "", parts.port or 6379), timeout=2).close()
    except OSError:
        pytest.skip(f"no Redis answers at {parts.hostname}:{parts.port}")
    return REDIS
