"""How the cost of a request grows with what is in it: it should by as much for each one, with no step."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from tests.benchmarks import instructions
from tests.benchmarks.cases import GROWTH
from tests.benchmarks.figures import Figure, Key
from tests.benchmarks.plans import Job, Plan, rates_of
from tests.benchmarks.processes import Setup

WHO = ("bare", "ours", "glue")


def jobs(plan: Plan) -> list[Job]:
    """Return what counts requests of growing size."""
    return [Job(f"growth {setup}", partial(_of, plan, setup)) for setup in plan.setups(plan.counted_rates, only=WHO)]


def _of(plan: Plan, setup: Setup) -> Iterator[Figure]:
    for name, count in instructions.of_requests(setup, "wsgi", list(GROWTH)).items():
        for rate in rates_of(setup, plan.counted_rates):
            yield Figure(Key("growth", name, setup.stack, rate=rate), count)
