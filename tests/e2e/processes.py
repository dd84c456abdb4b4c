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
from pathlib import Path
from typing import IO, Any

from tests.clients import Answer
from tests.e2e.waiting import DEADLINE_S, wait_for
from django.http.response import ResponseHeaders

ROOT = Path(__file__).resolve().parents[2]
_FROM_OUTSIDE = ("SENTRY", "DJANGO", "DEMO", "ENVIRONMENT", "LOG_LEVEL", "PYTEST", "COV", "GUNICORN", "PYTHONWARNINGS")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(**variables: str) -> dict[str, str]:
    """Return this process's environment without what would configure the server under test."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_FROM_OUTSIDE)}
    return {**kept, "PYTHONPATH": str(ROOT), **variables}


class Process:
    """
    A process of Python with arguments, whose output is kept line by line.

    Attributes:
        out: What it wrote to standard output.
        err: What it wrote to standard error.
    """

    def __init__(self, *arguments: str, **variables: str) -> None:
        self.out: list[str] = []
        self.err: list[str] = []
        self.popen = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=environment(**variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._readers = [self._reader(self.popen.stdout, self.out), self._reader(self.popen.stderr, self.err)]

    @staticmethod
    def _reader(stream: IO[str] | None, kept: list[str]) -> threading.Thread:
        def read() -> None:
            for line in stream or ():
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
        try:
            os.killpg(self.popen.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What was written, each line of which must be a JSON object on standard output."""
        assert self.err == []
        lines = [json.loads(line) for line in self.out]
        assert all(isinstance(line, dict) for line in lines)
        return lines

    def of_request(self, request_id: str | None) -> list[dict[str, Any]]:
        """Return the lines of this request, once its last has come."""

        def found() -> list[dict[str, Any]]:
            return [line for line in self.lines if line.get("request_id") == request_id]

        wait_for(lambda: any(line["event"] in CONCLUSIONS for line in found()), f"line of request {request_id}")
        return found()


CONCLUSIONS = ("request_finished", "request_failed")


class Server(Process):
    """A process that serves HTTP on `port` of the loopback interface."""

    def __init__(self, *arguments: str, port: int, **variables: str) -> None:
        self.port = port
        super().__init__(*arguments, **variables)
        try:
            wait_for(self._serves, f"server: {' '.join(arguments)}")
        except BaseException:
            self.stop()
            raise

    def _serves(self) -> bool:
        assert self.popen.poll() is None, "\n".join(self.out + self.err)
        try:
            return self.get("/health/live").status == 200
        except OSError:
            return False

    def get(self, path: str, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        try:
            connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
            response = connection.getresponse()
            return Answer(response.status, ResponseHeaders(dict(response.getheaders())), response.read())
        finally:
            connection.close()
