"""The shortcuts around costly parts of the SDK: what is sent is the same without them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import sentry_sdk

from crm_monitoring.sentry import tuning
from crm_monitoring.sentry.transport import MemoryTransport

_OF_THE_MOMENT = re.compile(
    r'"[0-9a-f]{16}(?:[0-9a-f]{16})?"|[0-9a-f-]{36}|\d{4}-\d\d-\d\dT[0-9:.]+Z|0x[0-9a-f]+|\d{12,}|\d+\.\d+'
)
BODY = b'{"name": "ada", "password": "hunter2", "rows": [[1, 2.5, null], {"deep": {"er": [true]}}]}'


def sent(site: Any, monitoring: Any, rate: float, on: frozenset[str], monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the same requests send, without what differs from one time to the next."""
    monkeypatch.setattr(tuning, "on", on)
    transport = MemoryTransport()
    monitoring(TRACES_SAMPLE_RATE=rate, SENTRY_OPTIONS={"transport": transport}, SENTRY_RELEASE="1.0")
    for method, path, body in (("GET", "/ok/", b""), ("POST", "/fails/", BODY), ("GET", "/queries/2/", b"")):
        site.request(method, path, body=body, headers={"content-type": "application/json"})
    sentry_sdk.flush()
    payloads = [
        [item.type, json.loads(item.get_bytes())] for envelope in transport.envelopes for item in envelope.items
    ]
    return [_OF_THE_MOMENT.sub("...", json.dumps(payload, sort_keys=True)) for payload in payloads]


@pytest.mark.django_db
@pytest.mark.parametrize("rate", [0.0, 1.0])
@pytest.mark.parametrize("shortcut", sorted(tuning.SHORTCUTS))
@pytest.mark.parametrize("interface", ["wsgi", "asgi"])
def test_without_a_shortcut_the_same_is_sent(
    request: pytest.FixtureRequest,
    monitoring: Any,
    interface: str,
    shortcut: str,
    rate: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = request.getfixturevalue(interface)

    with_it = sent(site, monitoring, rate, tuning.SHORTCUTS, monkeypatch)
    without_it = sent(site, monitoring, rate, tuning.SHORTCUTS - {shortcut}, monkeypatch)

    assert len(with_it) >= 1
    assert without_it == with_it
