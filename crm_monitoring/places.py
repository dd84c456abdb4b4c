"""Where in the project something happens: the line of a template that runs, else the nearest function of the project's own."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any, NamedTuple

import django

_NOT_OWN = (
    *(os.path.join(sysconfig.get_path(name), "") for name in ("stdlib", "platstdlib", "purelib", "platlib")),
    os.path.join(os.path.dirname(django.__file__), ""),
    os.path.join(os.path.dirname(__file__), ""),
    "<",
)
# What a middleware calls to hand a request on: who only does that did not do what happens further inside.
_HANDED_ON = ("django.core.handlers.exception", "inner")
# Outside of these is no code that does something for the project: servers, manage.py, and in a thread whoever gave it something
# to run for a coroutine. Without the names of other libraries here a place is less telling, nothing worse.
_OUTERMOST = frozenset(
    (
        ("asgiref.sync", "thread_handler"),
        ("django.core.handlers.asgi", "__call__"),
        ("django.core.handlers.wsgi", "__call__"),
        ("django.core.management", "execute_from_command_line"),
    )
)


class TemplateLine(NamedTuple):
    """A line of a template. `path` is its file, or what its loader calls it; `name` is what the project calls it."""

    path: str
    name: str
    number: int


def place(task: Any = None) -> dict[str, Any]:
    """
    Return where the call comes from, by OpenTelemetry's names; empty where it comes from no code of the project.

    Args:
        task: The asyncio task that waits for what runs here, in a thread that knows nothing of its caller.
    """
    return _nearest(_callers(sys._getframe(1))) or _nearest(_awaiting(task))


def _nearest(frames: Iterable[FrameType]) -> dict[str, Any]:
    callee: tuple[Any, str] = (None, "")
    for frame in frames:
        line = template_line(frame)
        if line is not None:
            return {"code.filepath": line.path, "code.lineno": line.number, "code.function": f"template {line.name}"}
        if not frame.f_code.co_filename.startswith(_NOT_OWN) and callee != _HANDED_ON:
            return {
                "code.filepath": frame.f_code.co_filename,
                "code.lineno": frame.f_lineno,
                "code.function": frame.f_code.co_qualname,
            }
        callee = _named(frame)
    return {}


def _callers(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None and _named(frame) not in _OUTERMOST:
        yield frame
        frame = frame.f_back


def _named(frame: FrameType) -> tuple[Any, str]:
    return frame.f_globals.get("__name__"), frame.f_code.co_name


def _awaiting(task: Any) -> list[FrameType]:
    """Return the frames of the coroutines that wait, innermost first."""
    frames = []
    waiting: Any = None if task is None else task.get_coro()
    while (frame := getattr(waiting, "cr_frame", None)) is not None:
        frames.append(frame)
        waiting = waiting.cr_await
    return frames[::-1]


def template_line(frame: FrameType) -> TemplateLine | None:
    """Return the line of the template that `frame` renders, None where it renders none."""
    if not _is_of_templates(frame, "render_annotated"):
        return None
    node = frame.f_locals.get("self")
    return _line(getattr(node, "origin", None), getattr(node, "token", None))


def compiled_line(frame: FrameType, error: BaseException) -> TemplateLine | None:
    """Return the line of the template that `frame` could not compile for `error`, None where it compiles none."""
    if not _is_of_templates(frame, "parse"):
        return None
    return _line(getattr(frame.f_locals.get("self"), "origin", None), getattr(error, "token", None))


def _is_of_templates(frame: FrameType, function: str) -> bool:
    return _named(frame) == ("django.template.base", function)


def _line(origin: Any, token: Any) -> TemplateLine | None:
    if origin is None or token is None:
        return None
    return TemplateLine(str(origin.name), str(origin.template_name or origin.name), token.lineno)
