"""
Random numbers for ids and draws: from the system's randomness, whatever the host does with `random.seed()`.

The system is asked once for each process, for asking it each time takes longer than all else about an id.
"""

from __future__ import annotations

from random import Random

from crm_monitoring import process

_generator = Random()  # noqa: S311 - seeds itself from the system's randomness; for ids and draws, not for secrets

randbytes = _generator.randbytes
random = _generator.random


def new_id() -> str:
    """Return a new id of 32 hexadecimal digits."""
    return randbytes(16).hex()


process.after_fork(_generator.seed)
