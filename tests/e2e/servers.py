"""The servers people run Django with, as commands."""

from __future__ import annotations

import subprocess

from tests.e2e.processes import Server, free_port

GUNICORN = (
    *("-m", "gunicorn", "-c", "demo_project/gunicorn.conf.py", "--no-control-socket"),
    # A worker that is stopped in the instant it is forked misses the signal, and gunicorn waits so long for it.
    *("--graceful-timeout", "5"),
)
UVICORN = ("-m", "uvicorn", "--log-config", "demo_project/uvicorn_logging.json")

COMMANDS = {
    "gunicorn sync": (*GUNICORN, "-w", "2"),
    "gunicorn gthread preload": (*GUNICORN, "-w", "2", "--threads", "2", "--preload"),
    "uvicorn": UVICORN,
    "uvicorn workers": (*UVICORN, "--workers", "2"),
}


def serve(
    command: tuple[str, ...], project: str = "demo_project", stdout: int = subprocess.PIPE, **variables: str
) -> Server:
    """Start the server of `command` with the project's application on a free port."""
    port = free_port()
    if "gunicorn" in command:
        arguments = (*command, "-b", f"127.0.0.1:{port}", f"{project}.wsgi")
    else:
        arguments = (*command, "--port", str(port), f"{project}.asgi:application")
    return Server(*arguments, port=port, stdout=stdout, **variables)
