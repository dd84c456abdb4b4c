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
    for modified, path in sorted(((path.stat().st_mtime, path) for path in folder().glob("*.log")), reverse=True):
        # No mail is younger than its file.
        if len(found) == limit and found[-1].sent.timestamp() > modified:
            break
        found = sorted([*found, *mails_in(path.read_bytes())], key=lambda mail: mail.sent, reverse=True)[:limit]
    return found


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
