"""The keys of CRM_MONITORING that the monitoring itself has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crm_monitoring.conf import formats, parsing
from crm_monitoring.conf.declaring import Keys, key

TRACES_SAMPLE_RATES = {"production": 0.1, "staging": 0.5, "development": 1.0}
OTHER_TRACES_SAMPLE_RATE = 0.1
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
HEALTH_DETAILS = ("all", "staff")
LOG_FORMATS = ("auto", "json", "console", "logfmt")
BACKENDS = ("sentry", "glitchtip", "bugsink")

BAD_LOG_LEVEL = "crm_monitoring.E005"
"""A log level does not exist. Write DEBUG, INFO, WARNING, ERROR or CRITICAL."""

_LEVEL = parsing.choice(LOG_LEVELS, "a log level", check_id=BAD_LOG_LEVEL, upper=True)


class Config(Keys):
    """The effective CRM_MONITORING setting, every key present and usable. A key that is None counts as left out."""

    SENTRY_DSN: str = key(
        "",
        formats.dsn,
        "Where events go: Sentry or a server that speaks its protocol. Empty: the dashboard's inbox, else nowhere.",
        env="SENTRY_DSN",
        secret=True,
    )
    ENVIRONMENT: str = key(
        "",
        formats.environment,
        'Name of the deployment. Default: "development" with DEBUG, else "production".',
        env="ENVIRONMENT",
    )
    SENTRY_RELEASE: str = key(
        "",
        parsing.text,
        "Version that runs. Default: from the platform's variables, else the git commit.",
        env="SENTRY_RELEASE",
    )
    SENTRY_OPTIONS: Mapping[str, Any] = key(
        {}, parsing.mapping, "Anything else for `sentry_sdk.init`; it wins over our choices.", secret=True
    )
    BACKEND: str = key(
        "sentry",
        parsing.choice(BACKENDS, "a back end"),
        "What is behind the DSN: sentry, glitchtip or bugsink. What it would drop is not sent.",
    )
    SENTRY_EVENT_LEVEL: str = key(
        "ERROR", _LEVEL, "Log lines from this level on make events; lines below, breadcrumbs."
    )
    SENTRY_LOGS: bool = key(False, parsing.flag, "Whether log lines are sent to Sentry's Logs, too.")
    REPORT_SERVER_ERRORS: bool = key(
        False, parsing.flag, "Whether a 5xx that a view returns makes an event, one issue a route. A crash always does."
    )
    IGNORED_EXCEPTIONS: tuple[str, ...] = key(
        ("DisallowedHost", "BrokenPipeError", "ConnectionResetError"),
        parsing.names,
        "Exceptions that make no event, with their subclasses: class names or dotted names.",
    )
    EVENTS_BURST: int = key(10, parsing.whole(), "Events of one kind that leave at once; the others are counted.")
    EVENTS_PER_MINUTE: float = key(1, parsing.number(), "Events of one kind that leave each minute after that.")
    EVENTS_OVERALL_PER_MINUTE: int = key(60, parsing.whole(), "Events of all kinds together that leave each minute.")
    SHUTDOWN_SECONDS: float = key(
        2, parsing.number(), "Seconds that a process waits at its end for what is not sent yet."
    )
    TRACES_SAMPLE_RATE: float | Mapping[str, float] = key(
        TRACES_SAMPLE_RATES,
        formats.rate_or_table,
        "Share of requests traced, 0 to 1: a number, or a table by environment; one that is not in the table gets 0.1.",
        unusable=0.0,
    )
    TRACES_SAMPLE_RATE_OVERRIDES: Mapping[str, float] = key(
        {},
        formats.rates,
        'Share by route ("GET organisations/{pk}/", "organisations/{pk}/") or by path prefix ("/api/v1/").',
    )
    TRACES_METHODS: tuple[str, ...] = key(
        ("CONNECT", "DELETE", "GET", "PATCH", "POST", "PUT", "TRACE"),
        formats.methods,
        "HTTP methods that make a transaction.",
    )
    FAILED_REQUEST_STATUS_CODES: frozenset[int] = key(
        frozenset(),
        formats.statuses,
        "Statuses of Http404, PermissionDenied and the like that are reported as handled errors.",
    )
    SENSITIVE_KEYS: tuple[str, ...] = key(
        (), parsing.names, 'More names of fields whose values are masked, in words: "customer number".'
    )
    REPLACE_SENSITIVE_KEYS: bool = key(
        False, parsing.flag, "Whether SENSITIVE_KEYS stands in place of the names we know, rather than beside them."
    )
    SENSITIVE_URL_KEYS: tuple[str, ...] = key(
        (),
        parsing.names,
        'More names that are sensitive in URLs and, where their values look like credentials, in bodies, beside "code" and "key".',
    )
    READABLE_KEYS: tuple[str, ...] = key(
        (),
        parsing.names,
        'Names that are never sensitive, such as "ticket"; what looks like a secret is replaced all the same.',
    )
    SCRUB_EMAILS: bool = key(True, parsing.flag, "Whether e-mail addresses are masked, too.")
    LOG_LEVEL: str = key("INFO", _LEVEL, "Level of the root logger, unless LOGGING sets one.", env="LOG_LEVEL")
    LOG_FORMAT: str = key(
        "auto",
        parsing.choice(LOG_FORMATS, "a log format"),
        "json, console, logfmt, or auto: console on a terminal with DEBUG, else json.",
    )
    CONFIGURE_LOGGING: bool = key(
        True,
        parsing.flag,
        "Whether records of the standard library come out as our lines. False: name `crm_monitoring.logs.Formatter` in LOGGING.",
        unusable=False,
    )
    LOG_MAX_STRING: int = key(16 * 1024, parsing.whole(256), "Characters a value may have before it is cut and marked.")
    LOG_MAX_LINE: int = key(
        64 * 1024, parsing.whole(256), "Bytes a line may have before its longest values are cut and marked."
    )
    LOG_CLIENT_IP: bool = key(False, parsing.flag, "Whether the request line carries the client's address.")
    TRUSTED_PROXIES: tuple[str, ...] = key(
        (),
        formats.networks,
        'Networks whose X-Forwarded-For is believed, "unix" for a socket. Default: nobody\'s, so REMOTE_ADDR counts.',
    )
    REQUEST_ID_HEADER: str = key("X-Request-ID", formats.header, "Header of the request id, incoming and outgoing.")
    TRUST_REQUEST_ID: bool = key(
        True,
        parsing.flag,
        "Whether an incoming request id of 1-128 characters of A-Za-z0-9._- is kept.",
        unusable=False,
    )
    UNMONITORED_PATHS: tuple[str, ...] = key(
        (
            # Asked every few seconds by an orchestrator or a load balancer.
            "/healthz",
            "/livez",
            "/readyz",
            # django-health-check's address in its own documentation.
            "/ht",
            # Scraped by Prometheus, and about the process rather than about users.
            "/metrics",
            # Asked by browsers unbidden, most often in vain.
            "/favicon.ico",
            # Files, many to a page: their times would drown those of views.
            "STATIC_URL",
            "MEDIA_URL",
        ),
        parsing.names,
        "Paths, and all below them, that are served but not measured, as with `@unmonitored`; STATIC_URL and MEDIA_URL stand for those settings.",
    )
    SLOW_QUERY_MS: float = key(
        500, parsing.number(), "A query that takes longer is logged as slow_query_detected. 0: never.", unusable=0
    )
    N_PLUS_ONE_THRESHOLD: int = key(
        10,
        parsing.whole(),
        "A statement repeated more often in one request is logged as n_plus_one_detected. 0: never.",
        unusable=0,
    )
    SLOW_OPERATION_MS: float = key(
        1000, parsing.number(), "An operation that takes longer is logged as slow_operation_detected. 0: never."
    )
    HOOKS: tuple[str, ...] = key(
        (), parsing.names, "Dotted paths of callables that get every RequestRecord and OperationRecord."
    )
    JSON_PATHS: tuple[str, ...] = key((), parsing.names, "Path prefixes for which `server_error` always answers JSON.")
    HEALTH_CHECK_MIGRATIONS: bool = key(False, parsing.flag, "Whether health/ready also asks for unapplied migrations.")

    HEALTH_DATABASES: tuple[str, ...] = key(
        (),
        parsing.names,
        "Aliases of the databases that health/ready asks. None named: all but one that only the dashboard uses.",
    )
    HEALTH_DETAILS: str = key(
        "all",
        parsing.choice(HEALTH_DETAILS, "an audience"),
        'Who sees more than the status at health/monitoring: "all", or "staff".',
    )

    def traces_sample_rate(self) -> float:
        """Return the share of requests traced in this environment, from 0 to 1."""
        if isinstance(self.TRACES_SAMPLE_RATE, Mapping):
            return self.TRACES_SAMPLE_RATE.get(self.ENVIRONMENT, OTHER_TRACES_SAMPLE_RATE)
        return self.TRACES_SAMPLE_RATE
