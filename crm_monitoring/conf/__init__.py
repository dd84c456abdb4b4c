"""
The CRM_MONITORING setting: one class gives each key its type, default, meaning and check; apps register keys of their own.

An explicit key wins over the environment variable, which wins over the default. A value that cannot be used is a
`Problem`: an error of `manage.py check`, and at run time the key falls back to what is off or harmless.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple, TypeVar, cast

from django.conf import settings

from crm_monitoring.conf import parsing
from crm_monitoring.conf.declaring import (
    NO_FALLBACK,
    REQUIRED,
    UNKNOWN_KEY,
    Key,
    Keys,
    key,
    parse_options,
)
from crm_monitoring.conf.formats import BAD_DSN, BAD_ENVIRONMENT, BAD_NETWORK, BAD_RATE, UNIX_SOCKET, token
from crm_monitoring.conf.keys import BAD_LOG_LEVEL, TRACES_SAMPLE_RATES, Config
from crm_monitoring.conf.parsing import (
    BAD_CHOICE,
    BAD_NUMBER,
    MASK,
    WRONG_TYPE,
    Unusable,
    did_you_mean,
    shown,
    without_userinfo,
)

__all__ = [
    "KEYS",
    "BAD_CHOICE",
    "BAD_DSN",
    "BAD_ENVIRONMENT",
    "BAD_LOG_LEVEL",
    "BAD_NETWORK",
    "BAD_NUMBER",
    "BAD_RATE",
    "MASK",
    "REQUIRED",
    "TRACES_SAMPLE_RATES",
    "UNIX_SOCKET",
    "UNKNOWN_KEY",
    "WRONG_TYPE",
    "Config",
    "Key",
    "Keys",
    "Loaded",
    "Problem",
    "Unusable",
    "did_you_mean",
    "get",
    "is_said",
    "key",
    "known_keys",
    "load",
    "parse_options",
    "parsing",
    "read",
    "register",
    "reset",
    "shown",
    "token",
    "unregister",
    "values",
    "without_userinfo",
]

K = TypeVar("K", bound=Keys)


class Problem(NamedTuple):
    """A value that cannot be used: what is wrong with it, and what to write instead."""

    id: str
    message: str
    hint: str
    key: str = ""


class Loaded(NamedTuple):
    """The effective setting, and what of the given one could not be used."""

    config: Config
    problems: tuple[Problem, ...]


KEYS = Config.declared
"""Every key of the monitoring itself by its name."""

_registered: tuple[type[Keys], ...] = (Config,)
_effective: dict[type[Keys], tuple[Keys, tuple[Problem, ...]]] = {}


def register(declared: type[Keys]) -> None:
    """Let the setting have the keys of an app too. Twice has no effect, and the order of apps none."""
    global _registered
    if declared not in _registered:
        _registered = (*_registered, declared)
        _problems.cache_clear()


def unregister(declared: type[Keys]) -> None:
    """Take away keys added by `register`."""
    global _registered
    _registered = tuple(known for known in _registered if known is not declared)
    _problems.cache_clear()


def known_keys() -> dict[str, Key]:
    """Return every key that the setting has, those of apps included, by name."""
    return {name: spec for declared in _registered for name, spec in declared.declared.items()}


@cache
def get() -> Config:
    """Return the effective setting."""
    return read(Config)


def read(declared: type[K]) -> K:
    """Return the effective values of the keys of an app, whether or not it has registered them yet."""
    return cast(K, _parsed(declared)[0])


def values() -> Iterator[tuple[str, Key, Any]]:
    """Iterate over every key with its effective value, those of apps included."""
    for declared in _registered:
        effective = read(declared)
        yield from ((name, spec, getattr(effective, name)) for name, spec in declared.declared.items())


def is_said(name: str) -> bool:
    """Whether the setting or the environment gives the key, usable or not."""
    given = _given()
    return _raw(name, known_keys()[name].env, given if isinstance(given, Mapping) else {})[1] is not None


def load() -> Loaded:
    """Return the effective setting with what of it could not be used, keys of apps included."""
    return Loaded(get(), _problems())


@cache
def _problems() -> tuple[Problem, ...]:
    given = _given()
    if not isinstance(given, Mapping):
        message = f"CRM_MONITORING {shown(given)}; it must be a dict."
        return (Problem(WRONG_TYPE, message, "Write CRM_MONITORING = {}."),)
    known = known_keys()
    unknown = [_unknown(str(name), known) for name in given if name not in known]
    return (*unknown, *(problem for declared in _registered for problem in _parsed(declared)[1]))


def _unknown(name: str, known: Mapping[str, Key]) -> Problem:
    hint = did_you_mean(name, known, "The keys are {}. Or is it a key of an app that is not in INSTALLED_APPS?")
    name = without_userinfo(name)
    return Problem(UNKNOWN_KEY, f"CRM_MONITORING[{name!r}] is not a key of this setting.", hint, key=name)


def _given() -> Any:
    given = getattr(settings, "CRM_MONITORING", None)
    return {} if given is None else given


def _parsed(declared: type[Keys]) -> tuple[Keys, tuple[Problem, ...]]:
    found = _effective.get(declared)
    if found is None:
        found = _effective[declared] = _parse(declared)
    return found


def _parse(declared: type[Keys]) -> tuple[Keys, tuple[Problem, ...]]:
    given = _given()
    usable: dict[str, Any] = {}
    problems = tuple(_fill(usable, declared, given if isinstance(given, Mapping) else {}))
    if declared is Config:
        usable.setdefault("ENVIRONMENT", "development" if settings.DEBUG else "production")
    return declared(**usable), problems


def _fill(usable: dict[str, Any], declared: type[Keys], given: Mapping[Any, Any]) -> Iterator[Problem]:
    for name, spec in declared.declared.items():
        source, raw = _raw(name, spec.env, given)
        if raw is None:
            continue
        try:
            usable[name] = spec.parse(raw)
        except Unusable as error:
            if spec.unusable is not NO_FALLBACK:
                usable[name] = spec.unusable
            yield Problem(error.id, f"{source} {error.sentence(secret=spec.secret)}.", error.hint, key=name)


def _raw(name: str, env: str, given: Mapping[Any, Any]) -> tuple[str, Any]:
    if given.get(name) is not None:
        return f"CRM_MONITORING[{name!r}]", given[name]
    return f"The environment variable {env}", os.environ.get(env, "").strip() or None


def reset() -> None:
    """Forget what was read, so that it is read again."""
    for cached in (get, _problems):
        cached.cache_clear()
    _effective.clear()
