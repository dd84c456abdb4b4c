"""Runs a plan: what disturbs nothing side by side, what is timed alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import product
from time import monotonic

from tests.benchmarks import delivered, growth, instructions, memory, micro, startup, timing
from tests.benchmarks.figures import Figure
from tests.benchmarks.plans import MAIN, Job, Plan
from tests.benchmarks.processes import WorkerFailed
from tests.benchmarks.results import Results

JOBS: dict[str, Callable[[Plan], list[Job]]] = {
    "instructions": instructions.jobs,
    "growth": growth.jobs,
    "operations": micro.jobs,
    "memory": memory.jobs,
    "cpu": timing.jobs,
    "startup": startup.jobs,
}
COUNTED = ("instructions", "growth", "operations")


def run(plan: Plan, results: Results) -> None:
    """Measure what `plan` says; what does not work is a note."""
    plan = _working(plan, results)
    _note_silent(plan, results)
    sections = list(plan.sections)
    reason = instructions.unavailable()
    if reason is not None:
        results.notes.append(f"No instructions: {reason}.")
        sections = [section for section in sections if section not in COUNTED]
    jobs = [job for section in sections for job in JOBS[section](plan)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for found in pool.map(lambda job: _done(job, results), [job for job in jobs if not job.alone]):
            results.figures.add(found)
    for job in jobs:
        if job.alone:
            results.figures.add(_done(job, results))


def _working(plan: Plan, results: Results) -> Plan:
    """Return the plan with the stacks that are installed and answer a request."""
    installed = []
    for stack in plan.stacks:
        if stack.missing:
            results.notes.append(f"{stack.title} is left out: {', '.join(stack.missing)} is not installed.")
        else:
            installed.append(stack)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        faults = list(pool.map(delivered.fault, installed))
    for stack, fault in zip(installed, faults, strict=True):
        if fault is not None:
            results.notes.append(f"{stack.title} is left out: {fault}")
    return replace(plan, stacks=tuple(stack for stack, fault in zip(installed, faults, strict=True) if fault is None))


def _note_silent(plan: Plan, results: Results) -> None:
    """Note who costs little because it does nothing: by WSGI they all deliver."""
    rated = [stack for stack in plan.stacks if stack.rated and stack.name not in MAIN]
    places = list(product(rated, [interface for interface in plan.interfaces if interface == "asgi-async"]))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        silent = list(pool.map(lambda place: delivered.is_silent(*place), places))
    for (stack, interface), is_silent in zip(places, silent, strict=True):
        if is_silent:
            results.notes.append(
                f"{stack.title} delivers nothing by {interface}: what it costs there compares with nothing."
            )


def _done(job: Job, results: Results) -> list[Figure]:
    started = monotonic()
    found = []
    try:
        for figure in job.run():
            found.append(figure)
    except WorkerFailed as error:
        # What was measured before stays.
        results.notes.append(f"{job.title} failed: {error.reason}")
    sys.stderr.write(f"{job.title}: {monotonic() - started:.0f} s\n")
    return found
