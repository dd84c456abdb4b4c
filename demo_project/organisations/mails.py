"""The mails that the demo has sent: its settings put them into a folder instead of sending them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.utils import mktime_tz, parsedate_tz
from pathlib import Path
from typing import NamedTuple

from django.conf import settings

# What Django's file-based backend writes behind each mail.
END = re.compile(rb"^-{79}$", re.MULTILINE)


class Mail(NamedTuple):
    sent: datetime
    subject: str
    to: str
    text: str


def newest(limit: int) -> list[Mail]:
    """Return the latest mails, the newest first."""
    found: list[Mail] = []
    for path in sorted(folder().glob("*.log"), key=lambda path: path.stat().st_mtime, reverse=True):
        found += mails_in(path.read_bytes())
        if len(found) >= limit:
            break
    return sorted(found, key=lambda mail: mail.sent, reverse=True)[:limit]


def folder() -> Path:
    return Path(settings.MAIL_FOLDER)


def mails_in(content: bytes) -> Iterator[Mail]:
    for part in END.split(content):
        if part.strip():
            mail = message_from_bytes(part.strip(), policy=policy.default)
            body = mail.get_body(("plain",))
            yield Mail(
                sent=datetime.fromtimestamp(mktime_tz(parsedate_tz(mail["Date"])), UTC),
                subject=mail["Subject"],
                to=mail["To"],
                text=body.get_content() if body else "",
            )
