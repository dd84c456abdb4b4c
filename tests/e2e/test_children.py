"""A child tells what it has to tell, once, however it was started and however it ends; and nothing of its parent's."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

import pytest

from tests.e2e.children import WAYS
from tests.e2e.processes import Process
from tests.e2e.receiver import Receiver

pytestmark = pytest.mark.processes

# Those that begin as copies of the parent know what it was doing.
COPIES = [way for way in WAYS if "spawn" not in way and "forkserver" not in way]
TOLD = {"child_said": 1, "LookupError": 1, "ValueError": 1}


def title(event: Any) -> str:
    values = (event.get("exception") or {}).get("values")
    return str(values[-1]["type"] if values else event["message"])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("where", ["request", "command", "unit", "neither"])
def test_a_child_tells_what_it_has_to_tell_once(
    receiver: Receiver, variables: dict[str, str], where: str, way: str
) -> None:
    if way == "crash spawn" and sys.version_info >= (3, 13):
        pytest.skip("on Python 3.13 what a spawned child crashes with is its traceback alone")
    with Process("-m", "tests.e2e.children", where, way, SENTRY_DSN=receiver.dsn, **variables) as program:
        code = program.ended()

    events = receiver.payloads("event")
    assert (code, Counter(map(title, events))) == (0, TOLD), program.err
    (failure,) = [event for event in events if title(event) == "LookupError"]
    assert failure["exception"]["values"][-1]["mechanism"]["handled"] is ("crash" not in way)
    if where == "request" and way in COPIES:
        assert len({event["tags"]["request_id"] for event in events}) == 1
    lines = Counter(line["event"] for line in program.lines if line["logger"] != "py.warnings")
    assert lines["request_finished"] == (where == "request")
    assert lines["unit_finished"] == (where == "unit")
    assert lines["events_lost"] == 0
