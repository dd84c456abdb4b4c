"""CPU time of requests as ratios to bare Django's: one batch each, in turn, round by round, so that what disturbs one disturbs all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from statistics import median
from typing import NamedTuple

from tests.benchmarks.figures import Figure, Key
from tests.benchmarks.plans import MAIN, Job, Plan, rates_of
from tests.benchmarks.processes import Conversation, Setup, conversation

ONE_BY_ONE = "one by one"

_BARE = Setup("bare", 0.0)
_MICROSECONDS = 1e6


class Batch(NamedTuple):
    """A number of requests of a case, in one of the ways of the worker; several at a time, of the main stacks alone."""

    title: str
    case: str
    requests: int
    way: str = ONE_BY_ONE


_BATCHES = {
    "wsgi": (
        Batch("trivial", "trivial", 100),
        Batch("user", "user", 100),
        Batch("work", "work", 20),
        Batch("raising", "raising", 40),
        Batch("page", "page", 1),
        Batch("trivial, 4 threads", "trivial", 100, "4 threads"),
    ),
    "asgi-sync": (Batch("trivial", "trivial", 20), Batch("work", "work", 10), Batch("raising", "raising", 20)),
    "asgi-async": (
        Batch("trivial", "trivial", 20),
        Batch("work", "work", 10),
        Batch("raising", "raising", 20),
        Batch("trivial, 100 at once", "trivial", 100, "100 at once"),
    ),
}


def jobs(plan: Plan) -> list[Job]:
    """Return what times the cases of `plan`, one job an interface."""
    return [
        Job(f"CPU time {interface}", partial(_of, plan, interface), alone=True)
        for interface in plan.interfaces
        if _BARE in plan.setups([0.0])
    ]


def _of(plan: Plan, interface: str) -> Iterator[Figure]:
    only = plan.stacks_for(interface) if interface == "wsgi" else MAIN
    batches = [batch for batch in _BATCHES[interface] if batch.case in plan.cases_for(interface)]
    with ExitStack() as processes:
        talks = {
            setup: processes.enter_context(conversation(setup, {"do": "time", "interface": interface}))
            for setup in plan.setups(plan.rates, only=only)
        }
        for talk in talks.values():
            talk.hear()
        for batch in batches:
            # Not every stack can take several at a time on one database in memory: some write to it.
            who = {setup: talk for setup, talk in talks.items() if batch.way == ONE_BY_ONE or setup.stack in MAIN}
            yield from _figures(plan, interface, batch, _rounds(who, batch, plan.rounds))


def _rounds(talks: Mapping[Setup, Conversation], batch: Batch, number: int) -> list[dict[Setup, float]]:
    question = {"case": batch.case, "way": batch.way, "requests": batch.requests}
    return [{setup: talk.ask(**question) for setup, talk in talks.items()} for _ in range(number)]


def _figures(plan: Plan, interface: str, batch: Batch, rounds: list[dict[Setup, float]]) -> Iterator[Figure]:
    for setup in rounds[0]:
        seconds = sorted(times[setup] for times in rounds)
        ratios = sorted(times[setup] / times[_BARE] for times in rounds)
        for rate in rates_of(setup, plan.rates):
            key = Key("cpu", batch.title, setup.stack, interface, rate)
            yield Figure(key, median(ratios), ratios[0], ratios[-1])
            each = [value / batch.requests * _MICROSECONDS for value in seconds]
            yield Figure(Key("cpu time", *_rest(key)), median(each), each[0], each[-1])


def _rest(key: Key) -> tuple[str, str, str, float]:
    return key.what, key.stack, key.interface, key.rate
