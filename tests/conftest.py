from __future__ import annotations

import os
import pkgutil
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextvars import copy_context
from functools import wraps
from importlib import import_module
from types import ModuleType
from typing import Any, NoReturn

import hypothesis
import orjson
import pytest
import sentry_sdk
import structlog
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started, setting_changed
from django.db import close_old_connections
from sentry_sdk import integrations

from crm_monitoring import conf, faults, hooks, scrubbing, work
from crm_monitoring.dashboard import apps as dashboard
from crm_monitoring.hooks import Record
from crm_monitoring.sentry.transport import MemoryTransport
from tests import version3
from tests.clients import ASGIClient, WSGIClient

# CPUs are shared, and a run that fails fails again.
hypothesis.settings.register_profile(
    "crm_monitoring", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("crm_monitoring")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    version3.skip_what_is_gone(items)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Keep the tests that run by default quick: what starts a process carries the mark that deselects it."""
    if item.get_closest_marker("processes") or item.get_closest_marker("browser"):
        return (yield)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fork", _refused)
        patch.setattr(subprocess.Popen, "__init__", _refused)
        return (yield)


def _refused(*_: object, **__: object) -> NoReturn:
    pytest.fail("A test that forks or starts a process is marked with pytest.mark.processes")


class _NotFound(integrations.DidNotEnable, AttributeError):
    """What the SDK expects of such an integration, and whoever looks through all modules of any other."""


class _Missing(ModuleType):
    """An integration whose library is not installed."""

    def __getattr__(self, name: str) -> NoReturn:
        raise _NotFound(f"The library of {self.__name__} is not installed")


@pytest.fixture(autouse=True, scope="session")
def _missing_libraries_are_looked_for_once() -> None:
    """Python remembers no import that failed, and at every start the SDK tries some thirty: most of what a changed setting costs."""
    names = [found.name for found in pkgutil.iter_modules(integrations.__path__, f"{integrations.__name__}.")]
    sys.modules.update({name: _Missing(name) for name in names if not _is_found(name)})


def _is_found(integration: str) -> bool:
    try:
        import_module(integration)
    except integrations.DidNotEnable:
        return False
    return True


class Lines:
    """The lines on standard output, each of which must be JSON."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._lines: list[dict[str, Any]] = []

    def all(self) -> list[dict[str, Any]]:
        captured = self._capsys.readouterr()
        assert captured.err == ""
        self._lines += [orjson.loads(line) for line in captured.out.split("\n") if line]
        return self._lines

    def named(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.all() if line["event"] == event]

    def one(self, event: str) -> dict[str, Any]:
        (line,) = self.named(event)
        return line


@pytest.fixture(autouse=True)
def _connections_stay_open() -> None:
    """Between two requests of a test its database stays. Django's own test Client does the same, and undoes it after each."""
    request_started.disconnect(close_old_connections)
    request_finished.disconnect(close_old_connections)


@pytest.fixture(autouse=True)
def _without_dashboard() -> None:
    """The core is alone; tests/dashboard connects the dashboard again."""
    dashboard.disconnect()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Function) -> None:
    """Let what a test leaves in context variables end with it: what runs now, monitors, languages, time zones."""
    test = item.obj

    @wraps(test)
    def in_a_context_of_its_own(**arguments: object) -> None:
        copy_context().run(test, **arguments)

    item.obj = in_a_context_of_its_own


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    """No state of one test reaches the next, and what production swallows is raised."""
    environment = dict(os.environ)
    faults.reset()
    faults.reraise = True
    # It remembers which texts hold no secret.
    scrubbing.reset()
    work.use(None)
    structlog.contextvars.clear_contextvars()
    with sentry_sdk.isolation_scope() as scope:
        # The current scope is a copy of what surrounds the test, a span that another one has left there included.
        # The global one may hold a propagation context, with the baggage of the first client that has sent something.
        for one in (sentry_sdk.get_global_scope(), scope, sentry_sdk.get_current_scope()):
            one.clear()
        yield
    faults.reraise = False
    if os.environ != environment:
        os.environ.clear()
        os.environ.update(environment)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Generator[None, object, object]:
    """Read the setting again where a variable of the environment has left it other than it is: Django does not tell of those."""
    result = yield
    in_effect = conf.get()
    conf.reset()
    if conf.get() != in_effect:
        setting_changed.send(None, setting="CRM_MONITORING", value=None, enter=False)
    return result


@pytest.fixture
def monitoring(settings: Any) -> Any:
    """Replace keys of CRM_MONITORING: `monitoring(LOG_LEVEL="DEBUG")`. Every call starts from an empty setting."""

    def configure(**keys: Any) -> None:
        settings.CRM_MONITORING = keys

    return configure


@pytest.fixture
def transport() -> MemoryTransport:
    return MemoryTransport()


@pytest.fixture
def sentry(monitoring: Any, transport: MemoryTransport) -> MemoryTransport:
    """Sentry on, everything traced, every envelope kept in memory."""
    monitoring(
        TRACES_SAMPLE_RATE=1.0, SENTRY_RELEASE="1.0", ENVIRONMENT="test", SENTRY_OPTIONS={"transport": transport}
    )
    return transport


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Lines:
    return Lines(capsys)


@pytest.fixture
def records() -> Iterator[list[Record]]:
    """What the hooks are given."""
    kept: list[Record] = []
    hooks.register(kept.append)
    yield kept
    hooks.unregister(kept.append)


@pytest.fixture
def wsgi(settings: Any) -> WSGIClient:
    return WSGIClient(WSGIHandler())


@pytest.fixture
def asgi(settings: Any) -> ASGIClient:
    return ASGIClient(ASGIHandler())


@pytest.fixture(params=["wsgi", "asgi"])
def server(request: pytest.FixtureRequest) -> WSGIClient:
    """The same test through the WSGI and the ASGI application."""
    client: WSGIClient = request.getfixturevalue(request.param)
    return client


__all__ = ["Lines", "MemoryTransport"]
