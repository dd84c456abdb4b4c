from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(autouse=True)
def _core_urls(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.urls"
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [settings.BASE_DIR / "tests" / "templates"]}]
