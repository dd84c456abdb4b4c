from __future__ import annotations

import asyncio
import gc
import inspect
import threading
import traceback
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import Any, NamedTuple

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.urls import path
from django.views import View
from rest_framework.response import Response
from rest_framework.views import APIView

from crm_monitoring import PerformanceMonitor, current_monitor, faults, hooks, monitored, unmonitored
from crm_monitoring.hooks import Record
from crm_monitoring.sentry import flush
from tests.clients import WSGIClient
from tests.conftest import Lines, MemoryTransport

# -- what the view of this module's URLconf does --------------------------------------------------------------------------

work: list[Callable[[], Any]] = []


def does(request: HttpRequest) -> HttpResponse:
    work[-1]()
    return HttpResponse("done")


async def async_does(request: HttpRequest) -> HttpResponse:
    await work[-1]()
    return HttpResponse("done")


@monitored
class Organisations(View):
    """Lists them."""

    def get(self, request: HttpRequest) -> HttpResponse:
        current_monitor().set_data(seen=True)  # type: ignore[union-attr]
        return HttpResponse("sync")


@monitored("async_organisations")
class AsyncOrganisations(View):
    async def get(self, request: HttpRequest) -> HttpResponse:
        await asyncio.sleep(0.01)
        return HttpResponse("async")


class Partners(Organisations):
    pass


@monitored("api_organisations")
class ApiOrganisations(APIView):
    authentication_classes = ()
    permission_classes = ()

    def get(self, request: Any) -> Response:
        if "fail" in request.query_params:
            raise ValueError("boom")
        return Response({"how": "drf"})


@unmonitored
class Quiet(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("quiet")


@unmonitored
def quiet(request: HttpRequest) -> HttpResponse:
    return HttpResponse("quiet")


urlpatterns = [
    path("does/", does),
    path("async-does/", async_does),
    path("organisations/", Organisations.as_view()),
    path("async-organisations/", AsyncOrganisations.as_view()),
    path("partners/", Partners.as_view()),
    path("api/", ApiOrganisations.as_view()),
    path("quiet/", quiet),
    path("quiet-class/", Quiet.as_view()),
]


class Seen(NamedTuple):
    """A span or transaction, whichever of the SDK's modes sent it."""

    id: str
    parent: str | None
    op: str | None
    status: str | None
    values: dict[str, Any]


class Trace:
    def __init__(self, transport: MemoryTransport) -> None:
        self._transport = transport

    def spans(self) -> dict[str, Seen]:
        flush(2)
        return dict([*self._static(), *self._streamed()])

    def _static(self) -> Iterator[tuple[str, Seen]]:
        for sent in self._transport.transactions:
            own = sent["contexts"]["trace"]
            yield sent["transaction"], _seen(own, {**own.get("data", {}), **sent.get("tags", {})})
            for span in sent["spans"]:
                yield span["description"], _seen(span, {**span.get("data", {}), **span.get("tags", {})})

    def _streamed(self) -> Iterator[tuple[str, Seen]]:
        for span in self._transport.spans:
            values = {name: attribute["value"] for name, attribute in span["attributes"].items()}
            yield span["name"], _seen({**span, "op": values.get("sentry.op")}, values)


def _seen(span: dict[str, Any], values: dict[str, Any]) -> Seen:
    return Seen(span["span_id"], span.get("parent_span_id"), span.get("op"), span.get("status"), values)


@pytest.fixture(params=["static", "stream"])
def trace(request: pytest.FixtureRequest, monitoring: Any, transport: MemoryTransport) -> Trace:
    """Everything traced, in either of the SDK's modes."""
    monitoring(TRACES_SAMPLE_RATE=1.0, SENTRY_OPTIONS={"transport": transport, "trace_lifecycle": request.param})
    return Trace(transport)


@pytest.fixture(autouse=True)
def _urls(settings: Any) -> None:
    settings.ROOT_URLCONF = __name__


@pytest.fixture
def swallow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "reraise", False)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that monitors read; replace the one item to let time pass."""
    now = [0.0]
    monkeypatch.setattr("crm_monitoring.performance.monitor.perf_counter", lambda: now[0])
    return now


def the(records: list[Record]) -> Any:
    (record,) = records
    return record


# -- the block ------------------------------------------------------------------------------------------------------------


def test_the_block_of_the_guide(lines: Lines, monitoring: Any, records: list[Record]) -> None:
    monitoring(LOG_LEVEL="DEBUG")

    with PerformanceMonitor("create_organisation") as monitor:
        monitor.set_data(org_id=7, org_name="Alforis")
        monitor.set_tag("category", "Institution")

    line = lines.one("operation_finished")
    assert line["level"] == "debug"
    assert (line["name"], line["operation"]) == ("create_organisation", "function")
    assert (line["org_id"], line["org_name"], line["category"]) == (7, "Alforis", "Institution")
    assert line["duration_ms"] >= 0


def test_one_record_goes_to_the_hooks(records: list[Record], clock: list[float]) -> None:
    with PerformanceMonitor("import", operation="db.import"):
        clock[0] += 0.25

    record = the(records)
    assert (record.name, record.operation, record.duration_ms) == ("import", "db.import", 250.0)
    assert (record.slow, record.error, record.request_id) == (False, None, None)


def test_a_record_names_its_request(wsgi: WSGIClient, records: list[Record]) -> None:
    work.append(monitored("step")(lambda: None))

    answer = wsgi.get("/does/")

    operation, request = records
    assert operation.request_id == request.request_id == answer.headers["X-Request-ID"]
    assert operation.trace_id == request.trace_id


def test_an_async_block_is_the_same(records: list[Record]) -> None:
    async def run() -> None:
        async with PerformanceMonitor("import") as monitor:
            await asyncio.sleep(0)
            assert current_monitor() is monitor

    asyncio.run(run())

    assert the(records).name == "import"
    assert current_monitor() is None


def test_the_duration_runs_and_then_stands(clock: list[float]) -> None:
    monitor = PerformanceMonitor("import")

    assert monitor.duration_ms == 0.0
    with monitor:
        clock[0] += 0.1
        assert monitor.duration_ms == pytest.approx(100)
        clock[0] += 0.1
    clock[0] += 5
    assert monitor.duration_ms == pytest.approx(200)


def test_data_set_outside_the_block_goes_nowhere(lines: Lines) -> None:
    monitor = PerformanceMonitor("import", slow_ms=1000)

    monitor.set_data(early=1)
    monitor.set_tag("early", "1")
    with monitor:
        pass
    monitor.set_data(late=1)

    assert not {"early", "late"} & lines.one("operation_finished").keys()


def test_leaving_a_block_never_entered_is_no_error(records: list[Record]) -> None:
    PerformanceMonitor("import").__exit__(None, None, None)

    assert records == []


# -- slow -----------------------------------------------------------------------------------------------------------------


def test_past_the_setting_an_operation_is_slow(
    monitoring: Any, lines: Lines, records: list[Record], clock: list[float]
) -> None:
    monitoring(SLOW_OPERATION_MS=200)

    with PerformanceMonitor("import") as monitor:
        monitor.set_data(threshold_ms="mine")
        clock[0] += 0.5

    line = lines.one("slow_operation_detected")
    assert (line["level"], line["duration_ms"], line["threshold_ms"]) == ("warning", 500.0, 200)
    assert the(records).slow


def test_its_own_threshold_stands_before_the_setting(lines: Lines, clock: list[float]) -> None:
    with PerformanceMonitor("import", slow_ms=50):
        clock[0] += 0.06

    assert lines.one("slow_operation_detected")["threshold_ms"] == 50


def test_a_threshold_of_its_own_lifts_the_line_to_info(lines: Lines) -> None:
    with PerformanceMonitor("import", slow_ms=5000):
        pass

    assert lines.one("operation_finished")["level"] == "info"


def test_data_named_like_a_field_of_the_line_stands_beside_it(lines: Lines) -> None:
    with PerformanceMonitor("import", slow_ms=5000) as monitor:
        monitor.set_data(name="Alforis", operation="merge", duration_ms=-1, error="none", event="x", level="y")

    line = lines.one("operation_finished")
    assert (line["name"], line["operation"]) == ("import", "function")
    assert (line["name_"], line["operation_"], line["duration_ms_"]) == ("Alforis", "merge", -1)


# -- exceptions -----------------------------------------------------------------------------------------------------------


def test_an_exception_passes_untouched(records: list[Record]) -> None:
    error = ValueError("boom")

    with pytest.raises(ValueError, match="boom") as caught, PerformanceMonitor("import"):
        raise error

    assert caught.value is error
    assert error.__context__ is None
    assert error.__cause__ is None
    assert traceback.extract_tb(error.__traceback__)[-1].line == "raise error"
    assert (the(records).error, the(records).failed) == ("ValueError", True)


def test_a_cancellation_passes_through(records: list[Record]) -> None:
    async def run() -> None:
        async with PerformanceMonitor("import"):
            await asyncio.sleep(60)

    async def cancel() -> None:
        task = asyncio.create_task(run())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())

    assert the(records).error == "CancelledError"


def test_the_span_of_a_failed_operation_says_so(trace: Trace) -> None:
    with pytest.raises(ValueError, match="boom"), PerformanceMonitor("import"):
        raise ValueError("boom")

    assert trace.spans()["import"].status in ("internal_error", "error")


@pytest.fixture
def failing_hook(swallow: None) -> Iterator[None]:
    def fail(record: Record) -> None:
        raise RuntimeError("hook")

    hooks.register(fail)
    yield
    hooks.unregister(fail)


def test_a_failing_hook_changes_neither_result_nor_exception(failing_hook: None) -> None:
    error = ValueError("boom")

    with pytest.raises(ValueError, match="boom") as caught, PerformanceMonitor("import"):
        raise error

    assert caught.value is error
    assert error.__context__ is None
    assert monitored(lambda: 7)() == 7
    assert "failed 2 times, last with RuntimeError." in faults.sentences()[0]


@pytest.mark.parametrize("part", ["_start_span", "enter", "leave", "set_data", "set_tag", "finish"])
def test_a_broken_sentry_breaks_nothing(
    trace: Trace, monkeypatch: pytest.MonkeyPatch, swallow: None, records: list[Record], part: str
) -> None:
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("sentry")

    owner = "crm_monitoring.sentry.spans" + ("" if part == "_start_span" else ".OperationSpan")
    monkeypatch.setattr(f"{owner}.{part}", broken)

    with PerformanceMonitor("import") as monitor:
        monitor.set_data(org_id=7)
        monitor.set_tag("category", "x")

    assert the(records).name == "import"
    assert faults.sentences()


class Unrepresentable:
    def __repr__(self) -> str:
        raise ValueError("no repr")


@pytest.mark.parametrize(
    "value", [Unrepresentable(), object(), {1: {2: b"\xff"}}, float("nan"), 10**40, threading.Lock()]
)
def test_any_value_can_be_set(trace: Trace, records: list[Record], swallow: None, value: Any) -> None:
    with PerformanceMonitor("import", slow_ms=5000) as monitor:
        monitor.set_data(weird=value)
        monitor.set_tag("weird", value)
        monitor.set_tag(3, value)  # type: ignore[arg-type]

    assert the(records).name == "import"
    assert "import" in trace.spans()


# -- nested, again, at the same time --------------------------------------------------------------------------------------


def test_the_current_monitor_is_the_innermost() -> None:
    assert current_monitor() is None
    with PerformanceMonitor("outer") as outer:
        with PerformanceMonitor("inner") as inner:
            assert current_monitor() is inner
        assert current_monitor() is outer
    assert current_monitor() is None


def test_data_goes_to_the_monitor_it_is_set_on(lines: Lines) -> None:
    with PerformanceMonitor("outer", slow_ms=5000) as outer, PerformanceMonitor("inner", slow_ms=5000):
        outer.set_data(org_id=7)

    inner_line, outer_line = lines.named("operation_finished")
    assert "org_id" not in inner_line
    assert outer_line["org_id"] == 7


def test_one_monitor_can_run_again_and_inside_itself(records: list[Record], lines: Lines) -> None:
    monitor = PerformanceMonitor("step", slow_ms=5000)

    with monitor:
        monitor.set_data(depth=1)
        with monitor:
            monitor.set_data(depth=2)
    with monitor:
        pass

    assert [line.get("depth") for line in lines.named("operation_finished")] == [2, 1, None]
    assert len(records) == 3


def test_a_recursive_function_is_measured_at_every_depth(records: list[Record]) -> None:
    @monitored("factorial")
    def factorial(number: int) -> int:
        return number * factorial(number - 1) if number else 1

    assert factorial(5) == 120
    assert len(records) == 6


def test_threads_share_a_monitor_without_mixing_their_data(lines: Lines) -> None:
    monitor = PerformanceMonitor("step", slow_ms=5000)
    together = threading.Barrier(4)

    def run(number: int) -> None:
        with monitor:
            together.wait()
            monitor.set_data(entered=number)
            together.wait()
            monitor.set_data(left=number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    pairs = {(line["entered"], line["left"]) for line in lines.named("operation_finished")}
    assert pairs == {(number, number) for number in range(4)}


def test_a_plain_thread_reaches_the_monitor_it_was_given(lines: Lines) -> None:
    with PerformanceMonitor("step", slow_ms=5000) as monitor:
        thread = threading.Thread(target=lambda: monitor.set_data(from_thread=True))
        thread.start()
        thread.join()

    assert lines.one("operation_finished")["from_thread"] is True


def test_a_task_that_outlives_the_block_has_no_monitor() -> None:
    async def late(ended: asyncio.Event) -> PerformanceMonitor | None:
        await ended.wait()
        return current_monitor()

    async def run() -> PerformanceMonitor | None:
        ended = asyncio.Event()
        with PerformanceMonitor("step"):
            task = asyncio.create_task(late(ended))
        ended.set()
        return await task

    assert asyncio.run(run()) is None


def test_a_block_may_be_left_in_another_context(records: list[Record]) -> None:
    monitor = PerformanceMonitor("step")

    copy_context().run(monitor.__enter__)
    with PerformanceMonitor("other") as other:
        monitor.__exit__(None, None, None)
        assert current_monitor() is other

    assert [record.name for record in records] == ["step", "other"]  # type: ignore[union-attr]


# -- spans ----------------------------------------------------------------------------------------------------------------


def test_without_a_transaction_it_makes_one(trace: Trace) -> None:
    with PerformanceMonitor("nightly_import", operation="task") as monitor:
        monitor.set_data(rows=3)
        monitor.set_tag("source", "csv")

    own = trace.spans()["nightly_import"]
    assert (own.op, own.parent) == ("task", None)
    assert (own.values["rows"], own.values["source"]) == (3, "csv")


def test_in_a_request_it_is_a_span_of_its_transaction(trace: Trace, server: WSGIClient) -> None:
    def step() -> None:
        with PerformanceMonitor("step", operation="db.import") as monitor:
            monitor.set_data(rows=3)
            monitor.set_tag("source", "csv")

    work.append(step)

    server.get("/does/")

    spans = trace.spans()
    assert spans["step"].parent == spans["GET does/"].id
    assert spans["step"].op == "db.import"
    assert (spans["step"].values["rows"], spans["step"].values["source"]) == (3, "csv")


def test_what_starts_inside_is_a_child_and_what_starts_after_is_not(trace: Trace) -> None:
    with PerformanceMonitor("root"):
        with PerformanceMonitor("first"), PerformanceMonitor("inside"):
            pass
        with PerformanceMonitor("after"):
            pass

    spans = trace.spans()
    assert spans["first"].parent == spans["root"].id
    assert spans["inside"].parent == spans["first"].id
    assert spans["after"].parent == spans["root"].id


def test_tasks_side_by_side_are_no_children_of_each_other(trace: Trace) -> None:
    @monitored("slow")
    async def slow() -> None:
        await asyncio.sleep(0.02)

    @monitored("quick")
    async def quick() -> None:
        await asyncio.sleep(0.01)

    async def run() -> None:
        with PerformanceMonitor("root"):
            await asyncio.gather(slow(), quick())
            with PerformanceMonitor("after"):
                pass

    asyncio.run(run())

    spans = trace.spans()
    assert {spans[name].parent for name in ("slow", "quick", "after")} == {spans["root"].id}


def test_an_unsampled_trace_keeps_no_spans(monitoring: Any, transport: MemoryTransport, wsgi: WSGIClient) -> None:
    monitoring(TRACES_SAMPLE_RATE=0.0, SENTRY_OPTIONS={"transport": transport})
    work.append(monitored("step")(lambda: None))

    wsgi.get("/does/")
    with PerformanceMonitor("outer"), PerformanceMonitor("inner"):
        pass

    assert transport.transactions == []


def test_a_request_without_transaction_makes_none_of_its_parts(sentry: MemoryTransport, wsgi: WSGIClient) -> None:
    work.append(monitored("step")(lambda: None))

    wsgi.head("/does/")

    assert sentry.transactions == []


def test_a_name_given_inside_holds_after_the_block(sentry: MemoryTransport, wsgi: WSGIClient) -> None:
    from crm_monitoring import capture_message, set_transaction_context

    def rename() -> None:
        with PerformanceMonitor("step"):
            set_transaction_context("nightly", "task")
        capture_message("told after")

    work.append(rename)

    wsgi.get("/does/")

    assert [sent["transaction"] for sent in (*sentry.events, *sentry.transactions)] == ["nightly", "nightly"]


# -- decorators -----------------------------------------------------------------------------------------------------------


def plain(a: int, *, b: str = "x") -> str:
    """Doubles."""
    return b * a


async def coroutine(a: int) -> int:
    return a


def generator(a: int) -> Generator[int, str, str]:
    got = yield a
    return got


async def async_generator(a: int) -> AsyncGenerator[int, str]:
    yield a


@pytest.mark.parametrize("function", [plain, coroutine, generator, async_generator])
def test_a_decorated_function_stays_what_it_is(function: Any) -> None:
    for decorate in (monitored, monitored("named"), PerformanceMonitor("named")):
        wrapper = decorate(function)

        assert inspect.signature(wrapper) == inspect.signature(function)
        assert (wrapper.__name__, wrapper.__doc__, wrapper.__module__) == (
            function.__name__,
            function.__doc__,
            function.__module__,
        )
        for kind in (iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction):
            assert kind(wrapper) == kind(function)


def test_a_function_is_named_by_its_dotted_name(records: list[Record]) -> None:
    assert monitored(plain)(2, b="y") == "yy"

    assert the(records).name == "tests.core.test_performance.plain"


def test_a_coroutine_is_measured_until_it_ends(records: list[Record], clock: list[float]) -> None:
    @monitored("waits")
    async def waits() -> int:
        await asyncio.sleep(0)
        clock[0] += 0.2
        return 7

    assert asyncio.run(waits()) == 7
    assert the(records).duration_ms == pytest.approx(200)


def test_tags_of_the_decorator_are_on_every_run(lines: Lines) -> None:
    step = monitored("step", slow_ms=5000, tags={"team": "crm"})(lambda: None)

    step()
    step()

    assert [line["team"] for line in lines.named("operation_finished")] == ["crm", "crm"]


def test_methods_of_every_kind(records: list[Record]) -> None:
    class Importer:
        @monitored
        def method(self) -> str:
            return type(self).__name__

        @monitored
        @classmethod
        def outside_class(cls) -> str:
            return cls.__name__

        @classmethod
        @monitored
        def inside_class(cls) -> str:
            return cls.__name__

        @monitored("static")
        @staticmethod
        def static(value: str) -> str:
            return value

    assert Importer().method() == Importer.outside_class() == Importer.inside_class() == "Importer"
    assert Importer.static("Importer") == Importer().static("Importer") == "Importer"
    assert len(records) == 5


def test_a_partial_is_named_by_its_class(records: list[Record]) -> None:
    assert monitored(partial(plain, 3))() == "xxx"

    assert the(records).name.endswith("partial")


def test_a_class_that_is_no_view_says_what_to_do() -> None:
    class Service: ...

    with pytest.raises(TypeError, match=r"Service has no dispatch\(\)\. Decorate its methods"):
        monitored(Service)  # type: ignore[type-var]


@pytest.mark.parametrize(
    ("url", "text", "name"),
    [
        ("/organisations/", "sync", "tests.core.test_performance.Organisations"),
        ("/partners/", "sync", "tests.core.test_performance.Organisations"),
        ("/async-organisations/", "async", "async_organisations"),
        ("/api/", '{"how":"drf"}', "api_organisations"),
    ],
)
def test_a_class_based_view_is_measured(
    server: WSGIClient, records: list[Record], url: str, text: str, name: str
) -> None:
    answer = server.get(url, Accept="application/json")

    assert answer.text == text
    assert records[0].name == name  # type: ignore[union-attr]


def test_an_async_view_is_measured_until_it_ends(asgi: WSGIClient, records: list[Record]) -> None:
    asgi.get("/async-organisations/")

    assert records[0].duration_ms >= 10


def test_a_view_class_stays_what_it_is() -> None:
    assert Organisations.__doc__ == "Lists them."
    assert inspect.signature(Organisations.dispatch) == inspect.signature(View.dispatch)
    assert not iscoroutinefunction(Organisations.as_view())
    assert iscoroutinefunction(AsyncOrganisations.as_view())
    assert Organisations.as_view()(RequestFactory().post("/")).status_code == 405
    assert ApiOrganisations.as_view().csrf_exempt is True


def test_a_failing_api_view_is_reported_as_ever(wsgi: WSGIClient, records: list[Record]) -> None:
    assert wsgi.get("/api/?fail=1").status == 500

    assert records[0].error == "ValueError"


@pytest.mark.parametrize("url", ["/quiet/", "/quiet-class/"])
def test_an_unmonitored_view_makes_neither_transaction_nor_record(
    server: WSGIClient, trace: Trace, records: list[Record], lines: Lines, url: str
) -> None:
    assert server.get(url).text == "quiet"

    assert trace.spans() == {}
    assert records == []
    assert lines.named("request_finished") == []


# -- generators -----------------------------------------------------------------------------------------------------------


@monitored("numbers")
def numbers(log: list[str] | None = None) -> Generator[int, Any, str]:
    received = []
    for number in (1, 2):
        try:
            received.append((yield number))
        except KeyError as error:
            received.append(type(error).__name__)
        except GeneratorExit:
            (log if log is not None else []).append("cleaned up")
            raise
    return f"got {received}"


@monitored("async_numbers")
async def async_numbers(log: list[Any]) -> AsyncGenerator[int, Any]:
    try:
        for number in (1, 2):
            try:
                log.append((yield number))
            except KeyError as error:
                log.append(type(error).__name__)
    finally:
        await asyncio.sleep(0)
        log.append("cleaned up")


def test_a_generator_gives_sends_throws_and_returns() -> None:
    running = numbers()

    assert next(running) == 1
    assert running.send("a") == 2
    with pytest.raises(StopIteration) as end:
        running.throw(KeyError("b"))
    assert end.value.value == "got ['a', 'KeyError']"


def test_an_async_generator_gives_sends_and_throws() -> None:
    async def run() -> list[Any]:
        log: list[Any] = []
        running = async_numbers(log)
        assert await anext(running) == 1
        assert await running.asend("a") == 2
        with pytest.raises(StopAsyncIteration):
            await running.athrow(KeyError("b"))
        return log

    assert asyncio.run(run()) == ["a", "KeyError", "cleaned up"]


def test_a_generator_closed_early_cleans_up_and_is_no_failure(records: list[Record]) -> None:
    log: list[str] = []
    running = numbers(log)
    next(running)

    running.close()

    assert log == ["cleaned up"]
    assert the(records).error is None


def test_an_abandoned_generator_is_recorded(records: list[Record]) -> None:
    next(numbers())
    gc.collect()

    assert the(records).error is None


def test_a_generator_that_never_began_is_not(records: list[Record]) -> None:
    numbers().close()

    assert records == []


def test_an_async_generator_closed_early_cleans_up(records: list[Record]) -> None:
    async def run() -> list[Any]:
        log: list[Any] = []
        running = async_numbers(log)
        await anext(running)
        await running.aclose()
        return log

    assert asyncio.run(run()) == ["cleaned up"]
    assert the(records).error is None


def test_a_generator_that_refuses_to_close_is_told_so_by_python() -> None:
    @monitored
    def stubborn() -> Iterator[int]:
        try:
            yield 1
        except GeneratorExit:
            yield 2

    running = stubborn()
    next(running)

    with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
        running.close()  # type: ignore[attr-defined]


def test_an_exception_of_a_generator_passes_untouched(records: list[Record]) -> None:
    error = ValueError("boom")

    @monitored
    def fails() -> Iterator[int]:
        yield 1
        raise error

    with pytest.raises(ValueError, match="boom") as caught:
        list(fails())

    assert caught.value is error
    assert error.__context__ is None
    assert the(records).error == "ValueError"


def test_an_exception_after_one_thrown_in_has_no_context() -> None:
    @monitored
    def recovers() -> Iterator[int]:
        with suppress(KeyError):
            yield 1
        raise ValueError("boom")

    running = recovers()
    next(running)

    with pytest.raises(ValueError, match="boom") as caught:
        running.throw(KeyError("a"))  # type: ignore[attr-defined]
    assert caught.value.__context__ is None


def test_an_exception_of_an_async_generator_passes_untouched(records: list[Record]) -> None:
    @monitored
    async def fails() -> AsyncGenerator[int, None]:
        yield 1
        raise ValueError("boom")

    async def run() -> list[int]:
        return [number async for number in fails()]

    with pytest.raises(ValueError, match="boom") as caught:
        asyncio.run(run())

    assert caught.value.__context__ is None
    assert the(records).error == "ValueError"


def test_a_generator_is_timed_while_its_own_code_runs(records: list[Record], clock: list[float]) -> None:
    @monitored("rows")
    def rows() -> Iterator[int]:
        clock[0] += 0.1
        yield 1
        clock[0] += 0.1

    for _ in rows():
        clock[0] += 5

    assert the(records).duration_ms == pytest.approx(200)


def test_data_can_be_added_from_inside_a_generator(lines: Lines) -> None:
    @monitored("rows", slow_ms=5000)
    def rows() -> Iterator[int]:
        yield 1
        monitor = current_monitor()
        assert monitor is not None
        monitor.set_data(rows=1)
        assert monitor.duration_ms > 0

    list(rows())

    assert lines.one("operation_finished")["rows"] == 1


def test_between_yields_the_callers_monitor_is_the_current_one() -> None:
    with PerformanceMonitor("caller") as caller:
        for _ in numbers():
            assert current_monitor() is caller


def test_the_callers_code_between_yields_is_no_child(trace: Trace) -> None:
    @monitored("rows")
    def rows() -> Iterator[int]:
        with PerformanceMonitor("own"):
            pass
        yield 1

    with PerformanceMonitor("caller"):
        for _ in rows():
            with PerformanceMonitor("between"):
                pass

    spans = trace.spans()
    assert spans["rows"].parent == spans["caller"].id
    assert spans["own"].parent == spans["rows"].id
    assert spans["between"].parent == spans["caller"].id


def test_an_async_generator_read_by_another_task(records: list[Record]) -> None:
    async def run() -> None:
        running = async_numbers([])
        await asyncio.create_task(running.__anext__())  # type: ignore[arg-type]
        await asyncio.create_task(running.aclose())  # type: ignore[arg-type]

    with PerformanceMonitor("caller") as caller:
        async_to_sync(run)()
        assert current_monitor() is caller

    assert [record.name for record in records] == ["async_numbers", "caller"]  # type: ignore[union-attr]


def test_an_exception_thrown_in_is_freed_without_the_garbage_collector() -> None:
    class Heavy(KeyError):
        pass

    @monitored
    def passes_on() -> Iterator[int]:
        yield 1

    def run() -> None:
        running = passes_on()
        next(running)
        with pytest.raises(Heavy):
            running.throw(Heavy())  # type: ignore[attr-defined]

    gc.collect()
    gc.disable()
    try:
        run()
        alive = [found for found in gc.get_objects() if type(found) is Heavy]
    finally:
        gc.enable()

    assert alive == []
