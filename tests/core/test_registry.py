from __future__ import annotations

import pytest

from crm_monitoring import faults
from crm_monitoring.registry import Registry


@pytest.fixture
def hooks() -> Registry[[str], str]:
    return Registry("The hook")


def shout(word: str) -> str:
    return word.upper()


def whisper(word: str) -> str:
    return word.lower()


def fail(word: str) -> str:
    raise ValueError(word)


def test_each_is_called_in_the_order_it_was_added(hooks: Registry[[str], str]) -> None:
    hooks.add(whisper)
    hooks.add(shout)

    assert [result for _, result in hooks.results("Word")] == ["word", "WORD"]


def test_adding_one_twice_has_no_effect(hooks: Registry[[str], str]) -> None:
    hooks.add(shout)
    hooks.add(shout)

    assert list(hooks) == [shout]


def test_what_was_removed_is_called_no_more(hooks: Registry[[str], str]) -> None:
    hooks.add(shout)
    hooks.remove(shout)
    hooks.remove(shout)

    assert list(hooks) == []
    assert not hooks


def test_methods_are_equal_where_their_objects_are_one(hooks: Registry[[str], str]) -> None:
    said: list[str] = []
    calls: Registry[[str], None] = Registry("The hook")

    calls.add(said.append)
    calls.add(said.append)
    calls.call("word")
    calls.remove(said.append)

    assert said == ["word"]
    assert not calls


def test_what_is_added_by_a_name_takes_the_place_of_what_had_it(hooks: Registry[[str], str]) -> None:
    hooks.add(whisper, "voice")
    hooks.add(shout, "voice")

    assert list(hooks.results("Word")) == [("voice", "WORD")]


def test_what_was_added_by_a_name_is_removed_by_it(hooks: Registry[[str], str]) -> None:
    hooks.add(whisper, "voice")
    hooks.remove("voice")

    assert not hooks


def test_one_that_fails_is_counted_by_its_name_and_stops_nobody(
    hooks: Registry[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "reraise", False)
    hooks.add(fail)
    hooks.add(shout)

    hooks.call("word")
    results = list(hooks.results("word"))

    assert results == [(fail, None), (shout, "WORD")]
    assert faults.sentences() == ["The hook tests.core.test_registry.fail failed 2 times, last with ValueError."]


def test_who_removes_itself_disturbs_nobody() -> None:
    called: list[str] = []
    calls: Registry[[], None] = Registry("The hook")

    def once() -> None:
        calls.remove(once)
        called.append("once")

    calls.add(once)
    calls.add(lambda: called.append("always"))
    calls.call()
    calls.call()

    assert called == ["once", "always", "always"]
