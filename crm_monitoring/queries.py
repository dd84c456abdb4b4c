"""Counts every database query through Django's execute wrappers, and tells of slow ones and of N+1."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from time import perf_counter, time
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from crm_monitoring import conf, faults
from crm_monitoring.logs import get_logger
from crm_monitoring.notes import Query, Statement
from crm_monitoring.places import place
from crm_monitoring.sentry import AnySpan, finish_query_span, start_query_span
from crm_monitoring.work import Work, current_work

_MAX_STATEMENTS = 1000
_MAX_SQL = 4096
_LIST = re.compile(r"%s(?:, ?%s)+")
_ESCAPE = r"ESCAPE '\'"
_LITERAL = re.compile(r"[bBeEnNxX]?'(?:[^']|'')*+(?:'|$)")
_TO_LAST_QUOTE = re.compile(r"'.*'|'.*", re.DOTALL)
_DOUBTFUL = ("\\", "--", "/*", "$$", "#")
_SAVEPOINT = ("SAVEPOINT ", "RELEASE SAVEPOINT ", "ROLLBACK TO SAVEPOINT ")
# What a migration does takes its time, and is no query of the site's.
_SCHEMA = re.compile(r"\s*(?:ALTER|COMMENT|CREATE|DROP)\b", re.IGNORECASE)

logger = get_logger("crm_monitoring.queries")


def install() -> None:
    """Watch every connection there is, and every one that will be made."""
    connection_created.connect(_watch, dispatch_uid="crm_monitoring")
    for connection in connections.all(initialized_only=True):
        _watch(None, connection)


def _watch(sender: Any, connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    # connection.execute_wrapper() is for a `with` block; a connection is watched as long as it lives. Ours goes first, for
    # such a block takes away the last one when it ends, and the connection may have been made inside of it.
    if watch_query not in connection.execute_wrappers:
        connection.execute_wrappers.insert(0, watch_query)


def watch_query(execute: Callable[..., Any], sql: str, params: Any, many: bool, wrapper_context: dict[str, Any]) -> Any:
    """Run one query, and note it on the running request and on the trace."""
    connection = wrapper_context["connection"]
    text = _text(sql, wrapper_context)
    span = _begin(text, connection)
    started, clock = time(), perf_counter()
    try:
        return execute(sql, params, many, wrapper_context)
    finally:
        _note(Query(started, text, (perf_counter() - clock) * 1000, connection.alias), span)


def _text(sql: Any, wrapper_context: dict[str, Any]) -> str:
    try:
        return shape(sql if isinstance(sql, str) else _composed(sql, wrapper_context["cursor"].cursor))
    except Exception as error:
        faults.record("Reading the SQL of a query", error)
        return "(unreadable)"


def shape(sql: str) -> str:
    """
    Return the statement without the texts in it, the same for lists of any length: "id IN (%s, ...)".

    Of a very long one, its two ends.
    """
    if "'" in sql:
        sql = _without_literals(sql)
    if "%s, %s" in sql:
        sql = _LIST.sub("%s, ...", sql)
    return sql if len(sql) <= _MAX_SQL else f"{sql[: _MAX_SQL // 2]} ... {sql[-_MAX_SQL // 2 :]}"


def _without_literals(sql: str) -> str:
    sql = sql.replace(_ESCAPE, "ESCAPE ?")
    # Where a quote may be none, only the first and the last are sure.
    return (_TO_LAST_QUOTE if any(sign in sql for sign in _DOUBTFUL) else _LITERAL).sub("?", sql)


def _composed(sql: Any, cursor: Any) -> str:
    """Return the text of psycopg's SQL objects, without the values in them."""
    if isinstance(sql, str):
        return sql
    if isinstance(sql, bytes):
        return sql.decode(errors="replace")
    if isinstance(sql, Iterable):
        return "".join(_composed(part, cursor) for part in sql)
    return str(sql.as_string(cursor)) if type(sql).__name__ in ("SQL", "Identifier") else "%s"


def _begin(sql: str, connection: BaseDatabaseWrapper) -> AnySpan | None:
    try:
        return start_query_span(sql, connection.vendor, str(connection.settings_dict.get("NAME") or ""))
    except Exception as error:
        faults.record("Starting the span of a query", error)
        return None


def _note(query: Query, span: AnySpan | None) -> None:
    try:
        config = conf.get()
        work = current_work()
        found = None
        if config.SLOW_QUERY_MS and query.duration_ms > config.SLOW_QUERY_MS and not _SCHEMA.match(query.sql):
            found = _place(work)
            _tell_slow(query, found, config.SLOW_QUERY_MS)
        if span is not None:
            finish_query_span(span, found)
        if work is not None:
            work.db_queries += 1
            work.db_ms += query.duration_ms
            _keep(work, query, config.N_PLUS_ONE_THRESHOLD)
    except Exception as error:
        faults.record("Counting a query", error)


def _place(work: Work | None) -> dict[str, Any]:
    return place(work.task() if work is not None and work.task is not None else None)


def _tell_slow(query: Query, found: dict[str, Any], threshold_ms: float) -> None:
    logger.warning(
        "slow_query_detected",
        query=query.sql,
        duration_ms=round(query.duration_ms, 3),
        threshold_ms=threshold_ms,
        database=query.alias,
        **found,
    )


def _keep(work: Work, query: Query, threshold: int) -> None:
    work.recent_queries.append(query)
    work.note_step(query)
    # Savepoints come with the loop's own statements, each under another name.
    if query.sql.startswith(_SAVEPOINT):
        return
    known = work.statements.get(query.sql)
    if known is None:
        if len(work.statements) >= _MAX_STATEMENTS:
            return
        known = work.statements[query.sql] = Statement()
    if known.add(query.duration_ms) == threshold + 1 and threshold:
        # The first place that goes over the threshold is inside the loop that is to blame.
        work.repeated[query.sql] = _place(work)


def tell_n_plus_one(work: Work, /) -> None:
    """Log each statement that the work repeated too often, once, with its final count."""
    for sql, found in work.repeated.items():
        logger.warning(
            "n_plus_one_detected",
            query=sql,
            count=work.statements[sql].count,
            threshold=conf.get().N_PLUS_ONE_THRESHOLD,
            **found,
        )
