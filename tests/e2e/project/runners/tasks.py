"""Found by runners that look for `tasks` in each app."""

from __future__ import annotations

import os

if os.environ["E2E_RUNNER_APP"] == "huey.contrib.djhuey":
    from tests.e2e.project.runners import huey  # noqa: F401
