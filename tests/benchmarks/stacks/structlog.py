"""django-structlog as its README says, its JSON handler on standard output."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import structlog

from tests.benchmarks.delivery import Delivery
from tests.benchmarks.stacks import Tools


def configure(settings: dict[str, Any], rate: float) -> None:
    """Add the app, the middleware, LOGGING and structlog's own configuration."""
    settings["INSTALLED_APPS"] += ["django_structlog"]
    settings["MIDDLEWARE"] += ["django_structlog.middlewares.RequestMiddleware"]
    settings["LOGGING"] = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "json_formatter": {
                "()": structlog.stdlib.ProcessorFormatter,
                "processor": structlog.processors.JSONRenderer(),
                "foreign_pre_chain": [
                    structlog.contextvars.merge_contextvars,
                    structlog.processors.TimeStamper(fmt="iso"),
                    structlog.stdlib.add_logger_name,
                    structlog.stdlib.add_log_level,
                    structlog.stdlib.PositionalArgumentsFormatter(),
                ],
            }
        },
        "handlers": {
            "console": {
                "class": "logging.StreamHandler",
                "formatter": "json_formatter",
                "stream": "ext://sys.stdout",
            }
        },
        "loggers": {
            "django_structlog": {"handlers": ["console"], "level": "INFO"},
            "benchmark": {"handlers": ["console"], "level": "INFO"},
        },
    }
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.filter_by_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.stdlib.add_logger_name,
            structlog.stdlib.add_log_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            structlog.processors.UnicodeDecoder(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def tools() -> Tools:
    """Return structlog's logger, and nothing to measure with."""
    logger = structlog.get_logger("benchmark")
    return Tools(logger.info, logger.debug, nullcontext, len)


def delivered() -> Delivery:
    """Return nothing: the lines are all there is."""
    return Delivery()
