from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from crm_monitoring.scrubbing.scrubber import Scrubber
from crm_monitoring.scrubbing.tracebacks import TracebackPrinter


@pytest.fixture
def searched() -> list[str]:
    """Every text that was searched for secrets."""
    return []


@pytest.fixture
def printer(searched: list[str]) -> TracebackPrinter:
    scrubber = Scrubber()

    def scrub(text: str) -> str:
        searched.append(text)
        return scrubber.text(text)

    return TracebackPrinter(scrub)


def raised(function: Callable[..., Any], *arguments: Any) -> BaseException:
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - whatever it is
        function(*arguments)
    return caught.value


def as_python(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)).rstrip()


def fails(message: str = "boom") -> None:
    raise ValueError(message)


def recurs(depth: int) -> None:
    if depth:
        recurs(depth - 1)
    fails()


def fails_because(message: str) -> None:
    try:
        fails("first")
    except ValueError as error:
        raise KeyError(message) from error


def fails_while_failing() -> None:
    try:
        fails_because("second")
    except KeyError:
        recurs(10)


def fails_in_group() -> None:
    raise ExceptionGroup("several", [raised(fails), ExceptionGroup("inner", [raised(fails_because, "third")])])  # type: ignore[list-item]


def fails_in_parsing() -> None:
    compile("a = (\n", "orders.py", "exec")


def fails_in_part_of_a_line() -> None:
    orders: dict[str, dict[str, int]] = {"a": {}}
    orders["c"] = {"sum": orders["a"]["x"] + orders["b"]["x"]}


EACH = [fails, fails_while_failing, fails_in_group, fails_in_parsing, fails_in_part_of_a_line]


@pytest.mark.parametrize("failing", EACH)
def test_a_traceback_reads_as_python_prints_it_each_time(
    printer: TracebackPrinter, failing: Callable[[], None]
) -> None:
    error = raised(failing)

    assert [printer.printed(error), printer.printed(error)] == [as_python(error)] * 2


def test_an_error_that_was_never_raised_is_its_last_line(printer: TracebackPrinter) -> None:
    assert printer.printed(ValueError("boom")) == "ValueError: boom"


def test_frames_that_fail_again_are_not_searched_again(printer: TracebackPrinter, searched: list[str]) -> None:
    printer.printed(raised(fails_because, "one"))
    before = len(searched)

    printer.printed(raised(fails_because, "two"))

    assert not [text for text in searched[before:] if 'File "' in text]


def test_what_differs_from_time_to_time_is_searched_each_time(printer: TracebackPrinter) -> None:
    texts = [printer.printed(raised(fails_because, message)) for message in ("password=hunter2", "password=hunter3")]

    assert all(text.endswith("KeyError: 'password=[Filtered]'") for text in texts)


def test_secrets_in_the_source_of_a_frame_are_replaced(printer: TracebackPrinter, tmp_path: Path) -> None:
    error = raised(module(tmp_path, 'def fails(password):\n    raise ValueError\nfails(password="hunter2")\n'))

    printed = [printer.printed(error), printer.printed(error)]

    assert "hunter2" not in "".join(printed)
    assert printed[0] == printed[1]
    assert "password=" in printed[0]


def test_a_secret_of_several_lines_in_a_note_is_replaced_whole(printer: TracebackPrinter) -> None:
    error = raised(fails)
    error.add_note("-----BEGIN RSA PRIVATE KEY-----\nMIIabc\nMIIdef\n-----END RSA PRIVATE KEY-----")

    assert "MII" not in printer.printed(error)


def test_code_that_has_changed_shows_its_new_lines(printer: TracebackPrinter, tmp_path: Path) -> None:
    first = printer.printed(raised(module(tmp_path, "x = 1\nraise ValueError('one')\n")))
    second = printer.printed(raised(module(tmp_path, "y = 2\nraise KeyError( 'longer')\n")))

    assert "raise ValueError('one')" in first and "raise KeyError( 'longer')" in second


def test_what_the_caller_knows_to_be_secret_is_renamed_everywhere(printer: TracebackPrinter) -> None:
    printed = printer.printed(
        raised(fails, "/login/abc/"), lambda text: text.replace("abc", "{token}").replace("fails", "{x}")
    )

    assert printed.endswith("ValueError: /login/{token}/") and "in {x}" in printed
    assert "in fails" in printer.printed(raised(fails))


def test_an_exception_without_text_is_printed_all_the_same(printer: TracebackPrinter) -> None:
    class Hostile:
        def __str__(self) -> str:
            raise ValueError("no text")

    assert "ValueError" in printer.printed(ValueError(Hostile()))


def test_an_exception_that_cannot_be_printed_is_named(printer: TracebackPrinter) -> None:
    class Unprintable(Exception):
        @property
        def __cause__(self) -> Any:
            raise ValueError

    assert "Unprintable" in printer.printed(Unprintable("x"))


def test_of_too_many_frames_the_first_are_searched_again(
    printer: TracebackPrinter, searched: list[str], tmp_path: Path
) -> None:
    lines = [f"def f{number}(): raise ValueError" for number in range(1100)]
    made = vars(imported(tmp_path, "\n".join(lines)))
    for number in range(1100):
        printer.printed(raised(made[f"f{number}"]))
    searched.clear()

    printer.printed(raised(made["f0"]))

    assert any("in f0" in text for text in searched)


def module(folder: Path, source: str) -> Callable[[], ModuleType]:
    return lambda: imported(folder, source)


def imported(folder: Path, source: str) -> ModuleType:
    """Return a module with this source, which another of the same file may have had."""
    path = folder / "orders.py"
    path.write_text(source)
    made = ModuleType("orders")
    exec(compile(source, path, "exec"), vars(made))  # noqa: S102 - the code of the test
    return made
