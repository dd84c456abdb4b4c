"""The benchmark measures what it says, and ours delivers all that it is compared for."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks import __main__ as command
from tests.benchmarks import delivered, instructions, report, results, startup, suite, worker
from tests.benchmarks.budgets import BUDGETS, Budget, added, step
from tests.benchmarks.cases import CASES, EVERYTHING, GROWING, INTERFACES, LINE, LINE_BELOW_LEVEL, SECRET, Case
from tests.benchmarks.figures import Figure, Figures, Key
from tests.benchmarks.plans import Plan
from tests.benchmarks.processes import Setup, WorkerFailed, answers, conversation
from tests.benchmarks.results import Results
from tests.benchmarks.stacks import STACKS, Stack

INSTALLED = [stack for stack in STACKS.values() if not stack.missing]
UNAVAILABLE = instructions.unavailable()

Delivered = dict[str, dict[str, Any]]


@pytest.fixture(scope="module", params=["wsgi", "asgi-sync"])
def sampled(request: pytest.FixtureRequest) -> Delivered:
    """What ours delivers for one request of each case, every request traced."""
    return delivered.by_case(Setup("ours", 1.0), request.param, delivered.SHOWN)


@pytest.fixture(scope="module")
def unsampled() -> Delivered:
    """What ours delivers for one request of each case, none traced."""
    return delivered.by_case(Setup("ours", 0.0), "wsgi", delivered.SHOWN)


def request_lines(delivery: dict[str, Any]) -> list[dict[str, Any]]:
    return [line for line in delivery["lines"] if line["event"].startswith("request_")]


# -- ours delivers all of it ----------------------------------------------------------------------------------------------


@pytest.mark.processes
def test_a_request_has_one_canonical_line(sampled: Delivered) -> None:
    for name in CASES:
        (line,) = request_lines(sampled[name])

        assert line["status"] == CASES[name].status
        assert {"method", "route", "path", "duration_ms", "db_queries", "db_ms", "request_id", "trace_id"} <= set(line)


@pytest.mark.processes
def test_lines_of_the_view_carry_the_ids_of_the_request(sampled: Delivered) -> None:
    lines = sampled["work"]["lines"]

    assert [line["event"] for line in lines] == ["order_started", "group_read", "order_placed", "request_finished"]
    assert len({(line["request_id"], line["trace_id"]) for line in lines}) == 1


@pytest.mark.processes
def test_queries_and_monitors_are_spans_where_sampled(sampled: Delivered, unsampled: Delivered) -> None:
    assert [trace["spans"] for trace in sampled["work"]["traces"]] == [5 + 1]
    assert [trace["spans"] for trace in sampled["page"]["traces"]] == [200]
    assert all(unsampled[name]["traces"] == [] for name in delivered.SHOWN)


@pytest.mark.processes
def test_a_failure_is_one_event_with_all_that_belongs_to_it(sampled: Delivered, unsampled: Delivered) -> None:
    for delivery in (sampled["raising"], unsampled["raising"], sampled["everything"], unsampled["everything"]):
        (failure,) = delivery["failures"]

        assert failure["title"] == "OrderFailed"
        assert failure["request"]
        assert failure["trace"]
        assert failure["frames"] == failure["with_locals"] > 0
        assert failure["breadcrumbs"] > 0


@pytest.mark.processes
def test_the_user_is_known_where_the_view_has_read_it(sampled: Delivered, unsampled: Delivered) -> None:
    for delivery in (sampled["everything"], unsampled["everything"]):
        assert delivery["failures"][0]["user"]
        assert request_lines(delivery)[0]["user_id"] == "1"
    assert "user_id" not in request_lines(sampled["user"])[0]


@pytest.mark.processes
def test_lines_queries_and_breadcrumbs_lead_to_the_failure(unsampled: Delivered) -> None:
    assert (
        unsampled["everything"]["failures"][0]["breadcrumbs"] > unsampled["raising"]["failures"][0]["breadcrumbs"] + 2
    )


@pytest.mark.processes
def test_every_request_and_every_operation_makes_a_record(sampled: Delivered) -> None:
    assert sampled["trivial"]["records"] == {"RequestRecord": 1}
    assert sampled["work"]["records"] == {"RequestRecord": 1, "OperationRecord": 1}
    assert sampled["raising"]["records"] == {"RequestRecord": 1}


@pytest.mark.processes
def test_no_secret_leaves(sampled: Delivered, unsampled: Delivered) -> None:
    assert not sampled["everything"]["leaks"]
    assert not unsampled["everything"]["leaks"]
    assert SECRET not in str([sampled, unsampled])


@pytest.mark.processes
def test_a_secret_that_leaves_is_seen() -> None:
    found = delivered.by_case(Setup("glue", 0.0), "wsgi", [EVERYTHING.name])

    assert found["everything"]["leaks"]


# -- the parts ------------------------------------------------------------------------------------------------------------


@pytest.mark.processes
@pytest.mark.parametrize("stack", INSTALLED, ids=lambda stack: stack.name)
def test_every_installed_stack_answers(stack: Stack) -> None:
    assert delivered.fault(stack) is None


@pytest.mark.processes
def test_who_delivers_nothing_is_seen() -> None:
    assert delivered.is_silent(STACKS["bare"], "asgi-async")
    assert not delivered.is_silent(STACKS["structlog"], "asgi-async")


@pytest.mark.processes
@pytest.mark.skipif(UNAVAILABLE is not None, reason=str(UNAVAILABLE))
def test_the_same_request_takes_the_same_instructions() -> None:
    found = instructions.of_requests(Setup("bare", 0.0), "wsgi", ["trivial", "user"])

    assert found["user"] == pytest.approx(found["trivial"], rel=0.02)


@pytest.mark.processes
@pytest.mark.skipif(UNAVAILABLE is not None, reason=str(UNAVAILABLE))
def test_operations_are_counted_without_what_calls_them() -> None:
    found = instructions.of_operations(Setup("bare", 0.0))

    assert 0 < found[LINE_BELOW_LEVEL] < 20_000
    assert found["leave a breadcrumb"] < 1_000


@pytest.mark.processes
@pytest.mark.parametrize(
    ("interface", "way"), [("wsgi", "one by one"), ("wsgi", "4 threads"), ("asgi-async", "100 at once")]
)
def test_a_batch_is_timed_however_it_is_made(interface: str, way: str) -> None:
    with conversation(Setup("bare", 0.0), {"do": "time", "interface": interface}) as talk:
        assert talk.hear() is None
        assert talk.ask(case="trivial", way=way, requests=100) > 0


@pytest.mark.processes
def test_the_memory_is_looked_at_after_each_number_of_requests() -> None:
    job = {"do": "memory", "interface": "wsgi", "case": "trivial", "requests": [5, 10]}

    ((first, second),) = answers(Setup("bare", 0.0), job)

    assert 0 < first <= second


@pytest.mark.processes
def test_a_process_that_fails_says_what_it_wrote() -> None:
    with pytest.raises(WorkerFailed, match="KeyError: 'sleep'"):
        answers(Setup("bare", 0.0), {"do": "sleep"})


def test_another_status_than_the_expected_stops_the_measuring(settings: Any) -> None:
    run = worker.one_by_one(Case("missing", "a path without a view", "/missing/", 1), "wsgi", "")

    with pytest.raises(AssertionError, match="The status is 404, not 200"):
        run(1)


@pytest.mark.processes
def test_what_a_process_takes_to_start_is_measured() -> None:
    work = "sum(range(1_000_000))"

    assert startup.cpu_ms(*startup.python(work)) > startup.cpu_ms(*startup.python("pass", before=work))


def test_a_stack_that_is_not_installed_is_a_note() -> None:
    found = Results()

    suite.run(Plan(stacks=(Stack("ghost", "Ghost", "bare", ("no-such-package",)),), sections=()), found)

    assert found.notes == ["Ghost is left out: no-such-package is not installed."]


# -- budgets, report, comparison ------------------------------------------------------------------------------------------


EACH = {"bare": 1, "ours": 2, "ours-dashboard": 2, "glue": 5}


def whole(value: float = 1e6) -> Figures:
    """Return the figures of a whole run, all of one value; growing requests by `EACH` of it."""
    operations = (LINE, LINE_BELOW_LEVEL)
    keys = [
        *(Key("instructions", *place) for place in product(CASES, STACKS, INTERFACES, (0.0, 1.0))),
        *(Key("operations", *place) for place in product(operations, EACH)),
        *(Key("memory", f"after {number} requests", stack, rate=0.1) for number in (10_000, 100_000) for stack in EACH),
        *(Key("startup", *place) for place in product((startup.IMPORT_IN_DJANGO, startup.CHECK), STACKS)),
    ]
    growing = (
        Figure(Key("growth", f"{number} {what}", stack, rate=rate), value * number * EACH[stack])
        for what, numbers in GROWING.items()
        for number, stack, rate in product(numbers, EACH, (0.0, 1.0))
    )
    return Figures([*(Figure(key, value) for key in keys), *growing])


def test_a_whole_run_tells_of_every_budget() -> None:
    figures = whole()

    values = {budget.title: budget.measure(figures) for budget in BUDGETS}

    assert None not in values.values()
    assert values["trivial view, unsampled"] == 0
    assert values["a query, unsampled"] == 0.25
    assert values["one more of many queries, unsampled"] == 1


def test_a_budget_says_by_how_much_it_is_missed() -> None:
    budget = Budget("view", 0.35, "M", added("trivial"))
    figures = Figures(
        [Figure(Key("instructions", "trivial", "bare"), 1e6), Figure(Key("instructions", "trivial", "ours"), 1.5e6)]
    )

    assert budget.verdict(budget.measure(figures) or 0) == "missed by 0.15"
    assert budget.verdict(0.35) == "met"


def test_a_step_in_the_growth_is_seen() -> None:
    counts = {"bare": {0: 1.0, 3: 4.0, 30: 31.0}, "ours": {0: 1.0, 3: 7.0, 30: 115.0}}
    figures = Figures(
        Figure(Key("growth", f"{number} log lines", stack), count)
        for stack, of_stack in counts.items()
        for number, count in of_stack.items()
    )

    assert step("log lines", 0.0)(figures) == 3


def test_the_report_shows_figures_budgets_and_notes() -> None:
    found = results.begin(INSTALLED, "python -m tests.benchmarks")
    found.figures.add(whole(2e6))
    found.figures.add([Figure(Key("cpu", "trivial", "ours"), 1.25, 1.2, 1.5)])
    found.notes.append("Silk is left out.")

    shown = report.render(found)

    assert "| trivial | 2.000 | 2.000 |" in shown
    assert "1.25 (1.20 to 1.50)" in shown
    assert "| trivial view, unsampled | 0.00 | 0.35 M instructions added | met |" in shown
    assert "- Silk is left out." in shown


def test_what_was_not_measured_is_said() -> None:
    assert report.budgets(Figures()).startswith("Not measured: trivial view, unsampled; ")


def test_results_are_kept_as_they_are(tmp_path: Path) -> None:
    found = results.begin(INSTALLED, "python -m tests.benchmarks")
    found.figures.add(whole())

    found.write(tmp_path / "results.json")
    read = results.read(tmp_path / "results.json")

    assert list(read.figures) == list(found.figures)
    assert (read.about, read.versions, read.notes) == (found.about, found.versions, found.notes)


def test_the_comparison_tells_what_got_dearer_and_nothing_else() -> None:
    old, new = whole(1e6), whole(1e6)
    new.add(
        [
            Figure(Key("instructions", "trivial", "ours"), 1.5e6),
            Figure(Key("instructions", "work", "ours"), 1.01e6),
            Figure(Key("instructions", "page", "ours"), 0.5e6),
        ]
    )

    assert list(report.compare(old, new)) == ["instructions, ours, trivial, wsgi 0%: 1.000 -> 1.500 (+50.0%)"]


def test_what_varies_from_round_to_round_is_dearer_only_beyond_that() -> None:
    key = Key("cpu", "trivial", "ours")
    old = Figures([Figure(key, 1.0, 0.9, 1.6)])

    assert list(report.compare(old, Figures([Figure(key, 1.7, 1.5, 1.9)]))) == []
    assert len(list(report.compare(old, Figures([Figure(key, 1.8, 1.7, 1.9)])))) == 1


def test_the_page_gets_a_table_between_its_markers(tmp_path: Path) -> None:
    path = tmp_path / "cost.md"
    path.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    found = results.begin(INSTALLED, "python -m tests.benchmarks")
    found.figures.add(whole())

    report.write_table(path, found)
    once = path.read_text()
    report.write_table(path, found)

    assert path.read_text() == once
    assert once.startswith(f"before\n{report.BEGIN}\n| ")
    assert once.endswith(f"{report.END}\nafter\n")
    assert "| crm_monitoring, sampled | x 1.00 |" in once
    assert "old" not in once


# -- the command ----------------------------------------------------------------------------------------------------------


def test_the_quick_mode_leaves_out_what_takes_long() -> None:
    plan = command.plan_of(command.parse(["--quick"]))

    assert [stack.name for stack in plan.stacks] == ["bare", "ours", "glue"]
    assert plan.interfaces == ("wsgi",)
    assert not {"memory", "growth"} & set(plan.sections)


def test_the_command_measures_only_what_it_is_asked_for() -> None:
    plan = command.plan_of(command.parse(["--only", "bare,ours", "--case", "work", "--rate", "0", "--instructions"]))

    assert plan.setups(plan.counted_rates) == [Setup("bare", 0.0), Setup("ours", 0.0)]
    assert plan.cases == ("work",)
    assert plan.sections == ("instructions",)


@pytest.mark.parametrize("arguments", [["--only", "bare,our"], ["--case", "trivia"], ["--section", "all"]])
def test_an_unknown_name_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.parse(arguments)

    assert "is none of" in capsys.readouterr().err


@pytest.mark.processes
def test_the_verify_mode_shows_what_was_delivered() -> None:
    shown = "\n".join(
        command.lines(command.parse(["--verify", "--only", "ours", "--case", "work", "--interface", "wsgi"]))
    )

    assert "## ours 100%, wsgi" in shown
    assert "line request_finished: event level timestamp logger" in shown
    assert "transaction GET work/: 6 spans" in shown
    assert "1 RequestRecord" in shown
