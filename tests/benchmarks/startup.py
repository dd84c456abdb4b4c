"""What a process takes to start: CPU milliseconds, the least of several runs, all in turn, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial

from tests.benchmarks.figures import Figure, Key
from tests.benchmarks.plans import Job, Plan
from tests.benchmarks.processes import ROOT

IMPORT = "import"
IMPORT_IN_DJANGO = "import, Django loaded"
CHECK = "manage.py check"

# A collection of everything takes as long as an import, and falls on whoever comes when enough has been made.
_TIMED = """
import gc
from time import process_time
gc.disable()
{before}
started = process_time()
{statement}
print((process_time() - started) * 1000)
"""

_LIBRARIES = {"bare": "pass", "ours": "import crm_monitoring", "glue": "import sentry_sdk, structlog"}
# What every Django process has loaded before an app's own modules come.
_DJANGO = (
    "import django.core.management, django.core.handlers.wsgi, django.db.models, django.views.generic, django.forms"
)
_CHECK = (
    "from django.core.management import execute_from_command_line; execute_from_command_line(['manage.py', 'check'])"
)

Command = tuple[list[str], dict[str, str]]


def jobs(plan: Plan) -> list[Job]:
    """Return what starts processes."""
    return [Job("start-up", partial(_of, plan), alone=True)]


def _of(plan: Plan) -> Iterator[Figure]:
    commands = dict(_commands(plan))
    with tempfile.TemporaryDirectory() as folder:
        yield from _taken(plan, {key: _cached(command, folder) for key, command in commands.items()})


def _cached(command: Command, folder: str) -> Command:
    """Let the command find compiled what it has run before, as it would where the package is installed."""
    statement, environment = command
    kept = {name: value for name, value in environment.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return statement, {**kept, "PYTHONPYCACHEPREFIX": folder, "PYTHONHASHSEED": "0"}


def _taken(plan: Plan, commands: dict[Key, Command]) -> Iterator[Figure]:
    for command in commands.values():
        cpu_ms(*command)
    runs = [{key: cpu_ms(*command) for key, command in commands.items()} for _ in range(plan.starts)]
    for key in commands:
        taken = [run[key] for run in runs]
        yield Figure(key, min(taken), min(taken), max(taken))


def _commands(plan: Plan) -> Iterator[tuple[Key, Command]]:
    names = [stack.name for stack in plan.stacks]
    for name, statement in _LIBRARIES.items():
        if name in names:
            yield Key("startup", IMPORT, name), python(statement)
            yield Key("startup", IMPORT_IN_DJANGO, name), python(statement, before=_DJANGO)
    for setup in plan.setups([0.0]):
        command, _ = python(_CHECK)
        yield Key("startup", CHECK, setup.stack), (command, setup.environment)


def python(statement: str, *, before: str = "") -> Command:
    """Return the command that times a statement, and its environment."""
    return [sys.executable, "-c", _TIMED.format(before=before, statement=statement)], dict(os.environ)


def cpu_ms(command: list[str], environment: dict[str, str]) -> float:
    """Return the CPU milliseconds that a command of `python` has told of."""
    told = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True).stdout
    return float(told.split()[-1])
