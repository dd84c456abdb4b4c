"""
Random numbers for ids and draws: from the system's randomness, whatever the host does with `random.seed()`.

The system is asked once for each process, for asking it each time takes longer than all else about an id.
"""

from __future__ import annotations

import re
from random import Random
from time import time

from crm_monitoring import process

_generator = Random()  # noqa: S311 - seeds itself from the system's randomness; for ids and draws, not for secrets

randbytes = _generator.randbytes
random = _generator.random


_ID = re.compile("[0-9a-f]{32}")
_DIGITS_OF_TIME = 12
_FIRST_S = 1_577_836_800
"""2020: what seems older is no id of ours."""


def new_id() -> str:
    """
    Return a new id of 32 hexadecimal digits.

    It begins with the milliseconds since 1970, as UUIDs of version 7 do: so an id of which nothing is kept still says when it was.
    """
    return f"{int(time() * 1000):012x}{randbytes(10).hex()}"


def moment_of(given: str) -> float | None:
    """Return when an id was made, in Unix seconds; None for one that `new_id` has not made."""
    if not _ID.fullmatch(given):
        return None
    moment = int(given[:_DIGITS_OF_TIME], 16) / 1000
    return moment if _FIRST_S < moment <= time() + 1 else None


process.after_fork(_generator.seed)
