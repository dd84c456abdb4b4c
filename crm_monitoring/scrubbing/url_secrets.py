"""What is secret in the URL of a request, where no key tells: a route like "login/<token>/" captures a token."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from crm_monitoring.scrubbing.configured import scrubber
from crm_monitoring.scrubbing.spans import FILTERED

# "GET", "42" or "fr" mean something else wherever they stand outside of the path.
_MIN_LENGTH = 6
_WORD = re.compile(r"[A-Za-z][a-z_-]*")


class UrlSecrets:
    """
    The secrets in one URL.

    Wherever the path stands in a text, its safe form takes its place, and wherever a secret stands alone its parameter's name.

    Args:
        path: The path as it was asked for.
        captured: What the matching route captures of it, by the parameters' names.

    Attributes:
        path: The path without secrets: "/login/{token}/".
    """

    __slots__ = ("_names", "_pattern", "path")

    def __init__(self, path: str, captured: Mapping[str, Any]) -> None:
        known = scrubber()
        secrets = {name: str(value) for name, value in captured.items() if known.is_url_secret(name, value)}
        self.path = known.url(known.route(path, captured) if secrets else path)
        self._names: dict[str, str] = {} if self.path == path else {path: self.path, quote(path): self.path}
        for name, value in secrets.items():
            if len(value) >= _MIN_LENGTH and (known.is_sensitive(name) or not _WORD.fullmatch(value)):
                self._names |= {value: f"{{{name}}}", quote(value): f"{{{name}}}"}
        self._pattern = _any_of(self._names) if self._names else None

    @classmethod
    def unreadable(cls, path: str) -> UrlSecrets:
        """Return the secrets of a path whose parameters cannot be read: all of it is one."""
        whole = cls.__new__(cls)
        whole.path = FILTERED
        whole._names = {path: FILTERED, quote(path): FILTERED}
        whole._pattern = _any_of(whole._names)
        return whole

    def __bool__(self) -> bool:
        return self._pattern is not None

    def replaced(self, text: str) -> str:
        """Return `text` with the path and its secrets replaced."""
        return text if self._pattern is None else self._pattern.sub(lambda match: self._names[match[0]], text)


def _any_of(forms: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(_standing_alone, sorted(forms, key=len, reverse=True))))


def _standing_alone(form: str) -> str:
    return rf"(?<![^\W_]){re.escape(form)}(?![^\W_])" if form[0] != "/" else re.escape(form)
