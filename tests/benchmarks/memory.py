"""What a process holds after many requests, a tenth of them traced."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from tests.benchmarks.figures import Figure, Key
from tests.benchmarks.plans import Job, Plan
from tests.benchmarks.processes import Setup, answers

RATE = 0.1
# A hundred thousand requests of the others would take as long as all else.
WHO = ("bare", "ours", "ours-dashboard")


def jobs(plan: Plan) -> list[Job]:
    """Return what makes many requests and looks at the memory."""
    return [Job(f"memory {setup}", partial(_of, plan, setup)) for setup in plan.setups([RATE], only=WHO)]


def _of(plan: Plan, setup: Setup) -> Iterator[Figure]:
    numbers = plan.memory_requests
    job = {"do": "memory", "interface": "wsgi", "case": "trivial", "requests": numbers}
    (held,) = answers(setup, job)
    for number, mib in zip(numbers, held, strict=True):
        yield Figure(Key("memory", f"after {number} requests", setup.stack, rate=RATE), mib)
