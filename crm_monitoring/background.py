"""
One thread for what has to happen in time though nobody comes by: it starts with the first thing that waits, and ends when none does.

A process with nothing to say has no thread. What waits when the process ends is for the end of the process: see `process.at_end`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import Context
from math import inf
from time import monotonic

from crm_monitoring import process
from crm_monitoring.registry import Registry

Tick = Callable[[], float | None]


class Background:
    """
    Whoever has to be asked, and the thread that asks. `background` is this process's.

    Args:
        name: What the thread is called.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._ticks = Registry[[], float | None]("In the background:")
        self.start_over()

    def start_over(self) -> None:
        """Be without a thread, as in a forked child."""
        # Reentrant: a finaliser may have something to say while its own thread is in here.
        self._lock = threading.RLock()
        self._changed = threading.Event()
        self._due = inf
        self._is_running = False

    def add(self, tick: Tick) -> None:
        """
        Call `tick` from the thread when something wakes it.

        It does what is due, and returns the seconds until it wants to be called again, None where nothing of its waits.
        """
        self._ticks.add(tick)

    def remove(self, tick: Tick) -> None:
        """Take away what was added by `add`; where nothing else waits the thread ends."""
        self._ticks.remove(tick)
        if self._is_running:
            self.wake(0.0)

    def wakes_within(self, seconds: float) -> bool:
        """Whether everybody is asked in `seconds` at the latest."""
        return monotonic() + seconds >= self._due

    def wake(self, seconds: float) -> None:
        """Have everybody asked in `seconds` at the latest: something waits. It costs next to nothing where they will be sooner."""
        if self.wakes_within(seconds):
            return
        due = monotonic() + seconds
        with self._lock:
            self._due = min(due, self._due)
            self._changed.set()
            if not self._is_running:
                self._start()

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        try:
            # In a context of its own: what it does is part of nobody's request.
            Context().run(thread.start)
        except RuntimeError:
            # An interpreter that ends starts no thread, and then asks at its end.
            self._due = inf
        else:
            self._is_running = True

    def _run(self) -> None:
        while self._wait():
            for _, seconds in self._ticks.results():
                if seconds is not None:
                    self.wake(seconds)

    def _wait(self) -> bool:
        """Wait until somebody is to be asked; returns whether there is anybody."""
        while (left := self._left()) > 0:
            if left == inf:
                return False
            self._changed.wait(left)
        return True

    def _left(self) -> float:
        with self._lock:
            self._changed.clear()
            left = self._due - monotonic()
            if left <= 0:
                self._due = inf
            elif left == inf:
                self._is_running = False
            return left


background = Background("crm_monitoring-background")
add, remove, wake, wakes_within = background.add, background.remove, background.wake, background.wakes_within

process.after_fork(background.start_over)
