"""
Tracebacks as Python prints them, without secrets.

Python parses the source of each frame anew, to mark what failed in its line, and a long text is searched for secrets: together that
is the dearest part of a failure's line. The same code fails again and again, so the text of each frame is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import groupby
from traceback import FrameSummary, StackSummary, TracebackException
from typing import Any

from crm_monitoring.rendering import simple

_MAX_KEPT = 1024

Key = tuple[Any, ...]


class TracebackPrinter:
    """
    Prints tracebacks. One printer serves all threads.

    Args:
        scrub: Returns a text without its secrets, always the same one.
    """

    def __init__(self, scrub: Callable[[str], str]) -> None:
        self._scrub = scrub
        self._kept: dict[Key, str] = {}

    def printed(self, error: BaseException, renamed: Callable[[str], str] = str) -> str:
        """
        Return the traceback of `error` and of what caused it, without secrets; an error that cannot be printed is named.

        Args:
            renamed: Takes out of a text what only its caller knows to be secret.
        """
        frames: set[str] = set()
        try:
            parts = list(self._parts(error, frames))
        except Exception:
            # Whatever a __str__ of the host's raises.
            parts = [str(simple(error))]
        texts = ((is_frame, renamed("".join(some))) for is_frame, some in groupby(parts, frames.__contains__))
        return "".join(text if is_frame else self._scrub(text) for is_frame, text in texts).rstrip()

    def _parts(self, error: BaseException, frames: set[str]) -> Iterator[str]:
        """Return the text in parts; those that are whole frames have no secrets any more, and are added to `frames`."""
        whole = TracebackException.from_exception(error)
        for one in _chain(whole):
            one.stack = _Frames(one.stack, self._frame, frames)
        return whole.format()

    def _frame(self, key: Key, printed: Callable[[], str]) -> str:
        text = self._kept.get(key)
        if text is None:
            if len(self._kept) >= _MAX_KEPT:
                self._kept.clear()
            text = self._kept[key] = self._scrub(printed())
        return text


def _chain(whole: TracebackException) -> Iterator[TracebackException]:
    waiting: list[TracebackException | None] = [whole]
    while waiting:
        one = waiting.pop()
        if one is not None:
            yield one
            waiting += one.__cause__, one.__context__, *(one.exceptions or ())


class _Frames(StackSummary):
    def __init__(self, frames: Iterable[FrameSummary], kept: Callable[[Key, Callable[[], str]], str], shown: set[str]):
        super().__init__(frames)
        self._kept = kept
        self._shown = shown

    def format_frame_summary(self, frame_summary: FrameSummary, **options: Any) -> str:
        one: Any = frame_summary
        key = (one.filename, one.name, one.line, one.lineno, one.end_lineno, one.colno, one.end_colno)
        text = self._kept(key, partial(super().format_frame_summary, frame_summary, **options))
        self._shown.add(text)
        return text
