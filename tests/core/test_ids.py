"""Ids come from the system's randomness: nothing that a host does with `random` repeats them."""

from __future__ import annotations

import os
import random
import re
import time

import pytest

from crm_monitoring import ids
from tests.clients import WSGIClient


def test_an_id_is_32_hexadecimal_digits() -> None:
    assert re.fullmatch("[0-9a-f]{32}", ids.new_id())


def test_an_id_says_when_it_was_made_and_one_of_somebody_elses_does_not() -> None:
    moment = ids.moment_of(ids.new_id())

    assert moment is not None and abs(moment - time.time()) < 5
    for other in ("", "from-nginx", "0" * 32, "f" * 32, f"{int(time.time() * 1000) + 90_000:012x}{'0' * 20}"):
        assert ids.moment_of(other) is None


def test_a_host_that_seeds_its_randomness_repeats_no_id(wsgi: WSGIClient) -> None:
    def served() -> str:
        random.seed(1)
        return wsgi.get("/ok/").headers["X-Request-ID"]

    assert served() != served()


@pytest.mark.processes
def test_a_forked_child_makes_ids_of_its_own() -> None:
    reading, writing = os.pipe()

    pid = os.fork()
    if pid == 0:  # pragma: no cover - measured in the parent
        os.write(writing, ids.new_id().encode())
        os._exit(0)
    os.waitpid(pid, 0)

    assert os.read(reading, 64).decode() != ids.new_id()
    os.close(reading)
    os.close(writing)
