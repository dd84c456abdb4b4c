from __future__ import annotations

import inspect

import pytest

import crm_monitoring

CONTRACT = [
    "OperationRecord",
    "PerformanceMonitor",
    "RequestRecord",
    "add_breadcrumb",
    "capture_exception",
    "capture_message",
    "check_monitoring_health",
    "current_monitor",
    "get_logger",
    "get_traces_sample_rate",
    "init_sentry",
    "init_structured_logging",
    "monitored",
    "set_tag",
    "set_transaction_context",
    "set_user_context",
    "unit_of_work",
    "unmonitored",
]


def test_the_public_names_are_the_contract() -> None:
    assert crm_monitoring.__all__ == CONTRACT


def test_star_import_gives_what_is_promised() -> None:
    names: dict[str, object] = {}

    exec("from crm_monitoring import *", names)

    assert sorted(names.keys() - {"__builtins__"}) == CONTRACT


@pytest.mark.parametrize("name", CONTRACT)
def test_a_public_name_says_what_it_does(name: str) -> None:
    documented = inspect.getdoc(getattr(crm_monitoring, name))

    assert documented
    assert documented.splitlines()[0].rstrip().endswith((".", "?", ":"))


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("add_breadcrumb", ["message", "category", "level", "data"]),
        ("capture_exception", ["exc", "extra", "tags", "level"]),
        ("capture_message", ["message", "level", "extra", "tags"]),
        ("set_user_context", ["user_id", "email", "username", "extra"]),
        ("set_transaction_context", ["name", "operation"]),
        ("set_tag", ["key", "value"]),
        ("PerformanceMonitor", ["name", "operation", "slow_ms", "tags"]),
        ("unit_of_work", ["name", "kind", "fields"]),
        ("monitored", ["name", "operation", "slow_ms", "tags"]),
        ("get_logger", ["name"]),
    ],
)
def test_the_parameters_are_those_of_the_guide(name: str, parameters: list[str]) -> None:
    assert list(inspect.signature(getattr(crm_monitoring, name)).parameters) == parameters
