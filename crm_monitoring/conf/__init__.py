"""
The CRM_MONITORING setting: one class gives each key its type, default, meaning and check.

An explicit key wins over the environment variable, which wins over the default. A value that cannot be used is a
`Problem`: an error of `manage.py check`, and at run time the key falls back to what is off or harmless.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from typing import Any, NamedTuple, NoReturn
from urllib.parse import urlsplit

from django.conf import settings

TRACES_SAMPLE_RATES = {"production": 0.1, "staging": 0.5, "development": 1.0}
OTHER_TRACES_SAMPLE_RATE = 0.1
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
LOG_FORMATS = ("auto", "json", "console", "logfmt")
BACKENDS = ("sentry", "glitchtip", "bugsink")

UNKNOWN_KEY = "crm_monitoring.E001"
"""A key of `CRM_MONITORING` does not exist. Write the one that the hint names."""
WRONG_TYPE = "crm_monitoring.E002"
"""A value is of the wrong type. Write it as the hint shows."""
BAD_RATE = "crm_monitoring.E003"
"""A rate is outside 0 to 1. Write 10 % as 0.1."""
BAD_DSN = "crm_monitoring.E004"
"""`SENTRY_DSN` does not parse. Copy it from your project once more."""
BAD_LOG_LEVEL = "crm_monitoring.E005"
"""A log level does not exist. Write DEBUG, INFO, WARNING, ERROR or CRITICAL."""
BAD_ENVIRONMENT = "crm_monitoring.E006"
"""`ENVIRONMENT` is empty or is not text. Write for example "production"."""
BAD_CHOICE = "crm_monitoring.E007"
"""A value is not one of those to choose from. Write one that the hint lists."""
BAD_NETWORK = "crm_monitoring.E008"
"""`TRUSTED_PROXIES` has an item that is not a network. Write for example "10.0.0.0/8"."""
BAD_NUMBER = "crm_monitoring.E009"
"""A number is out of its range. Write one within the range that the hint gives."""

UNIX_SOCKET = "unix"
"""In TRUSTED_PROXIES: whoever connects by a socket file, which has no address."""

_HEADER = re.compile(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*")
_USERINFO = re.compile(r"[^\s/]+@")
_MAX_SHOWN = 100
_NO_FALLBACK = object()


class Problem(NamedTuple):
    """A value that cannot be used: what is wrong with it, and what to write instead."""

    id: str
    message: str
    hint: str
    key: str = ""


class Unusable(Exception):
    """Raised by a parser: the id of the check, the rest of the sentence after the key, and the hint."""

    def __init__(self, check_id: str, complaint: str, hint: str) -> None:
        super().__init__(complaint)
        self.id = check_id
        self.complaint = complaint
        self.hint = hint


# -- parsers: each returns the value in its final type, or says what is wrong with it --------------------------------------


def _shown(value: Any) -> str:
    """Return what a sentence may repeat of a value: what could be the user and password of a URL is masked."""
    if value is None or isinstance(value, bool | int | float):
        return f"is {value!r}"
    if isinstance(value, str):
        return f"is {_masked(value)!r}"
    return f"is of type {type(value).__name__}"


def _masked(text: str) -> str:
    return _USERINFO.sub("********@", text)[:_MAX_SHOWN]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Unusable(WRONG_TYPE, f"{_shown(value)}; it must be text", "Write it in quotes.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Unusable(WRONG_TYPE, f"{_shown(value)}, which is not UTF-8", "Write it in UTF-8.") from None
    # A slice of a lazy string, or of a member of an enum, is plain text.
    return str(value[:].strip())


def _header(value: Any) -> str:
    name = _text(value)
    if not _HEADER.fullmatch(name):
        raise Unusable(
            BAD_CHOICE, f"{_shown(value)}; it must be the name of an HTTP header", 'For example "X-Request-ID".'
        )
    return name


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Unusable(WRONG_TYPE, f"{_shown(value)}; it must be True or False", "Write True or False, without quotes.")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unusable(WRONG_TYPE, f"{_shown(value)}; it must be a number", "Write a number, without quotes.")
    if not 0 <= value < float("inf"):
        raise Unusable(BAD_NUMBER, f"{_shown(value)}; it must be 0 or more", "Write a number that is not negative.")
    return value


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise Unusable(
            WRONG_TYPE, f"{_shown(value)}; it must be a whole number", "Write a whole number, without quotes."
        )
    return int(_number(value))


def _limit(value: Any) -> int:
    if _integer(value) < 256:
        raise Unusable(
            BAD_NUMBER, f"{_shown(value)}; it must be at least 256", "The default is a good choice: leave the key out."
        )
    return int(value)


def _names(value: Any) -> tuple[str, ...]:
    hint = 'For example ["one", "two"].'
    if not isinstance(value, list | tuple):
        raise Unusable(WRONG_TYPE, f"{_shown(value)}; it must be a list of text", hint)
    for item in value:
        if not isinstance(item, str):
            raise Unusable(WRONG_TYPE, f"has an item that {_shown(item)}; it must be a list of text", hint)
    return tuple(_text(item) for item in value)


def _methods(value: Any) -> tuple[str, ...]:
    return tuple(name.upper() for name in _names(value))


def _statuses(value: Any) -> frozenset[int]:
    hint = "For example [403, 404]."
    if not isinstance(value, list | tuple | set | frozenset | range):
        raise Unusable(WRONG_TYPE, f"{_shown(value)}; it must be a list of HTTP statuses", hint)
    for status in value:
        if isinstance(status, bool) or not isinstance(status, int):
            raise Unusable(WRONG_TYPE, f"has an item that {_shown(status)}; it must be an HTTP status", hint)
        if not 100 <= status <= 599:
            raise Unusable(BAD_NUMBER, f"has an item that is {status}; HTTP statuses are 100 to 599", hint)
    return frozenset(value)


def _networks(value: Any) -> tuple[str, ...]:
    names = _names(value)
    for name in names:
        if name != UNIX_SOCKET and not _is_network(name):
            raise Unusable(
                BAD_NETWORK,
                f"has an item that {_shown(name)}, which is neither an address nor a network",
                'For example ["10.0.0.0/8", "127.0.0.1"], or ["unix"] for a proxy that connects by a socket file.',
            )
    return names


def _is_network(name: str) -> bool:
    try:
        ipaddress.ip_network(name, strict=False)
    except ValueError:
        return False
    return True


def _mapping(value: Any) -> Mapping[str, Any]:
    hint = 'For example {"key": "value"}.'
    if not isinstance(value, Mapping):
        raise Unusable(WRONG_TYPE, f"{_shown(value)}; it must be a dict", hint)
    for name in value:
        if not isinstance(name, str):
            raise Unusable(WRONG_TYPE, f"has a key that {_shown(name)}; keys must be text", hint)
    return value


def _rate(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unusable(WRONG_TYPE, f"{_shown(value)}; it must be a number between 0 and 1", "10 % is written 0.1.")
    if not 0 <= value <= 1:
        raise Unusable(BAD_RATE, f"{_shown(value)}; it must be between 0 and 1", "10 % is written 0.1.")
    return float(value)


def _rates(value: Any) -> Mapping[str, float]:
    return {name: _rate_of(name, rate) for name, rate in _mapping(value).items()}


def _rate_of(name: str, value: Any) -> float:
    try:
        return _rate(value)
    except Unusable as error:
        raise Unusable(error.id, f"has a rate for {_masked(name)!r} that {error.complaint}", error.hint) from None


def _rate_or_table(value: Any) -> float | Mapping[str, float]:
    return _rates(value) if isinstance(value, Mapping) else _rate(value)


def _level(value: Any) -> str:
    if not isinstance(value, str) or value.strip().upper() not in LOG_LEVELS:
        raise Unusable(
            BAD_LOG_LEVEL, f"{_shown(value)}, which is no log level", f"Choose one of {', '.join(LOG_LEVELS)}."
        )
    return _text(value).upper()


def _format(value: Any) -> str:
    if not isinstance(value, str) or value not in LOG_FORMATS:
        raise Unusable(
            BAD_CHOICE, f"{_shown(value)}, which is no log format", f"Choose one of {', '.join(LOG_FORMATS)}."
        )
    return _text(value)


def _backend(value: Any) -> str:
    if not isinstance(value, str) or value not in BACKENDS:
        raise Unusable(BAD_CHOICE, f"{_shown(value)}, which is no back end", f"Choose one of {', '.join(BACKENDS)}.")
    return _text(value)


def _environment(value: Any) -> str:
    try:
        name = _text(value)
    except Unusable as error:
        raise Unusable(BAD_ENVIRONMENT, error.complaint, 'For example "production".') from None
    if not name:
        raise Unusable(BAD_ENVIRONMENT, "is empty; it must be text", 'For example "production".')
    return name


def _dsn(value: Any) -> str:
    # The value holds a key, so no sentence may repeat it.
    complaint = _dsn_complaint(value)
    if complaint:
        raise Unusable(BAD_DSN, complaint, "Copy it from your Sentry project: https://<key>@<host>/<number>.")
    return _text(value)


def _dsn_complaint(value: Any) -> str | None:
    if not isinstance(value, str):
        return "is not text"
    text = value.strip()
    return _url_complaint(text) if text else None


def _url_complaint(text: str) -> str | None:
    try:
        parts = urlsplit(text)
        host, _port = parts.hostname, parts.port
    except ValueError:
        return "does not parse as a URL"
    if not text.isascii() or len(text.split()) > 1:
        return "holds characters that a URL cannot have"
    if parts.scheme not in ("http", "https"):
        return "does not begin with https:// or http://"
    if not parts.username:
        return "has no public key before the @"
    if not host:
        return "has no host"
    if not parts.path.rstrip("/").rpartition("/")[2].isdigit():
        return "does not end with the number of the project"
    return None


def _url(value: Any) -> str:
    text = _text(value)
    complaint = _address_complaint(text)
    if complaint:
        raise Unusable(BAD_CHOICE, f"{_shown(value)}, which {complaint}", 'For example "https://www.example.org/".')
    return text.rstrip("/") + "/"


def _address_complaint(text: str) -> str | None:
    try:
        parts = urlsplit(text)
        host, _port = parts.hostname, parts.port
    except ValueError:
        return "does not parse as a URL"
    if not text.isascii() or len(text.split()) > 1:
        return "holds characters that a URL cannot have"
    if parts.scheme not in ("http", "https") or not host:
        return "is no http or https URL"
    if parts.username is not None or parts.query or parts.fragment:
        return "has more than a host and a path"
    return None


def _token(value: Any) -> str:
    # No sentence may repeat a token.
    hint = "Copy it once more."
    if not isinstance(value, str):
        raise Unusable(WRONG_TYPE, "is not text", hint)
    token = value.strip()
    if not token.isascii() or not token.isprintable() or " " in token:
        raise Unusable(BAD_CHOICE, "holds characters that a token cannot have", hint)
    return token


# -- the keys -------------------------------------------------------------------------------------------------------------


class Key(NamedTuple):
    """
    A key of the setting.

    Attributes:
        parse: Returns the value in its final type, or raises `Unusable`.
        meaning: One line for the table of settings.
        env: The environment variable that counts where the setting does not give the key.
        unusable: What the key becomes when its value cannot be used, where the default is not the feature turned off.
    """

    default: Any
    parse: Callable[[Any], Any]
    meaning: str
    env: str
    unusable: Any


def key(default: Any, parse: Callable[[Any], Any], meaning: str, *, env: str = "", unusable: Any = _NO_FALLBACK) -> Any:
    """Declare a key of the setting: see `Key`."""
    return Key(default, parse, meaning, env, unusable)


# A dataclass of so many fields would take longer to make than all else here to import.
class Config:
    """The effective CRM_MONITORING setting, every key present and usable. A key that is None counts as left out."""

    SENTRY_DSN: str = key(
        "",
        _dsn,
        "Where events go: Sentry or a server that speaks its protocol. Empty: the dashboard's inbox, else nowhere.",
        env="SENTRY_DSN",
    )
    ENVIRONMENT: str = key(
        "",
        _environment,
        'Name of the deployment. Default: "development" with DEBUG, else "production".',
        env="ENVIRONMENT",
    )
    SENTRY_RELEASE: str = key(
        "",
        _text,
        "Version that runs. Default: from the platform's variables, else the git commit.",
        env="SENTRY_RELEASE",
    )
    SENTRY_OPTIONS: Mapping[str, Any] = key(
        {}, _mapping, "Anything else for `sentry_sdk.init`; it wins over our choices."
    )
    BACKEND: str = key(
        "sentry", _backend, "What stands behind the DSN: sentry, glitchtip or bugsink. What it would drop is not sent."
    )
    SENTRY_EVENT_LEVEL: str = key(
        "ERROR", _level, "Log lines from this level on make events; lines below, breadcrumbs."
    )
    SENTRY_LOGS: bool = key(False, _flag, "Whether log lines are sent to Sentry's Logs, too.")
    REPORT_SERVER_ERRORS: bool = key(
        False, _flag, "Whether a 5xx that a view returns makes an event, one issue a route. A crash always does."
    )
    IGNORED_EXCEPTIONS: tuple[str, ...] = key(
        ("DisallowedHost", "BrokenPipeError", "ConnectionResetError"),
        _names,
        "Exceptions, and what derives from them, that make no event: class names or dotted names.",
    )
    EVENTS_BURST: int = key(10, _integer, "Events of one kind that leave at once; the others are counted.")
    EVENTS_PER_MINUTE: float = key(1, _number, "Events of one kind that leave each minute after that.")
    EVENTS_OVERALL_PER_MINUTE: int = key(60, _integer, "Events of all kinds together that leave each minute.")
    SHUTDOWN_SECONDS: float = key(2, _number, "How long a process that ends waits for what is not sent yet.")
    TRACES_SAMPLE_RATE: float | Mapping[str, float] = key(
        TRACES_SAMPLE_RATES,
        _rate_or_table,
        "Share of requests traced, 0 to 1: a number, or a table by environment; one that is not in the table gets 0.1.",
        unusable=0.0,
    )
    TRACES_SAMPLE_RATE_OVERRIDES: Mapping[str, float] = key(
        {}, _rates, 'Share by route ("GET organisations/{pk}/", "organisations/{pk}/") or by path prefix ("/api/v1/").'
    )
    TRACES_METHODS: tuple[str, ...] = key(
        ("CONNECT", "DELETE", "GET", "PATCH", "POST", "PUT", "TRACE"), _methods, "HTTP methods that make a transaction."
    )
    FAILED_REQUEST_STATUS_CODES: frozenset[int] = key(
        frozenset(),
        _statuses,
        "Statuses of Http404, PermissionDenied and the like that are reported as handled errors.",
    )
    SENSITIVE_KEYS: tuple[str, ...] = key(
        (), _names, 'More names of fields whose values never leave, in words: "customer number".'
    )
    REPLACE_SENSITIVE_KEYS: bool = key(
        False, _flag, "Whether SENSITIVE_KEYS stands in place of the names we know, rather than beside them."
    )
    SENSITIVE_URL_KEYS: tuple[str, ...] = key(
        (),
        _names,
        'More names that are sensitive in URLs and, where their values look like credentials, in bodies, beside "code" and "key".',
    )
    READABLE_KEYS: tuple[str, ...] = key(
        (),
        _names,
        'Names that are never sensitive, such as "ticket"; what looks like a secret is replaced all the same.',
    )
    SCRUB_EMAILS: bool = key(True, _flag, "Whether e-mail addresses never leave either.")
    LOG_LEVEL: str = key("INFO", _level, "Level of the root logger, unless LOGGING sets one.", env="LOG_LEVEL")
    LOG_FORMAT: str = key(
        "auto", _format, "json, console, logfmt, or auto: console on a terminal with DEBUG, else json."
    )
    CONFIGURE_LOGGING: bool = key(
        True,
        _flag,
        "Whether records of the standard library come out as our lines. False: name `crm_monitoring.logs.Formatter` in LOGGING.",
        unusable=False,
    )
    LOG_MAX_STRING: int = key(16 * 1024, _limit, "Characters a value may have before it is cut and marked.")
    LOG_MAX_LINE: int = key(64 * 1024, _limit, "Bytes a line may have before its longest values are cut and marked.")
    LOG_QUEUE_SIZE: int = key(
        0, _integer, "Lines held for a writer thread, for readers that stall. 0: written at once, no thread."
    )
    LOG_CLIENT_IP: bool = key(False, _flag, "Whether the request line carries the client's address.")
    TRUSTED_PROXIES: tuple[str, ...] = key(
        (),
        _networks,
        'Networks whose X-Forwarded-For is believed, "unix" for a socket. Default: nobody\'s, so REMOTE_ADDR counts.',
    )
    REQUEST_ID_HEADER: str = key("X-Request-ID", _header, "Header the request id comes in by and goes out by.")
    TRUST_REQUEST_ID: bool = key(
        True, _flag, "Whether an incoming request id of 1-128 characters of A-Za-z0-9._- is kept.", unusable=False
    )
    UNMONITORED_PATHS: tuple[str, ...] = key(
        ("/healthz", "/livez", "/readyz"),
        _names,
        "Paths, and all below them, that are served but not measured, as with `@unmonitored`.",
    )
    SLOW_QUERY_MS: float = key(
        500, _number, "A query that takes longer is logged as slow_query_detected. 0: never.", unusable=0
    )
    N_PLUS_ONE_THRESHOLD: int = key(
        10,
        _integer,
        "A statement repeated more often in one request is logged as n_plus_one_detected. 0: never.",
        unusable=0,
    )
    SLOW_OPERATION_MS: float = key(
        1000, _number, "An operation that takes longer is logged as slow_operation_detected. 0: never."
    )
    HOOKS: tuple[str, ...] = key(
        (), _names, "Dotted paths of callables that get every RequestRecord and OperationRecord."
    )
    JSON_PATHS: tuple[str, ...] = key((), _names, "Path prefixes for which `server_error` always answers JSON.")
    HEALTH_CHECK_MIGRATIONS: bool = key(False, _flag, "Whether health/ready also asks for unapplied migrations.")
    INBOX: bool = key(
        False, _flag, "Dashboard: whether its inbox keeps events with a DSN too. Without one it always does."
    )
    DASHBOARD_DATABASE: str = key("default", _text, "Dashboard: the alias in DATABASES of the database that it keeps.")
    APDEX_MS: float = key(
        500.0, _number, "Dashboard: up to here a request satisfies, up to four times that it is tolerable."
    )
    SLOW_REQUEST_MS: float = key(
        1000.0, _number, "Dashboard: requests over this are slow, and the inbox keeps their spans."
    )
    EVENTS_PER_ISSUE: int = key(50, _integer, "Dashboard: events kept of an issue, the first and the newest.")
    RETENTION_DAYS: int = key(30, _integer, "Dashboard: days after which metrics and events are deleted.")
    ALERTS: Mapping[str, Any] = key(
        {}, _mapping, "Dashboard: rules of alerts by name, each a dict of options. False turns one of the defaults off."
    )
    ALERT_CHANNELS: Mapping[str, Any] = key(
        {},
        _mapping,
        "Dashboard: where alerts go, by name: e-mail, Slack, webhooks. Empty: nowhere, and none are looked for.",
    )
    SITE_URL: str = key("", _url, "Where people find the site, for the links in alerts.")
    SENTRY_URL: str = key(
        "https://sentry.io/", _url, "Where `monitoring deploy` finds Sentry's API.", env="SENTRY_URL", unusable=""
    )
    SENTRY_AUTH_TOKEN: str = key("", _token, "Token for `monitoring deploy`.", env="SENTRY_AUTH_TOKEN")
    SENTRY_ORG: str = key("", _text, "Sentry's organisation, for `monitoring deploy`.", env="SENTRY_ORG")
    SENTRY_PROJECT: str = key("", _text, "Sentry's project, for `monitoring deploy`.", env="SENTRY_PROJECT")

    def __init__(self, **values: Any) -> None:
        vars(self).update({name: _default(spec) for name, spec in KEYS.items()} | values)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{name} cannot be changed here: write it in CRM_MONITORING.")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Config) and vars(self) == vars(other)

    def traces_sample_rate(self) -> float:
        """Return the share of requests traced in this environment, from 0 to 1."""
        if isinstance(self.TRACES_SAMPLE_RATE, Mapping):
            return self.TRACES_SAMPLE_RATE.get(self.ENVIRONMENT, OTHER_TRACES_SAMPLE_RATE)
        return self.TRACES_SAMPLE_RATE


KEYS = {name: spec for name, spec in vars(Config).items() if isinstance(spec, Key)}
"""Every key of the setting by its name."""


def _default(spec: Key) -> Any:
    return spec.default.copy() if isinstance(spec.default, dict) else spec.default


class Loaded(NamedTuple):
    """The effective setting, and what of the given one could not be used."""

    config: Config
    problems: tuple[Problem, ...]


def get() -> Config:
    """Return the effective setting."""
    return load().config


@cache
def load() -> Loaded:
    """Read CRM_MONITORING and the environment."""
    given, problems = _given()
    values: dict[str, Any] = {}
    for name, spec in KEYS.items():
        source, raw = _raw(name, spec.env, given)
        if raw is None:
            continue
        try:
            values[name] = spec.parse(raw)
        except Unusable as error:
            problems.append(Problem(error.id, f"{source} {error.complaint}.", error.hint, key=name))
            if spec.unusable is not _NO_FALLBACK:
                values[name] = spec.unusable
    values.setdefault("ENVIRONMENT", "development" if settings.DEBUG else "production")
    return Loaded(Config(**values), tuple(problems))


def _given() -> tuple[Mapping[Any, Any], list[Problem]]:
    given = getattr(settings, "CRM_MONITORING", None)
    if given is None:
        return {}, []
    if not isinstance(given, Mapping):
        message = f"CRM_MONITORING {_shown(given)}; it must be a dict."
        return {}, [Problem(WRONG_TYPE, message, "Write CRM_MONITORING = {}.")]
    return given, [_unknown(str(name), list(KEYS)) for name in given if name not in KEYS]


def _raw(name: str, env: str, given: Mapping[Any, Any]) -> tuple[str, Any]:
    if given.get(name) is not None:
        return f"CRM_MONITORING[{name!r}]", given[name]
    return f"The environment variable {env}", os.environ.get(env, "").strip() or None


def _unknown(name: str, known: Sequence[str]) -> Problem:
    close = get_close_matches(name.upper(), known, n=1)
    hint = f"Did you mean {close[0]!r}?" if close else f"The keys are {', '.join(known)}."
    name = _masked(name)
    return Problem(UNKNOWN_KEY, f"CRM_MONITORING[{name!r}] is not a key of this setting.", hint, key=name)


def reset() -> None:
    """Forget what was read, so that the next `load` reads it again."""
    load.cache_clear()
