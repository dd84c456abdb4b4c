from __future__ import annotations

import time
from collections.abc import Callable

DEADLINE_S = 60.0


def wait_for(condition: Callable[[], object], what: str, seconds: float = DEADLINE_S) -> None:
    """Wait until `condition` holds, and fail when it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"No {what} within {seconds} s"
        time.sleep(0.02)
