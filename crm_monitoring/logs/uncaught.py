"""
Exceptions that nobody catches, as lines of ours rather than bare tracebacks.

Python prints them itself: of the process, of a thread, of a child of `multiprocessing`. A hook of the project's own stays.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any

from crm_monitoring import process
from crm_monitoring.faults import guarded
from crm_monitoring.logs.lines import is_structured
from crm_monitoring.logs.logger import get_logger

logger = get_logger("crm_monitoring.uncaught")

_IN_CHILD = "_crm_monitoring_run"


def watch() -> list[Callable[[], object]]:
    """Let lines tell of what nobody catches; returns what undoes it."""
    _follow_multiprocessing()
    process.after_fork(_follow_multiprocessing)
    undo: list[Callable[[], object]] = []
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _tell
        undo.append(partial(_put_back, sys, _tell, sys.__excepthook__))
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _tell_of_thread
        undo.append(partial(_put_back, threading, _tell_of_thread, threading.__excepthook__))
    return undo


def _put_back(module: Any, ours: Any, before: Any) -> None:
    # Who has wrapped ours meanwhile, as the SDK does, goes on calling it.
    if module.excepthook is ours:
        module.excepthook = before


def _tell(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if isinstance(error, KeyboardInterrupt) or not _is_told(error):
        sys.__excepthook__(kind, error, traceback)


def _tell_of_thread(about: threading.ExceptHookArgs) -> None:
    error = about.exc_value
    thread = about.thread.name if about.thread is not None else None
    if about.exc_type is not SystemExit and (error is None or not _is_told(error, thread=thread)):
        threading.__excepthook__(about)


@guarded
def _is_told(error: BaseException, **where: Any) -> bool:
    if not is_structured():
        return False
    logger.critical("uncaught_exception", exc_info=error, **where)
    return True


# -- children of multiprocessing ------------------------------------------------------------------------------------------


def _follow_multiprocessing() -> None:
    util = sys.modules.get("multiprocessing.util")
    if util is not None and not getattr(util, _IN_CHILD, False):
        setattr(util, _IN_CHILD, True)
        # Its children call this as they begin.
        util.register_after_fork(logger, watch_child)


def watch_child(_: object = None) -> None:
    """Let a line tell of what nobody catches in this child; called as it begins, before it runs."""
    child: Any = sys.modules["multiprocessing.process"].current_process()
    child.run = partial(_run, child.run, child.name)


def _run(run: Callable[[], object], name: str) -> None:
    try:
        run()
    except Exception as error:
        if not _is_told(error, process=name):
            raise
        process.crash(error)
        # multiprocessing's own status for it, without its traceback.
        sys.exit(1)
