"""
Asks callgrind, from inside the process it runs, to count the instructions of a part.

Valgrind takes such requests by a sequence of instructions that does nothing on a real processor (valgrind.h). Python has no
word for it, so it is a function made of these bytes.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterator
from contextlib import contextmanager

_BASE = (ord("C") << 24) + (ord("T") << 16)
_ZERO_STATS = _BASE + 1
_DUMP_STATS_AT = _BASE + 3
_START_INSTRUMENTATION = _BASE + 4
_STOP_INSTRUMENTATION = _BASE + 5

# mov rax, rdi; xor edx, edx; rol rdi by 3, 13, 61 and 51; xchg rbx, rbx; mov rax, rdx; ret
_REQUEST = bytes.fromhex("4889f8 31d2 48c1c703 48c1c70d 48c1c73d 48c1c733 4887db 4889d0 c3")

_memory = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
_memory.write(_REQUEST)
_call = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p)(ctypes.addressof(ctypes.c_char.from_buffer(_memory)))


def _ask(request: int, argument: int = 0) -> None:
    words = (ctypes.c_uint64 * 6)(request, argument)
    _call(ctypes.addressof(words))


@contextmanager
def counting(name: str) -> Iterator[None]:
    """Have the instructions of the block written to a file of callgrind's, under `name`."""
    label = ctypes.create_string_buffer(name.encode())
    _ask(_START_INSTRUMENTATION)
    _ask(_ZERO_STATS)
    yield
    _ask(_DUMP_STATS_AT, ctypes.addressof(label))
    _ask(_STOP_INSTRUMENTATION)
