"""What the README says of the setting, made from the dataclass that defines it."""

from __future__ import annotations

from dataclasses import MISSING, Field, fields
from typing import Any

from crm_monitoring.conf import Config


def settings_table() -> str:
    """Return the Markdown table of CRM_MONITORING's keys: name, type, default, meaning."""
    return "\n".join(["| Key | Type | Default | Meaning |", "| --- | --- | --- | --- |", *map(_row, fields(Config))])


def _row(spec: Field[Any]) -> str:
    meaning = spec.metadata["meaning"]
    if spec.metadata["env"]:
        meaning += f" Environment variable: `{spec.metadata['env']}`."
    return f"| {' | '.join(map(_cell, (f'`{spec.name}`', f'`{spec.type}`', f'`{_default(spec)}`', meaning)))} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _default(spec: Field[Any]) -> str:
    default = spec.default_factory() if spec.default is MISSING else spec.default  # type: ignore[misc]
    return repr(list(default) if isinstance(default, tuple | frozenset) else default)
