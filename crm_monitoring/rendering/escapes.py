"""Characters that would end a line, move a cursor or colour a terminal, shown as what they are."""

from __future__ import annotations

import re

# DEL, the C1 controls (NEL among them) and Unicode's line and paragraph separators, in UTF-8. JSON has escaped the others.
_ENDS_A_LINE = re.compile(rb"\x7f|\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]")


def escape_line(line: bytes) -> bytes:
    """Return a rendered line in which no character but those of the format itself is taken for the end of a line or a command."""
    if line.isascii() and b"\x7f" not in line:
        return line
    return _ENDS_A_LINE.sub(_as_json, line)


def _as_json(found: re.Match[bytes]) -> bytes:
    return b"\\u%04x" % ord(found[0].decode())


def escape_text(text: str) -> str:
    """Return `text` in one line, with what cannot be printed as Python writes it."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)
