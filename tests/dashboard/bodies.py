"""Events and transactions to keep, harmless and hostile, and a reader of the pages that show them."""

from __future__ import annotations

from html.parser import HTMLParser
from itertools import count
from typing import Any
from uuid import uuid4

import orjson

from crm_monitoring.dashboard.inbox.grouping import group_of
from crm_monitoring.dashboard.models import Issue, SlowTransaction
from crm_monitoring.dashboard.store import issue_writer
from crm_monitoring.dashboard.store.issue_writer import Occurrence, Slow

START = 1_750_000_000.0
PAYLOAD = """<script>alert(1)</script>"'><img src=x onerror=alert(1)>"""
LINK = "javascript:alert(1)"
ODD: list[Any] = [
    None,
    True,
    0,
    -1.5,
    1e308,
    10**17,
    "",
    "x" * 100_000,
    [],
    [[]],
    {},
    {"": None},
    [None, "a", {"b": []}],
]
"""What a field may hold in place of what it should."""

_ticks = count()


def event(**fields: Any) -> dict[str, Any]:
    """The body of a small event."""
    body = {
        "event_id": uuid4().hex,
        "timestamp": "2025-06-15T15:06:40Z",
        "level": "error",
        "environment": "production",
        "release": "1.0",
        "transaction": "POST organisations/",
        "exception": {"values": [{"type": "ValueError", "value": "boom"}]},
        "fingerprint": None,
    }
    return {**body, **fields}


def keep(body: Any, **changes: Any) -> Issue:
    """Keep an event as the inbox does, a second after the one before; returns its issue."""
    group = group_of(body if isinstance(body, dict) else {})
    named = body if isinstance(body, dict) else {}
    given = {
        "event_id": uuid4().hex,
        "moment": START + next(_ticks),
        "environment": str(named.get("environment") or ""),
        "release": str(named.get("release") or ""),
        "endpoint": str(named.get("transaction") or ""),
        "body": orjson.dumps(body),
        "group": group,
    }
    occurrence = Occurrence(**{**given, **{"event_id": str(named.get("event_id") or given["event_id"])}, **changes})
    issue_writer.record(occurrence)
    return Issue.objects.get(fingerprint=occurrence.group.fingerprint)


def keep_failure(name: str, **changes: Any) -> Issue:
    """Keep an event of an issue of its own."""
    fields = {key: changes.pop(key) for key in ("level", "environment", "release", "transaction") if key in changes}
    error = {"values": [{"type": "ValueError", "value": name}]}
    return keep(event(exception=error, fingerprint=[name], **fields), **changes)


def keep_slow(body: Any, duration_ms: float = 1500.0, **changes: Any) -> SlowTransaction:
    """Keep a slow transaction as the inbox does."""
    named = body if isinstance(body, dict) else {}
    given = {
        "event_id": uuid4().hex,
        "moment": START + next(_ticks),
        "environment": "production",
        "release": "1.0",
        "endpoint": str(named.get("transaction") or "GET organisations/"),
        "body": orjson.dumps(body),
        "duration_ms": duration_ms,
    }
    slow = Slow(**{**given, **changes})
    issue_writer.record_slow(slow)
    return SlowTransaction.objects.get(event_id=slow.event_id)


def span(name: str, start: float, end: float, parent: str = "root", op: str = "db", **fields: Any) -> dict[str, Any]:
    """A span of `transaction`, in seconds from its start."""
    return {
        "span_id": name,
        "parent_span_id": parent,
        "op": op,
        "description": f"does {name}",
        "start_timestamp": START + start,
        "timestamp": START + end,
        **fields,
    }


def transaction(*spans: Any, seconds: float = 2.0, **fields: Any) -> dict[str, Any]:
    """The body of a transaction."""
    return {
        "type": "transaction",
        "transaction": "GET organisations/",
        "start_timestamp": START,
        "timestamp": START + seconds,
        "contexts": {"trace": {"span_id": "root", "trace_id": "a" * 32, "op": "http.server"}},
        "spans": list(spans),
        **fields,
    }


def hostile(text: str = PAYLOAD) -> dict[str, Any]:
    """An event with every field there is, each with `text` as value and in its key."""
    pairs = {f"{text} {number}": text for number in range(2)}
    nested = {**pairs, text: {text: [text, {text: text}]}}
    frame = {
        "filename": text,
        "abs_path": text,
        "function": text,
        "module": text,
        "lineno": 3,
        "pre_context": [text],
        "context_line": text,
        "post_context": [text],
        "vars": nested,
        "in_app": True,
    }
    frames = [frame, {**frame, "in_app": False}, {**frame, "lineno": text, "filename": None}]
    mechanism = {"type": text, "handled": False, "source": text, "exception_id": text, "parent_id": 0, "data": nested}
    exception = {"type": text, "value": text, "module": text, "mechanism": mechanism, "stacktrace": {"frames": frames}}
    member = {**mechanism, "source": "exceptions[0]", "exception_id": 0}
    crumb = {"timestamp": 1_750_000_000, "type": text, "category": text, "level": text, "message": text, "data": nested}
    return {
        "event_id": uuid4().hex,
        "timestamp": text,
        "level": text,
        "logger": text,
        "transaction": text,
        "environment": text[:60],
        "release": text,
        "server_name": text,
        "platform": text,
        "message": text,
        "logentry": {"message": text, "formatted": text, "params": [text]},
        "exception": {"values": [exception, {**exception, "mechanism": member}, exception]},
        "threads": {"values": [{"stacktrace": {"frames": frames}, "current": True}]},
        "breadcrumbs": {"values": [crumb, {**crumb, "timestamp": text}]},
        "request": {
            "url": text,
            "method": text,
            "query_string": text,
            "headers": pairs,
            "env": pairs,
            "cookies": pairs,
            "data": nested,
        },
        "user": {"id": text, "email": text, "username": text, "ip_address": text, **nested},
        "tags": {**pairs, "request_id": text},
        "extra": nested,
        "modules": pairs,
        "sdk": {"name": text, "version": text},
        "contexts": {
            "log": nested,
            "trace": {"trace_id": text, "span_id": text, "op": text, "data": nested},
            "quota": {"held_back": text},
            text: nested,
        },
    }


def hostile_transaction(text: str = PAYLOAD) -> dict[str, Any]:
    """A transaction with `text` wherever it may be."""
    spans = [span(f"{text}{number}", 0.1, 0.2, op=text, description=text, data={text: text}) for number in range(12)]
    return {**hostile(text), **transaction(*spans, transaction=text)}


class Page(HTMLParser):
    """A page as a browser sees it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self._texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self._texts.append(data)

    @property
    def text(self) -> str:
        """What a person reads, spaces made one."""
        return " ".join(" ".join(self._texts).split())

    def all(self, tag: str, **attributes: str) -> list[dict[str, str]]:
        """The attributes of all elements of a kind that have these."""
        wanted = {name.replace("_", "-"): value for name, value in attributes.items()}
        return [found for name, found in self.elements if name == tag and wanted.items() <= found.items()]

    def dangers(self) -> list[str]:
        """What could run code or load something from elsewhere."""
        found = [f"<{tag}>" for tag, _ in self.elements if tag in ("iframe", "object", "embed", "style", "base")]
        for tag, attributes in self.elements:
            if tag in ("script", "img") and not attributes.get("src", "").startswith("/static/crm_monitoring/"):
                found.append(f"<{tag}>")
            found += [f"{tag} {name}" for name in attributes if name.startswith("on") or name in ("style", "srcdoc")]
            found += [
                f"{tag} {name}={attributes[name]}"
                for name in ("href", "src", "action", "formaction", "xlink:href")
                if not attributes.get(name, "").startswith(("/", "?", "#", "http://testserver/")) and name in attributes
            ]
        return found
