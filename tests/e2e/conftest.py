from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from typing import NamedTuple

import pytest

from tests.e2e.processes import Process, Server
from tests.e2e.receiver import Receiver
from tests.e2e.servers import COMMANDS, serve


class Site(NamedTuple):
    """A server, and where its events go."""

    server: Server
    receiver: Receiver


@pytest.fixture(scope="session")
def variables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a production server of the demo has in its environment; the database exists."""
    folder = tmp_path_factory.mktemp("e2e")
    variables = {
        "DEMO_DATABASE": str(folder / "demo.sqlite3"),
        "DEMO_DEBUG": "false",
        # Every request is traced there.
        "ENVIRONMENT": "development",
        "SENTRY_RELEASE": "crm@1.2.3",
    }
    migration = Process("manage.py", "migrate", "--verbosity=0", **variables)
    assert migration.ended() == 0, migration.err
    return variables


@pytest.fixture(scope="session")
def site(variables: dict[str, str]) -> Iterator[Callable[[str], Site]]:
    """Return the running site of that server; each is started once."""
    with ExitStack() as running:

        @cache
        def site(kind: str) -> Site:
            receiver = running.enter_context(Receiver())
            server = serve(COMMANDS[kind], SENTRY_DSN=receiver.dsn, **variables)
            return Site(running.enter_context(server), receiver)

        yield site


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver
