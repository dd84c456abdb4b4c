"""The lines of code around each frame of an event."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import sentry_sdk

from crm_monitoring import capture_exception
from tests.clients import WSGIClient
from tests.conftest import MemoryTransport

CODE = "\n".join([*(f"# {number}" for number in range(1, 9)), "def fail():", "    raise ValueError", "", "# the end"])


def raised(function: Any) -> Exception:
    try:
        function()
    except Exception as error:
        return error
    raise AssertionError("It has not failed.")


def innermost_frame(event: Any) -> Any:
    return event["exception"]["values"][-1]["stacktrace"]["frames"][-1]


def around(frame: Any) -> tuple[Any, Any, Any]:
    return frame.get("pre_context"), frame.get("context_line"), frame.get("post_context")


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module of the code, imported from a file."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "failing_code.py").write_text(CODE)
    yield importlib.import_module("failing_code")
    del sys.modules["failing_code"]


def test_a_frame_has_its_line_and_five_before_and_after(module: Any, sentry: MemoryTransport) -> None:
    capture_exception(raised(module.fail))

    before = ["# 5", "# 6", "# 7", "# 8", "def fail():"]
    assert around(innermost_frame(sentry.events[0])) == (before, "    raise ValueError", ["", "# the end"])


@pytest.mark.parametrize("path", ["/fails/", "/failure/raised_through_three_layers/"])
def test_they_are_the_lines_that_the_sdk_would_add(
    wsgi: WSGIClient, monitoring: Any, transport: MemoryTransport, path: str
) -> None:
    frames = []
    for options in ({}, {"include_source_context": True}):
        monitoring(SENTRY_OPTIONS={"transport": transport, **options})
        wsgi.get(path)
        frames.append(transport.events[-1]["exception"]["values"][-1]["stacktrace"]["frames"])

    assert [around(frame) for frame in frames[0]] == [around(frame) for frame in frames[1]]
    assert any(frame["context_line"] for frame in frames[0])


def test_a_project_may_leave_them_out(wsgi: WSGIClient, monitoring: Any, transport: MemoryTransport) -> None:
    monitoring(SENTRY_OPTIONS={"transport": transport, "include_source_context": False})

    wsgi.get("/fails/")

    assert around(innermost_frame(transport.events[0])) == (None, None, None)


def test_a_frame_that_comes_with_its_lines_keeps_them(sentry: MemoryTransport) -> None:
    frame = {"abs_path": __file__, "lineno": 1, "context_line": "given"}
    event: Any = {"exception": {"values": [{"type": "Odd", "stacktrace": {"frames": [frame]}}]}}

    sentry_sdk.capture_event(event)

    assert around(innermost_frame(sentry.events[0])) == (None, "given", None)


def test_a_file_that_has_changed_is_read_again(module: Any, tmp_path: Path, sentry: MemoryTransport) -> None:
    capture_exception(raised(module.fail))
    (tmp_path / "failing_code.py").write_text(CODE.replace("ValueError", "ValueError  # changed"))
    capture_exception(raised(module.fail))

    assert [innermost_frame(event)["context_line"] for event in sentry.events] == [
        "    raise ValueError",
        "    raise ValueError  # changed",
    ]


def test_a_file_that_has_become_shorter_has_no_such_line(module: Any, tmp_path: Path, sentry: MemoryTransport) -> None:
    (tmp_path / "failing_code.py").write_text("# all gone")

    capture_exception(raised(module.fail))

    assert around(innermost_frame(sentry.events[0])) == (None, None, None)


def test_code_that_was_never_in_a_file_has_no_lines(sentry: MemoryTransport) -> None:
    # The module that it says it belongs to has lines of its own.
    names = {"__name__": __name__, "__loader__": __loader__}
    exec(compile(CODE, "<string>", "exec"), names)  # noqa: S102 - a constant

    capture_exception(raised(names["fail"]))

    assert around(innermost_frame(sentry.events[0])) == (None, None, None)


def test_lines_of_a_module_in_a_zip_file_are_read_by_its_loader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sentry: MemoryTransport
) -> None:
    with ZipFile(tmp_path / "packed.zip", "w") as packed:
        packed.writestr("packed_code.py", CODE)
    monkeypatch.syspath_prepend(tmp_path / "packed.zip")
    module = importlib.import_module("packed_code")

    capture_exception(raised(module.fail))
    del sys.modules["packed_code"]

    assert innermost_frame(sentry.events[0])["context_line"] == "    raise ValueError"
