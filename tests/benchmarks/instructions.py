"""Instructions of the processor that something takes: the same from run to run, whatever else the machine does."""

from __future__ import annotations

import platform
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tests.benchmarks.cases import ALL
from tests.benchmarks.figures import Figure, Key
from tests.benchmarks.plans import Job, Plan, rates_of
from tests.benchmarks.processes import Setup, answers
from tests.benchmarks.worker import OPERATIONS

_TRIGGER = re.compile(r"^desc: Trigger: Client Request: (.+)$", re.MULTILINE)
# Of all threads, unlike the "summary" above it.
_TOTAL = re.compile(r"^totals: (\d+)", re.MULTILINE)


def unavailable() -> str | None:
    """Say why nothing can be counted here, None where it can."""
    if shutil.which("valgrind") is None:
        return "valgrind is not installed"
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return "callgrind is asked only on Linux on x86-64"
    return None


def jobs(plan: Plan) -> list[Job]:
    """Return what counts the cases of `plan`."""
    return [
        Job(f"{setup} {interface}", partial(_of_cases, plan, setup, interface))
        for interface in plan.interfaces
        for setup in plan.setups(plan.counted_rates, only=plan.stacks_for(interface))
        if plan.cases_for(interface)
    ]


def _of_cases(plan: Plan, setup: Setup, interface: str) -> Iterator[Figure]:
    for name, count in of_requests(setup, interface, plan.cases_for(interface)).items():
        for rate in rates_of(setup, plan.counted_rates):
            yield Figure(Key("instructions", name, setup.stack, interface, rate), count)


def of_requests(setup: Setup, interface: str, cases: Sequence[str]) -> dict[str, float]:
    """Return the instructions of one request of each case."""
    counts, _ = _count(setup, {"do": "instructions", "interface": interface, "cases": list(cases)})
    return {name: counts[name] / ALL[name].number(interface) for name in cases}


def of_operations(setup: Setup) -> dict[str, float]:
    """Return the instructions of single operations, without those of calling them."""
    counts, (names,) = _count(setup, {"do": "operations"})
    nothing = counts["0"]
    return {name: (counts[str(number)] - nothing) / OPERATIONS for number, name in enumerate(names) if name}


def _count(setup: Setup, job: dict[str, Any]) -> tuple[dict[str, int], list[Any]]:
    with tempfile.TemporaryDirectory() as folder:
        command = (
            "valgrind",
            "--tool=callgrind",
            "--instr-atstart=no",
            f"--callgrind-out-file={folder}/out",
            "--quiet",
        )
        answered = answers(setup, job, before=command)
        return dict(count for path in Path(folder).iterdir() for count in _counts_in(path)), answered


def _counts_in(path: Path) -> list[tuple[str, int]]:
    text = path.read_text(errors="replace")
    trigger, total = _TRIGGER.search(text), _TOTAL.search(text)
    return [(trigger[1], int(total[1]))] if trigger and total else []
