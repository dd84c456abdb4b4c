"""Runs the jobs of a stack, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

_HANGS_AFTER_SECONDS = 900
_SHOWN = 2000

ROOT = Path(__file__).parents[2]


class WorkerFailed(Exception):
    """
    A stack's process ended badly.

    Attributes:
        reason: The last line of what it wrote.
    """

    def __init__(self, setup: Setup, written: bytes) -> None:
        text = written.decode(errors="replace").strip()
        super().__init__(f"{setup}: {text[-_SHOWN:]}")
        self.reason = f"{setup}: {text.rpartition(chr(10))[2]}"


@dataclass(frozen=True)
class Setup:
    """A stack at a rate of traces."""

    stack: str
    rate: float

    def __str__(self) -> str:
        return f"{self.stack} {self.rate:.0%}"

    @property
    def environment(self) -> dict[str, str]:
        """What a process of it finds around it: a fixed hash seed, so that sets are in the same order from run to run."""
        return {
            **os.environ,
            "PYTHONHASHSEED": "0",
            "DJANGO_SETTINGS_MODULE": "tests.benchmarks.settings",
            "BENCHMARK_STACK": self.stack,
            "BENCHMARK_RATE": str(self.rate),
        }


def _command(job: dict[str, Any]) -> list[str]:
    return [sys.executable, "-m", "tests.benchmarks.worker", json.dumps(job)]


def answers(
    setup: Setup, job: dict[str, Any], *, before: Sequence[str] = (), extra: dict[str, str] | None = None
) -> list[Any]:
    """
    Return what the job's process answers.

    Args:
        before: The command that runs the process, such as valgrind.
        extra: More of its environment.

    Raises:
        WorkerFailed: It ended badly.
    """
    done = subprocess.run(
        [*before, *_command(job)],
        cwd=ROOT,
        env={**setup.environment, **(extra or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_HANGS_AFTER_SECONDS,
        check=False,
    )
    if done.returncode:
        raise WorkerFailed(setup, done.stderr)
    return [json.loads(line) for line in done.stdout.splitlines()]


class Conversation:
    """A process that answers each line it is sent."""

    def __init__(self, setup: Setup, process: subprocess.Popen[bytes], errors: IO[bytes]) -> None:
        self._setup = setup
        self._process = process
        self._errors = errors

    def ask(self, **question: Any) -> Any:
        """Send `question`, return the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question).encode() + b"\n")
        self._process.stdin.flush()
        return self.hear()

    def hear(self) -> Any:
        """Return the next answer."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            raise WorkerFailed(self._setup, self._errors.read())
        return json.loads(line)


@contextmanager
def conversation(setup: Setup, job: dict[str, Any]) -> Iterator[Conversation]:
    """Start a process that answers questions, and end it after the block."""
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            _command(job), cwd=ROOT, env=setup.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
        ) as process,
    ):
        try:
            yield Conversation(setup, process, errors)
        finally:
            process.kill()
