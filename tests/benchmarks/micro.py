"""Single operations inside a request: a line, a breadcrumb, a measured block, scrubbing, a record."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from tests.benchmarks import instructions
from tests.benchmarks.figures import Figure, Key
from tests.benchmarks.plans import Job, Plan
from tests.benchmarks.processes import Setup

WHO = ("ours", "ours-dashboard", "glue")


def jobs(plan: Plan) -> list[Job]:
    """Return what counts single operations."""
    return [
        Job(f"operations {setup}", partial(_of, plan, setup)) for setup in plan.setups(plan.counted_rates, only=WHO)
    ]


def _of(plan: Plan, setup: Setup) -> Iterator[Figure]:
    for name, count in instructions.of_operations(setup).items():
        yield Figure(Key("operations", name, setup.stack, rate=setup.rate), count)
