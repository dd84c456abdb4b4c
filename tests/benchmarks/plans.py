"""What is measured in one run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from tests.benchmarks.cases import CASES, INTERFACES, QUICK, RATES
from tests.benchmarks.figures import Figure
from tests.benchmarks.processes import Setup
from tests.benchmarks.stacks import STACKS, Stack

SECTIONS = ("instructions", "growth", "operations", "memory", "cpu", "startup")
MAIN = ("bare", "ours", "ours-dashboard", "glue")
"""Who is measured in every way; the others where it is plain to compare them."""

ASYNC_CASES = ("trivial", "work", "raising")


@dataclass(frozen=True)
class Plan:
    """
    What is measured.

    Attributes:
        rates: Shares of requests that are traced. Nothing is counted by callgrind at a rate between 0 and 1: chance decides.
        rounds: How often requests are timed.
        starts: How often processes are started.
        memory_requests: After how many requests the memory is looked at.
    """

    stacks: tuple[Stack, ...]
    cases: tuple[str, ...] = tuple(CASES)
    interfaces: tuple[str, ...] = INTERFACES
    rates: tuple[float, ...] = RATES
    sections: tuple[str, ...] = SECTIONS
    rounds: int = 4
    starts: int = 5
    memory_requests: tuple[int, ...] = (10_000, 100_000)

    def setups(self, rates: Iterable[float] = (), *, only: Iterable[str] = tuple(STACKS)) -> list[Setup]:
        """Return each stack at each rate; one that does not sample stands for all rates at the rate 0."""
        chosen = [stack for stack in self.stacks if stack.name in only]
        return [Setup(stack.name, rate) for stack in chosen for rate in (rates if stack.rated else (0.0,))]

    def stacks_for(self, interface: str) -> tuple[str, ...]:
        """Return whose sync views are worth a measurement under ASGI, too."""
        return MAIN if interface == "asgi-sync" else tuple(STACKS)

    def cases_for(self, interface: str) -> tuple[str, ...]:
        """Return the cases of an interface."""
        return self.cases if interface == "wsgi" else tuple(name for name in self.cases if name in ASYNC_CASES)

    @property
    def counted_rates(self) -> tuple[float, ...]:
        """The rates at which nothing is left to chance."""
        return tuple(rate for rate in self.rates if rate in (0.0, 1.0))


def rates_of(setup: Setup, rates: tuple[float, ...]) -> tuple[float, ...]:
    """Return those of `rates` that a figure of `setup` holds for: all, where the stack does not sample."""
    return (setup.rate,) if STACKS[setup.stack].rated else rates


@dataclass(frozen=True)
class Job:
    """
    A part of the measuring that needs no other.

    Attributes:
        alone: Whether what else runs on the machine would disturb it.
    """

    title: str
    run: Callable[[], Iterator[Figure]]
    alone: bool = False


def quick(plan: Plan) -> Plan:
    """Return the part of `plan` that takes less than a minute."""
    return Plan(
        stacks=tuple(stack for stack in plan.stacks if stack.name in ("bare", "ours", "glue")),
        cases=tuple(name for name in plan.cases if name in QUICK),
        interfaces=("wsgi",),
        rates=(0.0, 1.0),
        sections=tuple(name for name in plan.sections if name in ("instructions", "cpu", "startup")),
        rounds=3,
        starts=2,
    )
