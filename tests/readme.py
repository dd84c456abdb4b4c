"""What the README says of the setting, made from the class that defines it."""

from __future__ import annotations

from crm_monitoring.conf import KEYS, Config, Key


def settings_table() -> str:
    """Return the Markdown table of CRM_MONITORING's keys: name, type, default, meaning."""
    rows = (_row(name, Config.__annotations__[name], key) for name, key in KEYS.items())
    return "\n".join(["| Key | Type | Default | Meaning |", "| --- | --- | --- | --- |", *rows])


def _row(name: str, kind: str, key: Key) -> str:
    meaning = key.meaning
    if key.env:
        meaning += f" Environment variable: `{key.env}`."
    return f"| {' | '.join(map(_cell, (f'`{name}`', f'`{kind}`', f'`{_default(key)}`', meaning)))} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _default(key: Key) -> str:
    return repr(list(key.default) if isinstance(key.default, tuple | frozenset) else key.default)
