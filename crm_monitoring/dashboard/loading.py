"""Finds what a setting names: one of ours by its short name, one of somebody else's by its dotted path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from django.utils.module_loading import import_string

from crm_monitoring.conf import BAD_CHOICE, Unusable, did_you_mean

T = TypeVar("T")


def class_named(name: Any, known: Mapping[str, type[T]], base: type[Any], what: str) -> type[T]:
    """
    Return the class that `name` means.

    Args:
        known: Those that have a short name.
        base: What somebody else's class has to derive from.
        what: What such a class is to the setting: "kind" or "type".

    Raises:
        Unusable: if there is none.
    """
    if isinstance(name, str) and name in known:
        return known[name]
    if not isinstance(name, str) or "." not in name:
        complaint = f"has no {what}" if name is None else f"has a {what} that {{}}, which is unknown"
        raise Unusable(BAD_CHOICE, complaint, did_you_mean(name, known), name)
    found = _imported(name, what)
    if not isinstance(found, type) or not issubclass(found, base):
        hint = f"Write the dotted path of a subclass of {base.__module__}.{base.__qualname__}."
        raise Unusable(BAD_CHOICE, f"has a {what} that {{}}, which is not a class of that kind", hint, name)
    return found


def _imported(name: str, what: str) -> Any:
    try:
        return import_string(name)
    except Exception as error:
        # What somebody else's module raises may say anything.
        complaint = f"has a {what} that {{}}, which cannot be imported: {type(error).__name__}"
        raise Unusable(BAD_CHOICE, complaint, "Is the dotted path right?", name) from None
