"""Servers as their users start them: a process, its output read as it comes, HTTP from outside."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from random import SystemRandom
from typing import IO, Any

from django.http.response import ResponseHeaders

from tests.clients import Answer
from tests.e2e.waiting import DEADLINE_S, wait_for

ROOT = Path(__file__).resolve().parents[2]
CONCLUSIONS = ("request_finished", "request_failed")
_FROM_OUTSIDE = ("SENTRY", "DJANGO", "DEMO", "ENVIRONMENT", "LOG_LEVEL", "PYTEST", "COV", "GUNICORN", "PYTHONWARNINGS")


def free_port() -> int:
    """Return a port below those the system hands out, so that nobody else is given it before the server takes it."""
    # What pytest-randomly seeds would give the same to every test, and to suites side by side.
    chance = SystemRandom()
    while True:
        port = chance.randrange(10_000, 32_768)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def environment(**variables: str) -> dict[str, str]:
    """Return this process's environment without what would configure the server under test."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_FROM_OUTSIDE)}
    return {**kept, "PYTHONPATH": str(ROOT), **variables}


READY = 'print("ready", flush=True); sys.stdin.readline()'
"""In the code of a process of those that `go_together`: it waits here for the others."""


def go_together(processes: list[subprocess.Popen[bytes]]) -> None:
    """Let these processes go on once all of them are ready."""
    assert [one.stdout.readline() for one in processes if one.stdout] == [b"ready\n"] * len(processes)
    for one in processes:
        assert one.stdin
        one.stdin.write(b"\n")
        one.stdin.flush()


class Process:
    """
    A process of Python with arguments, whose output is kept line by line.

    Attributes:
        out: What it wrote to standard output.
        err: What it wrote to standard error.
    """

    def __init__(self, *arguments: str, stdout: int = subprocess.PIPE, **variables: str) -> None:
        self.out: list[str] = []
        self.err: list[str] = []
        self.popen = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=environment(**variables),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        pipes = ((self.popen.stdout, self.out), (self.popen.stderr, self.err))
        self._readers = [self._reader(pipe, kept) for pipe, kept in pipes if pipe]

    @staticmethod
    def _reader(stream: IO[str], kept: list[str]) -> threading.Thread:
        def read() -> None:
            with stream:
                for line in stream:
                    kept.append(line.rstrip("\n"))

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        return reader

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> int:
        """Ask the process to end, and return its exit code once all it wrote is read."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
        return self.ended()

    def ended(self) -> int:
        """Wait for the end of the process, its children and their output; return the exit code."""
        try:
            code = self.popen.wait(DEADLINE_S)
            for reader in self._readers:
                reader.join(DEADLINE_S)
        finally:
            self._kill_group()
        return code

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What was written, each line of which must be a JSON object on standard output."""
        assert self.err == [], "\n".join(self.err)
        lines = [json.loads(line) for line in self.out]
        assert all(isinstance(line, dict) for line in lines)
        return lines

    def of_request(self, request_id: str | None, logger: str = "crm_monitoring.requests") -> list[dict[str, Any]]:
        """Return the lines of this request, once `logger` has written one."""

        def found() -> list[dict[str, Any]]:
            return [line for line in self.lines if line.get("request_id") == request_id]

        wait_for(lambda: any(line["logger"] == logger for line in found()), f"line of request {request_id}")
        return found()


class Server(Process):
    """A process that serves HTTP on `port` of the loopback interface."""

    def __init__(self, *arguments: str, port: int, stdout: int = subprocess.PIPE, **variables: str) -> None:
        self.port = port
        super().__init__(*arguments, stdout=stdout, **variables)
        try:
            wait_for(self._serves, f"server: {' '.join(arguments)}")
        except BaseException:
            self.stop()
            raise

    def _serves(self) -> bool:
        assert self.popen.poll() is None, "\n".join(self.out + self.err)
        try:
            return self.get("/health/live").status == 200
        except (OSError, http.client.HTTPException):
            return False

    def get(self, path: str, **headers: str) -> Answer:
        with self.asked(path, **headers) as connection, http.client.HTTPResponse(connection) as response:
            response.begin()
            return Answer(response.status, ResponseHeaders(dict(response.getheaders())), response.read())

    def asked(self, path: str, **headers: str) -> socket.socket:
        """Return a connection on which `path` was asked for."""
        # By hand, for the SDK of the tests' own process would add its headers to those of http.client.
        lines = {"Host": f"127.0.0.1:{self.port}", "Connection": "close", **headers}
        head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items())
        connection = socket.create_connection(("127.0.0.1", self.port), DEADLINE_S)
        connection.sendall(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode())
        return connection
