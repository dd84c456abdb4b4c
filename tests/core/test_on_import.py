from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from crm_monitoring import faults
from crm_monitoring.on_import import when_imported

Library = Callable[..., str]


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Library]:
    """Makes modules that can be imported, and forgets them."""
    made: list[str] = []

    def make(name: str, code: str = "value = 1") -> str:
        (tmp_path / f"{name}.py").write_text(code)
        importlib.invalidate_caches()
        made.append(name)
        return name

    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield make
    for name in made:
        sys.modules.pop(name, None)


def test_a_callback_is_called_once_the_library_has_run(library: Library) -> None:
    name = library("awaited_one")
    seen: list[object] = []
    when_imported(name, lambda: seen.append(sys.modules[name].value))  # type: ignore[attr-defined]
    assert seen == []

    importlib.import_module(name)
    importlib.reload(sys.modules[name])

    assert seen == [1]


def test_what_is_imported_already_is_told_at_once() -> None:
    seen: list[str] = []

    when_imported("sys", lambda: seen.append("now"))

    assert seen == ["now"]


def test_waiting_twice_for_the_same_has_no_effect(library: Library) -> None:
    name, seen = library("awaited_two"), list[str]()

    def callback() -> None:
        seen.append("once")

    when_imported(name, callback)
    when_imported(name, callback)

    importlib.import_module(name)

    assert seen == ["once"]


def test_a_callback_that_raises_lets_the_import_go_on(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "reraise", False)
    name = library("awaited_three")

    def fail() -> None:
        raise ValueError

    when_imported(name, fail)

    assert importlib.import_module(name).value == 1
    assert faults.sentences() == ["fail failed 1 time, last with ValueError."]


def test_a_library_that_is_not_there_is_missing_as_ever() -> None:
    when_imported("no_such_library", print)

    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("no_such_library")


def test_a_library_that_fails_fails_as_ever(library: Library) -> None:
    name, seen = library("awaited_four", "raise RuntimeError('broken')"), list[str]()
    when_imported(name, lambda: seen.append("imported"))

    with pytest.raises(RuntimeError):
        importlib.import_module(name)

    assert seen == []


def test_to_look_for_a_library_or_to_fail_to_import_it_is_not_to_have_imported_it(
    library: Library, tmp_path: Path
) -> None:
    name = library("awaited_and_looked_for", "raise ImportError('not yet')")
    seen: list[str] = []
    when_imported(name, lambda: seen.append("imported"))

    assert find_spec(name) is not None
    with pytest.raises(ImportError, match="not yet"):
        importlib.import_module(name)
    assert seen == []
    library(name, "value = 'a longer one, for Python looks at the size'")
    importlib.import_module(name)

    assert seen == ["imported"]
