"""
The process that runs one stack: `python -m tests.benchmarks.worker JOB`, the job as JSON, each answer a line of JSON.

What the stack itself writes to standard output goes to /dev/null, in verify mode to a file.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import json
import os
import resource
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from time import process_time
from types import ModuleType
from typing import Any

from tests.benchmarks import drive, sinks
from tests.benchmarks.cases import ALL, INSIDE, LINE, LINE_BELOW_LEVEL, SECRET, Case
from tests.benchmarks.delivery import Delivery
from tests.benchmarks.stacks import STACKS

GROUPS = 20
THREADS = 4
CONCURRENT = 100
OPERATIONS = 50

Job = dict[str, Any]
Run = Callable[[int], None]


# -- the site, started ----------------------------------------------------------------------------------------------------


def set_up(stack: ModuleType) -> str:
    """Start Django with the stack, fill its database; return the cookie of a logged-in user."""
    import django

    if hasattr(stack, "instrument"):
        stack.instrument()
    django.setup()
    # What commands leave in the context no server has.
    return contextvars.copy_context().run(_fill_database)


def _fill_database() -> str:
    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
    from django.contrib.auth.models import Group
    from django.contrib.sessions.backends.db import SessionStore
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    Group.objects.bulk_create(Group(name=f"group {number}") for number in range(GROUPS))
    user = get_user_model().objects.create_user("ann", "ann@example.com")
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    return f"{settings.SESSION_COOKIE_NAME}={session.session_key}"


# -- ways to make a number of requests ------------------------------------------------------------------------------------


def one_by_one(case: Case, interface: str, cookie: str) -> Run:
    """Return a function that makes requests one after the other."""
    url, cookie = case.url(interface), cookie if case.logged_in else ""
    if interface == "wsgi":
        return _serially(drive.wsgi_request(url, cookie), case.status)
    return _serially_async(drive.asgi_request(url, cookie), case.status)


def _serially(request: drive.Request, expected: int) -> Run:
    def run(number: int) -> None:
        for _ in range(number):
            _check(request(), expected)

    return run


def _serially_async(request: drive.AsyncRequest, expected: int) -> Run:
    async def arun(number: int) -> None:
        for _ in range(number):
            _check(await request(), expected)

    loop = asyncio.new_event_loop()
    return lambda number: loop.run_until_complete(arun(number))


def in_threads(case: Case, interface: str, cookie: str) -> Run:
    """Return a function that makes requests in a few threads at once."""
    pool = ThreadPoolExecutor(THREADS)
    runs = [one_by_one(case, interface, cookie) for _ in range(THREADS)]
    return lambda number: list(pool.map(lambda run: run(number // THREADS), runs)).clear()


def at_once(case: Case, interface: str, cookie: str) -> Run:
    """Return a function that makes async requests, many of them at once."""
    request = drive.asgi_request(case.url(interface), cookie if case.logged_in else "")

    async def arun(number: int) -> None:
        for _ in range(number // CONCURRENT):
            for status in await asyncio.gather(*(request() for _ in range(CONCURRENT))):
                _check(status, case.status)

    loop = asyncio.new_event_loop()
    return lambda number: loop.run_until_complete(arun(number))


def _check(status: int, expected: int) -> None:
    if status != expected:
        raise AssertionError(f"The status is {status}, not {expected}.")


WAYS = {"one by one": one_by_one, "4 threads": in_threads, "100 at once": at_once}


# -- jobs -----------------------------------------------------------------------------------------------------------------


def count_instructions(job: Job, stack: ModuleType, cookie: str) -> Iterator[Any]:
    """Have callgrind count each case; the counts are in its files."""
    from tests.benchmarks import callgrind

    interface = job["interface"]
    for case in map(ALL.__getitem__, job["cases"]):
        run, number = one_by_one(case, interface, cookie), case.number(interface)
        run(case.warm(interface))
        _settle(stack)
        with callgrind.counting(case.name):
            run(number)
    yield None


def count_operations(job: Job, stack: ModuleType, cookie: str) -> Iterator[Any]:
    """Have callgrind count single operations inside a request, and an empty one to take away from each; answer their names."""
    from tests.benchmarks import site

    operations: dict[str, Callable[[], Any]] = {"": lambda: None, **_operations(stack)}
    # Each in a request of its own: what one leaves behind is none of the next one's cost.
    for number, operation in enumerate(operations.values()):
        site.part = partial(_count_operation, stack, str(number), operation)
        one_by_one(INSIDE, "wsgi", cookie)(1)
    yield list(operations)


def _operations(stack: ModuleType) -> dict[str, Callable[[], Any]]:
    tools = stack.tools()

    def monitor() -> None:
        with tools.monitor("part_measured"):
            pass

    return {
        LINE: lambda: tools.info("line_written", order=1, customer="acme", total=9.5),
        LINE_BELOW_LEVEL: lambda: tools.debug("line_left_out", order=1, customer="acme", total=9.5),
        "leave a breadcrumb": lambda: tools.breadcrumb("something happened"),
        "measure a block": monitor,
        **(stack.operations() if hasattr(stack, "operations") else {}),
    }


def _count_operation(stack: ModuleType, name: str, operation: Callable[[], Any]) -> None:
    from tests.benchmarks import callgrind

    for _ in range(OPERATIONS):
        operation()
    _settle(stack)
    with callgrind.counting(name):
        for _ in range(OPERATIONS):
            operation()


def take_time(job: Job, stack: ModuleType, cookie: str) -> Iterator[Any]:
    """Answer each line of standard input, a case, a way and a number of requests, with the CPU seconds they took."""
    runs: dict[tuple[str, str], Run] = {}
    yield None
    for line in sys.stdin:
        wanted = json.loads(line)
        key = wanted["case"], wanted["way"]
        if key not in runs:
            runs[key] = WAYS[wanted["way"]](ALL[wanted["case"]], job["interface"], cookie)
            runs[key](wanted["requests"])
        gc.collect()
        started = process_time()
        runs[key](wanted["requests"])
        yield process_time() - started


def take_memory(job: Job, stack: ModuleType, cookie: str) -> Iterator[Any]:
    """Answer the MiB the process holds after each of the numbers of requests."""
    run, done = one_by_one(ALL[job["case"]], job["interface"], cookie), 0
    held = []
    for number in job["requests"]:
        run(number - done)
        done = number
        held.append(_resident_mib())
    yield held


def show_delivered(job: Job, stack: ModuleType, cookie: str) -> Iterator[Any]:
    """Answer what one request of each case delivered."""
    for name in job["cases"]:
        run = one_by_one(ALL[name], job["interface"], cookie)
        _output_of(run)
        stack.delivered()
        sinks.kept.clear()
        # Where rows and counters are counted, those of before are not this request's.
        before = stack.delivered().records
        lines = _output_of(run)
        delivery: Delivery = stack.delivered()
        delivery.lines = lines
        delivery.records = {kind: count - before.get(kind, 0) for kind, count in delivery.records.items()}
        yield {**delivery.as_dict(), "leaks": SECRET in repr([sinks.texts(), lines])}


def _output_of(run: Run) -> list[Any]:
    """Make one request, and return the lines that were written meanwhile."""
    start = os.lseek(1, 0, os.SEEK_END)
    run(1)
    sys.stdout.flush()
    written = os.pread(1, os.lseek(1, 0, os.SEEK_END) - start, start).decode()
    return [_parsed(line) for line in written.splitlines()]


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return {"text": line}


JOBS: dict[str, Callable[[Job, ModuleType, str], Iterator[Any]]] = {
    "instructions": count_instructions,
    "operations": count_operations,
    "time": take_time,
    "memory": take_memory,
    "delivered": show_delivered,
}


def _settle(stack: ModuleType) -> None:
    """Take what is there out of the garbage collector's rounds, so that these cost the same whatever was loaded."""
    if hasattr(stack, "settle"):
        stack.settle()
    gc.collect()
    gc.freeze()


def _resident_mib() -> float:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except FileNotFoundError:
        # The most it ever was, in kB; elsewhere than on Linux there is nothing else without another package.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return pages * resource.getpagesize() / 2**20


def main() -> None:
    """Do the job, and tell what comes out, line by line."""
    job: Job = json.loads(sys.argv[1])
    # Before Django is imported: some stacks want to be the first.
    stack = STACKS[os.environ["BENCHMARK_STACK"]].load()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    with tempfile.TemporaryFile() if sinks.is_keeping() else open(os.devnull, "wb") as output:
        os.dup2(output.fileno(), 1)
        for answer in JOBS[job["do"]](job, stack, set_up(stack)):
            answers.write(json.dumps(answer) + "\n")
    # Threads of the stacks must not keep the process, nor write to what is closed.
    os._exit(0)


if __name__ == "__main__":
    main()
