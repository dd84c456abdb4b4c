"""
The life of this process: who starts over in a forked child, and who does what when the process ends.

It may end by Python's own end, by SIGTERM, or by `os._exit`, as children do that were forked: those of `multiprocessing`, RQ's
work horse, whoever calls `os.fork`. Whoever must act then registers here, once, and need not know of these ways.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable
from enum import IntEnum
from types import FrameType
from typing import NoReturn

from crm_monitoring import faults
from crm_monitoring.registry import Registry

_DEFAULT_SECONDS = 2.0
_LONGER_SECONDS = 0.5
# After the finalizers that have an order of their own, as those of queues.
_LAST = -1000

_exit = os._exit


class Stage(IntEnum):
    """When somebody's turn comes as the process ends."""

    REPORT = 0
    """What is held becomes events."""
    WRITE = 1
    """What was collected is written, those events with it; more can still be sent."""
    CLOSE = 2
    """What waits is sent, and who sends it closes."""
    TELL = 3
    """What was lost is told."""


class Life:
    """What is to be done when a process forks or ends. `life` is this one's."""

    def __init__(self) -> None:
        self._in_child = Registry[[], object]("Starting over in a forked child:")
        self._at_end = {stage: Registry[[], object](f"The end of the process ({stage.name}):") for stage in Stage}
        self._at_crash = Registry[[BaseException], object]("The crash of a child:")
        self._seconds = _DEFAULT_SECONDS
        self._is_ending = False
        self._handled_at_fork: BaseException | None = None
        self._follows_multiprocessing = False

    def after_fork(self, start_over: Callable[[], object]) -> None:
        """
        Call `start_over` in each forked child before anything else runs there, in the order of these calls.

        Another thread may have held any lock when the process forked, the child has one thread only, and what its parent holds is
        the parent's to send.
        """
        self._in_child.add(start_over)

    def at_end(self, callback: Callable[[], object], stage: Stage) -> None:
        """
        Call `callback` when the process ends, whichever way; within a stage in the order of these calls.

        Adding one twice has no effect. It may be called more than once, for there may be more than one sign of the end.
        """
        self._at_end[stage].add(callback)
        # What is registered last runs first: nobody who has registered before closes what our callbacks need.
        atexit.unregister(self.end)
        atexit.register(self.end)
        self._end_on_sigterm()
        self._follow_multiprocessing()

    def at_crash(self, callback: Callable[[BaseException], object]) -> None:
        """Call `callback` with what ends a child, where Python tells nobody of it: `os._exit` in the midst of an exception."""
        self._at_crash.add(callback)

    def crash(self, error: BaseException) -> None:
        """Tell what ends this child; called by whoever keeps it from Python."""
        self._at_crash.call(error)

    def allow(self, seconds: float) -> None:
        """Let an end that somebody waits for, as that by a signal, take `seconds`."""
        self._seconds = seconds

    def start_over(self) -> None:
        """Be a forked child: forget what is the parent's."""
        faults.start_over()
        self._in_child.call()
        self._follow_multiprocessing()

    def begin_child(self) -> None:
        """Start over in a child that was just forked, and be there when it ends."""
        self._is_ending = False
        self._handled_at_fork = sys.exc_info()[1]
        # The way children end, and nothing else tells of it: without this all that a child reports last would be lost with it.
        os._exit = self._exit_child
        self.start_over()

    def end(self) -> None:
        """Do all there is to do when the process ends. Whoever ends it in a way that is not watched here calls this first."""
        self._is_ending = True
        for callbacks in self._at_end.values():
            callbacks.call()

    def _end_on_sigterm(self) -> None:
        """Let a process that nobody taught what to do with SIGTERM do its last before it dies of it, as it would have."""
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._die)

    def _die(self, number: int, frame: FrameType | None) -> None:
        is_done = self._end_in_time()
        signal.signal(number, signal.SIG_DFL)
        # Else what this has interrupted goes on, and ends the process.
        if is_done or not self._is_ending:
            signal.raise_signal(number)

    def _exit_child(self, status: int) -> NoReturn:
        os._exit = _exit
        self._end_child()
        _exit(status)

    def _end_child(self) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, Exception) and error is not self._handled_at_fork:
            self.crash(error)
        if not self._end_in_time():
            self.end()

    def _end_in_time(self) -> bool:
        """Do what there is to do, in bounded time; returns whether that was begun."""
        # In a thread: the main one may have been interrupted while it held a lock.
        ending = threading.Thread(target=self.end, name="crm_monitoring-ending", daemon=True)
        try:
            ending.start()
        except RuntimeError:
            # The interpreter is ending already, or the system has no thread to give.
            return False
        ending.join(self._seconds + _LONGER_SECONDS)
        return True

    def _follow_multiprocessing(self) -> None:
        """Hear of the end of children of `multiprocessing`. Only a process that has imported it has any."""
        util = sys.modules.get("multiprocessing.util")
        if util is None or self._follows_multiprocessing:
            return
        self._follows_multiprocessing = True
        # A child that was forked forgets all finalizers when it begins, and calls this then.
        util.register_after_fork(self, Life._finalize)
        self._finalize()

    def _finalize(self) -> None:
        sys.modules["multiprocessing.util"].Finalize(None, self.end_worker, exitpriority=_LAST)

    def end_worker(self) -> None:
        """Do what a child of `multiprocessing` has to do when it ends; nothing in any other process."""
        # It is called by Python's own end too, which is for whoever has registered with it.
        if sys.modules["multiprocessing.process"].parent_process() is not None:
            self._end_child()


life = Life()
after_fork, at_end, at_crash, allow = life.after_fork, life.at_end, life.at_crash, life.allow
start_over, crash, end = life.start_over, life.crash, life.end

os.register_at_fork(after_in_child=life.begin_child)
