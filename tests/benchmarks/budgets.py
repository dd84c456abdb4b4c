"""What ours may cost at most, in figures of the same run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.benchmarks import memory, startup
from tests.benchmarks.cases import GROWING, LINE, LINE_BELOW_LEVEL
from tests.benchmarks.figures import Figures

MILLION = 1e6
_OURS = "ours"

Measure = Callable[[Figures], float | None]


@dataclass(frozen=True)
class Budget:
    """
    A limit.

    Attributes:
        title: What is limited.
        limit: The most it may be.
        unit: Of the limit, and of what `measure` returns.
        measure: Takes the figure, None where it was not measured.
    """

    title: str
    limit: float
    unit: str
    measure: Measure

    def verdict(self, value: float) -> str:
        """Say whether `value` meets it, or by how much it is missed."""
        return "met" if value <= self.limit else f"missed by {value - self.limit:.2f}"


def added(what: str, interface: str = "wsgi", rate: float = 0.0, stack: str = _OURS) -> Measure:
    """Return what takes the million instructions that a stack adds to bare Django."""

    def measure(figures: Figures) -> float | None:
        bare = figures.value("instructions", what, "bare", interface, 0.0)
        with_stack = figures.value("instructions", what, stack, interface, rate)
        return None if bare is None or with_stack is None else (with_stack - bare) / MILLION

    return measure


def share_of_glue(operation: str) -> Measure:
    """Return what compares an operation, unsampled, with the glue's."""

    def measure(figures: Figures) -> float | None:
        ours, glue = (figures.value("operations", operation, stack) for stack in (_OURS, "glue"))
        return None if ours is None or not glue else ours / glue

    return measure


def query_share_of_glue(figures: Figures) -> float | None:
    """Compare what a query costs more than bare Django's, unsampled, with the glue's."""
    ours, glue = (_each_added(figures, "queries", stack, 0.0, 0) for stack in (_OURS, "glue"))
    return None if ours is None or not glue else ours / glue


def step(what: str, rate: float) -> Measure:
    """Return what compares what one more adds in a big request with what it adds in a small one."""

    def measure(figures: Figures) -> float | None:
        first, later = (_each_added(figures, what, _OURS, rate, start) for start in (0, 1))
        return None if first is None or later is None else later / first

    return measure


def _each_added(figures: Figures, what: str, stack: str, rate: float, start: int) -> float | None:
    with_stack, bare = (_each(figures, what, name, rate, start) for name in (stack, "bare"))
    return None if with_stack is None or bare is None else with_stack - bare


def _each(figures: Figures, what: str, stack: str, rate: float, start: int) -> float | None:
    few, many = GROWING[what][start : start + 2]
    low, high = (figures.value("growth", f"{number} {what}", stack, rate=rate) for number in (few, many))
    return None if low is None or high is None else (high - low) / (many - few)


def memory_growth(figures: Figures) -> float | None:
    """Take the MiB between the tenth of the requests and all of them."""
    first, last = (
        figures.value("memory", f"after {number} requests", _OURS, rate=memory.RATE) for number in (10_000, 100_000)
    )
    return None if first is None or last is None else last - first


def import_over_libraries(figures: Figures) -> float | None:
    """Take the milliseconds that our import takes longer than that of the libraries it is made of."""
    ours, libraries = (figures.value("startup", startup.IMPORT_IN_DJANGO, stack) for stack in (_OURS, "glue"))
    return None if ours is None or libraries is None else ours - libraries


def check_with_dashboard(figures: Figures) -> float | None:
    """Take the milliseconds that the dashboard adds to `manage.py check`."""
    without, with_it = (figures.value("startup", startup.CHECK, stack) for stack in (_OURS, "ours-dashboard"))
    return None if without is None or with_it is None else with_it - without


_ADDED = (
    ("trivial view, unsampled", 0.35, added("trivial")),
    ("trivial view, sampled", 2.6, added("trivial", rate=1.0)),
    ("5 queries + 3 lines + 1 monitor, unsampled", 0.95, added("work")),
    ("5 queries + 3 lines + 1 monitor, sampled", 5.9, added("work", rate=1.0)),
    ("a view that raises, unsampled", 8.0, added("raising")),
    ("trivial view with a logged-in user that it ignores", 0.35, added("user")),
    ("ASGI, async view, trivial, unsampled", 0.7, added("trivial", "asgi-async")),
    ("ASGI, async view, 5 queries + 3 lines + 1 monitor, unsampled", 1.6, added("work", "asgi-async")),
    ("ASGI, async view that raises, unsampled", 9.0, added("raising", "asgi-async")),
)

# More than a twentieth would be a step, not chance.
_LINEAR = 1.05

BUDGETS = (
    *(Budget(title, limit, "M instructions added", measure) for title, limit, measure in _ADDED),
    Budget(LINE, 1 / 3, "of the glue's", share_of_glue(LINE)),
    Budget(LINE_BELOW_LEVEL, 0.2, "of the glue's", share_of_glue(LINE_BELOW_LEVEL)),
    Budget("a query, unsampled", 1 / 3, "of what the glue adds", query_share_of_glue),
    *(
        Budget(
            f"one more of many {what}, {'sampled' if rate else 'unsampled'}",
            _LINEAR,
            "of one more of few",
            step(what, rate),
        )
        for what in GROWING
        for rate in (0.0, 1.0)
    ),
    Budget("memory from 10 000 to 100 000 requests", 5.0, "MiB more", memory_growth),
    Budget("import crm_monitoring", 15.0, "ms more than sentry_sdk and structlog", import_over_libraries),
    Budget("the dashboard in manage.py check", 20.0, "ms more", check_with_dashboard),
)
