"""Values of the host that misbehave when they are read."""

from __future__ import annotations

import signal


def is_of_value(error: BaseException) -> bool:
    """
    Whether what a foreign value's own code has raised is the failure of that value, and ends there.

    That is any exception, and an exit, unless a handler of a signal has raised it: a server ends its workers so.
    """
    return isinstance(error, Exception) or (isinstance(error, SystemExit) and not _is_by_signal(error))


def _is_by_signal(error: BaseException) -> bool:
    handlers = {getattr(signal.getsignal(number), "__code__", None) for number in signal.valid_signals()}
    step = error.__traceback__
    while step is not None and step.tb_frame.f_code not in handlers:
        step = step.tb_next
    return step is not None
