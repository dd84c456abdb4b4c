"""Each library has one wing that imports it, and nothing here stands on what a library keeps to itself."""

from __future__ import annotations

import ast

import pytest

from tests.architecture.house import MODULES, NAME, Module, defined, is_private, private, room

WINGS = {
    "apscheduler": {"integrations"},
    "celery": {"integrations"},
    "channels": {"integrations"},
    "django_q": {"integrations"},
    "django_structlog": {
        "integrations",
        "middleware",  # it is a middleware of django-structlog, so that its settings and signals count
    },
    "django_tasks": {"integrations"},
    "dramatiq": {"integrations"},
    "huey": {"integrations"},
    "orjson": {
        "rendering",
        "dashboard",
        "sentry",
    },
    "pytest": {"pytest_plugin"},
    "sentry_sdk": {"sentry"},
    "rq": {"integrations"},
    "structlog": {"logs"},
    "urllib3": {"dashboard"},
}
"""Who imports a library, and where it is more than one wing, why."""

PRIVATE = {
    "_AUTO_ENABLING_INTEGRATIONS": "sentry_sdk imports all of them to see which there are; absent, none is enabled by itself",
    "_INTEGRATION_DEACTIVATES": "which of them repeat others; absent, both tell",
    "_called_from_command_line": "a command cannot tell otherwise whether its end is that of the process; absent, it is not",
    "_default_manager": "Django documents it, for models of others",
    "_getframe": "Python documents it; every log line looks for its caller, and `inspect` would read the source for it",
    "_logger": "structlog documents it for bound loggers of one's own, as ours is",
    "_meta": "Django documents it",
    "_processors": "structlog documents it for bound loggers of one's own",
    "_proxy_to_logger": "structlog documents it for bound loggers of one's own",
    "_replace": "Python documents it, for named tuples",
}
"""Names that libraries keep to themselves, and why we use each."""

MOST_GLOBALS = 23


def test_each_library_has_its_wing() -> None:
    wings: dict[str, set[str]] = {}
    for module in MODULES.values():
        for library in module.libraries:
            wings.setdefault(library, set()).add(room(module.name))

    assert wings == WINGS


def test_no_private_name_of_a_library_is_used_without_a_reason() -> None:
    own = {name for module in MODULES.values() for name in defined(module)}
    used = {name for module in MODULES.values() for name in private(module)}

    assert used - own == PRIVATE.keys()


def test_no_module_imports_a_private_name_of_another() -> None:
    taken = {
        f"{module.name} -> {name}"
        for module in MODULES.values()
        for name in module.imports
        if name.startswith(NAME) and any(is_private(part) for part in name.split("."))
    }

    assert taken == set()


def test_one_module_configures_structlog() -> None:
    configuring = {
        module.name
        for module in MODULES.values()
        for node in module.nodes
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "structlog.configure"
    }

    assert configuring == {"logs.setup"}


def test_few_functions_change_what_is_global() -> None:
    changing = [node for module in MODULES.values() for node in module.nodes if isinstance(node, ast.Global)]

    assert len(changing) <= MOST_GLOBALS


@pytest.mark.parametrize(
    ("source", "used"),
    [
        ("from sentry_sdk._types import Event", {"_types"}),
        ("import asgiref._local", {"_local"}),
        ("from structlog import _config", {"_config"}),
        ("client._flush()", {"_flush"}),
        ("getattr(client, '_flush')", {"_flush"}),
        ("def f(self): return self._logger", {"_logger"}),
        (
            "def f(self): self._own = 1\n\nclass A:\n    _other: int\n    __slots__ = ('_third',)\n\nobject.__new__(a._own)",
            set(),
        ),
    ],
)
def test_a_private_name_is_seen_however_it_is_reached(source: str, used: set[str]) -> None:
    module = Module("one", source)

    assert set(private(module)) - set(defined(module)) == used
