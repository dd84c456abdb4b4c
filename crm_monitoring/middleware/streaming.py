"""Responses that are still being made when the view has returned: timed until they end, however they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

from django.core.exceptions import RequestAborted
from django.http.response import StreamingHttpResponse

from crm_monitoring import faults
from crm_monitoring.middleware import lifecycle
from crm_monitoring.records import CLIENT_CLOSED_REQUEST
from crm_monitoring.sentry import send_overdue
from crm_monitoring.work import Request, current_work, use


@faults.guarded
def watch_stream(work: Request, response: StreamingHttpResponse, status: int) -> bool:
    """Conclude the request when `response` has been streamed, has failed or was given up; returns True, None where it cannot be watched."""
    if _is_offloaded(work, response):
        # The server sends the file by itself, and only if it gets the file itself.
        work.bytes_on_leave = lifecycle.size_of(response)
    else:
        content: Any = response.streaming_content
        watched = AsyncStream if response.is_async else Stream
        response.streaming_content = watched(work, status, content)
    work.status_on_leave = status
    return True


def _is_offloaded(work: Request, response: Any) -> bool:
    has_file = getattr(response, "file_to_stream", None) is not None
    return has_file and bool(getattr(work.request, "environ", {}).get("wsgi.file_wrapper"))


class _Watched:
    def __init__(self, work: Request, status: int) -> None:
        self._work = work
        self._status = status
        self._bytes = 0
        self._is_started = False

    def _count(self, chunk: bytes) -> bytes:
        self._bytes += len(chunk)
        if self._work.reports:
            send_overdue(self._work)
        return chunk

    @faults.guarded
    def _end(self, error: BaseException | None = None) -> None:
        if isinstance(error, asyncio.CancelledError | GeneratorExit | RequestAborted):
            lifecycle.conclude(self._work, CLIENT_CLOSED_REQUEST, self._bytes)
            return
        if error is not None:
            lifecycle.fail(self._work, error)
        lifecycle.conclude(self._work, self._status if error is None else 500, self._bytes)

    @faults.guarded
    def _give_up(self) -> None:
        # The server may close from a thread that has never seen the request.
        before = current_work()
        use(self._work)
        try:
            lifecycle.conclude(self._work, CLIENT_CLOSED_REQUEST if self._is_started else self._status, self._bytes)
        finally:
            use(before)

    def close(self) -> None:
        """Conclude the request if its stream has not come to its end; the response calls this when it is closed."""
        if not self._work.concluded:
            self._give_up()


class Stream(_Watched):
    """The content of a sync stream, watched."""

    def __init__(self, work: Request, status: int, content: Iterator[bytes]) -> None:
        super().__init__(work, status)
        self._content = iter(content)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self._is_started = True
        try:
            chunk = next(self._content)
        except StopIteration:
            self._end()
            raise
        except BaseException as error:
            self._end(error)
            raise
        return self._count(chunk)


class AsyncStream(_Watched):
    """The content of an async stream, watched."""

    def __init__(self, work: Request, status: int, content: AsyncIterator[bytes]) -> None:
        super().__init__(work, status)
        self._content = aiter(content)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        self._is_started = True
        try:
            chunk = await anext(self._content)
        except StopAsyncIteration:
            self._end()
            raise
        except BaseException as error:
            self._end(error)
            raise
        return self._count(chunk)
