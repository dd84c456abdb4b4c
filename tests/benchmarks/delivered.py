"""What each stack delivered for one request of each case, so that nobody wins by doing less."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tests.benchmarks import sinks
from tests.benchmarks.cases import CASES, EVERYTHING
from tests.benchmarks.processes import Setup, WorkerFailed, answers
from tests.benchmarks.stacks import Stack

SHOWN = (*CASES, EVERYTHING.name)
_SHOWN_KEYS = 24


def by_case(setup: Setup, interface: str, cases: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return what a stack delivered for one request of each case: lines, failures, traces, records, and whether a secret left."""
    job = {"do": "delivered", "interface": interface, "cases": list(cases)}
    return dict(zip(cases, answers(setup, job, extra={sinks.KEEP: "1"}), strict=True))


def fault(stack: Stack) -> str | None:
    """Say why a stack does not work here, None where it does."""
    try:
        by_case(Setup(stack.name, 0.0), "wsgi", ["trivial"])
    except WorkerFailed as error:
        return error.reason
    return None


def is_silent(stack: Stack, interface: str) -> bool:
    """Whether a stack delivers nothing at all for a request by an interface, though every one is to be traced."""
    delivery = by_case(Setup(stack.name, 1.0), interface, ["trivial"])["trivial"]
    return not (delivery["lines"] or delivery["traces"] or any(delivery["records"].values()))


def report(setups: Iterable[Setup], interfaces: Iterable[str], cases: Sequence[str]) -> Iterator[str]:
    """Yield the lines of what `setups` delivered."""
    for interface in interfaces:
        for setup in setups:
            yield f"\n## {setup}, {interface}"
            for name, delivery in by_case(setup, interface, cases).items():
                yield f"- {name}"
                yield from (f"    - {fact}" for fact in facts(delivery))


def facts(delivery: dict[str, Any]) -> Iterator[str]:
    """Yield what was delivered for a request, a fact a line."""
    for line in delivery["lines"]:
        yield f"line {line.get('event', '')}: {' '.join(list(line)[:_SHOWN_KEYS])}"
    for failure in delivery["failures"]:
        has = [name for name in ("request", "user", "trace") if failure[name]]
        yield (
            f"event {failure['title'][:60]!r}: {failure['frames']} frames, {failure['with_locals']} with variables, "
            f"{failure['breadcrumbs']} breadcrumbs{''.join(f', {name}' for name in has)}"
        )
    for trace in delivery["traces"]:
        yield f"transaction {trace['name']}: {trace['spans']} spans"
    for kind, number in delivery["records"].items():
        yield f"{number} {kind}"
    if delivery["leaks"]:
        yield "the secret left"
