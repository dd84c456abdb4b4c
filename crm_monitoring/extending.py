"""
What an app may build on that gets records and events, or adds to the health, the command or the setting.

`crm_monitoring.dashboard` is such an app, and uses nothing else of the monitoring but `conf`, `faults` and `rendering`. All that is
registered here is called guarded: what raises is counted, told by the health view and stops nobody. Registering twice has no effect,
so `AppConfig.ready` is the place for it.
"""

from __future__ import annotations

from crm_monitoring.background import add as register_tick
from crm_monitoring.background import remove as unregister_tick
from crm_monitoring.background import wake, wakes_within
from crm_monitoring.conf import Keys, key
from crm_monitoring.conf import read as read_keys
from crm_monitoring.conf import register as register_keys
from crm_monitoring.conf import unregister as unregister_keys
from crm_monitoring.health import register_problems, register_section, unregister_problems, unregister_section
from crm_monitoring.hooks import (
    Record,
    register_ending,
    register_pause,
    register_request_page,
    unregister_ending,
    unregister_pause,
    unregister_request_page,
)
from crm_monitoring.hooks import register as register_hook
from crm_monitoring.hooks import unregister as unregister_hook
from crm_monitoring.ids import moment_of as moment_of_id
from crm_monitoring.lazy import pattern
from crm_monitoring.logs import get_logger
from crm_monitoring.management.subcommands import Subcommand, also_complains, also_goes_to, subcommand
from crm_monitoring.notes import Query
from crm_monitoring.performance import unmonitored
from crm_monitoring.process import Stage, after_fork, at_end
from crm_monitoring.queries import watch_query
from crm_monitoring.readiness import register_unneeded_database, unregister_unneeded_database
from crm_monitoring.records import OperationRecord, RequestRecord
from crm_monitoring.registry import Registry
from crm_monitoring.release import detect_release
from crm_monitoring.scrubbing import FILTERED, scrub, scrub_text
from crm_monitoring.sentry import HELD_BACK, Envelope, SentryStatus, register_receiver, unregister_receiver
from crm_monitoring.sentry import destination as sentry_destination
from crm_monitoring.sentry import register_counter as register_held_back
from crm_monitoring.sentry import status as sentry_status
from crm_monitoring.sentry import unregister_counter as unregister_held_back
from crm_monitoring.severity import SENTRY_LEVELS
from crm_monitoring.work import Request, Work, register_keeper, unregister_keeper

__all__ = [
    "SENTRY_LEVELS",
    "FILTERED",
    "HELD_BACK",
    "Envelope",
    "Keys",
    "OperationRecord",
    "Record",
    "Query",
    "Registry",
    "Request",
    "RequestRecord",
    "SentryStatus",
    "Stage",
    "Subcommand",
    "Work",
    "after_fork",
    "also_complains",
    "also_goes_to",
    "at_end",
    "detect_release",
    "get_logger",
    "key",
    "moment_of_id",
    "pattern",
    "read_keys",
    "register_ending",
    "register_held_back",
    "register_hook",
    "register_keeper",
    "register_keys",
    "register_pause",
    "register_problems",
    "register_receiver",
    "register_request_page",
    "register_section",
    "register_tick",
    "register_unneeded_database",
    "scrub",
    "scrub_text",
    "sentry_destination",
    "sentry_status",
    "subcommand",
    "unmonitored",
    "unregister_ending",
    "unregister_held_back",
    "unregister_hook",
    "unregister_keeper",
    "unregister_keys",
    "unregister_pause",
    "unregister_problems",
    "unregister_receiver",
    "unregister_request_page",
    "unregister_section",
    "unregister_tick",
    "unregister_unneeded_database",
    "watch_query",
    "wakes_within",
    "wake",
]
