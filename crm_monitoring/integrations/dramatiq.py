"""Messages of dramatiq as units of work, by a middleware that every broker has."""

from __future__ import annotations

import logging
from functools import cache, wraps
from typing import Any

from dramatiq import broker as brokers
from dramatiq.broker import Broker
from dramatiq.middleware import Middleware, Retries

from crm_monitoring import faults
from crm_monitoring.integrations.asked import KEY, asking, begin_job
from crm_monitoring.units import end_unit
from crm_monitoring.work import Unit

_running: dict[str, Unit | None] = {}
_init = Broker.__init__


@cache
def install() -> None:
    """Make every message that is processed from here on a unit of work, which knows who has asked for it."""
    # A project may give each broker the middleware it wants, and nobody keeps a list of them: the one replaced method here.
    Broker.__init__ = _init_watched
    _add_to(brokers.global_broker)
    logging.getLogger("dramatiq.worker.WorkerThread").addFilter(_is_news)


@wraps(_init)
def _init_watched(self: Broker, *args: Any, **kwargs: Any) -> None:
    _init(self, *args, **kwargs)
    _add_to(self)


@faults.guarded
def _add_to(broker: Broker | None) -> None:
    if broker is not None:
        # It begins before all others and ends after them, when Retries has decided.
        first = next((type(one) for one in broker.middleware), None)
        broker.add_middleware(MonitoringMiddleware(), before=first)


class MonitoringMiddleware(Middleware):  # type: ignore[misc]
    """Begins and ends the unit of work of each message."""

    def before_enqueue(self, broker: Broker, message: Any, delay: int) -> None:
        """Let the message carry who has asked for it."""
        asked = asking()
        if asked:
            message.options.setdefault(KEY, asked)

    def before_process_message(self, broker: Broker, message: Any) -> None:
        """Begin, where another middleware may still skip the message."""
        _running[message.message_id] = begin_job(message.actor_name, message.message_id, message.options.get(KEY))

    @faults.guarded
    def after_process_message(self, broker: Broker, message: Any, *, result: Any = None, exception: Any = None) -> None:
        """End, with what the actor has raised."""
        failed = exception is not None and _has_failed(broker, message, exception)
        end_unit(_running.pop(message.message_id, None), exception, is_failure=failed)

    after_skip_message = after_process_message


def _has_failed(broker: Broker, message: Any, error: BaseException) -> bool:
    throws = message.options.get("throws") or broker.get_actor(message.actor_name).options.get("throws") or ()
    is_final = message.failed or not any(isinstance(one, Retries) for one in broker.middleware)
    return is_final and not isinstance(error, throws)


def _is_news(record: logging.LogRecord) -> bool:
    """Leave out dramatiq's own line of a failure, which has the message's arguments: the unit's has the traceback too."""
    return not (_running and record.exc_info and str(record.msg).startswith("Failed to process message"))
