"""The results as Markdown: tables, budgets, and what became more expensive since another run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.budgets import BUDGETS, MILLION
from tests.benchmarks.cases import ALL
from tests.benchmarks.figures import Figure, Figures, Key
from tests.benchmarks.results import Results
from tests.benchmarks.stacks import STACKS

BEGIN, END = "<!-- benchmark -->", "<!-- /benchmark -->"
_SHOWN_CASES = ("trivial", "user", "work", "raising", "page")


class Section(NamedTuple):
    """
    How figures of a section are shown.

    Attributes:
        relative: How much more expensive a figure may be in another run by chance alone.
        absolute: The same in the section's own unit, where it is small.
    """

    title: str
    shown: Callable[[Figure], str]
    relative: float
    absolute: float = 0.0


def _millions(figure: Figure) -> str:
    return f"{figure.value / MILLION:.3f}"


def _ratios(figure: Figure) -> str:
    return f"{figure.value:.2f} ({figure.low:.2f} to {figure.high:.2f})"


def _plain(figure: Figure) -> str:
    return f"{figure.value:.1f}"


SECTIONS = {
    "instructions": Section("Instructions a request, in millions", _millions, 0.02),
    "growth": Section("Instructions a request as it grows, in millions", _millions, 0.02),
    "operations": Section("Instructions of single operations, in thousands", lambda f: f"{f.value / 1e3:.1f}", 0.03),
    "cpu": Section("CPU time as a ratio to bare Django: median (least to most)", _ratios, 0.15),
    "cpu time": Section("CPU time a request, in microseconds: median", _plain, 0.5),
    "memory": Section("Memory held, in MiB", _plain, 0.02, 1.0),
    "startup": Section("CPU time to start, in milliseconds: least", _plain, 0.1, 5.0),
}


def render(results: Results) -> str:
    """Return the whole report."""
    parts = [about(results), budgets(results.figures)]
    parts += [_section(results.figures, name) for name in SECTIONS]
    parts += [versions(results), "\n".join(f"- {note}" for note in results.notes)]
    return "\n\n".join(part for part in parts if part) + "\n"


def about(results: Results) -> str:
    """Return when, where and how it was measured, in a sentence."""
    about = results.about
    return (
        f"Measured on {about['date']} with Python {about['python']} and Django {about['django']} "
        f"({about['machine']}) by `{about['command']}`."
    )


def versions(results: Results) -> str:
    """Return the versions of what was compared, in a sentence."""
    known = {name: number for packages in results.versions.values() for name, number in packages.items()}
    return f"Versions: {', '.join(f'{name} {number}' for name, number in sorted(known.items()))}."


def budgets(figures: Figures) -> str:
    """Return the table of the budgets, met or missed, and a sentence on what this run does not tell."""
    rows, untold = [], []
    for budget in BUDGETS:
        value = budget.measure(figures)
        if value is None:
            untold.append(budget.title)
        else:
            rows.append([budget.title, f"{value:.2f}", f"{budget.limit:.2f} {budget.unit}", budget.verdict(value)])
    told = [table(["budget", "measured", "at most", ""], rows)] if rows else []
    return "\n\n".join([*told, *([f"Not measured: {'; '.join(untold)}."] if untold else [])])


def _section(figures: Figures, name: str) -> str:
    section = SECTIONS[name]
    mine = [figure for figure in figures if figure.key.section == name]
    tables = [
        _pivot([figure for figure in mine if (figure.key.interface, figure.key.rate) == place], section, *place)
        for place in dict.fromkeys((figure.key.interface, figure.key.rate) for figure in mine)
    ]
    return "\n\n".join([f"## {section.title}", *tables]) if tables else ""


def _pivot(figures: Sequence[Figure], section: Section, interface: str, rate: float) -> str:
    cells = {(figure.key.what, figure.key.stack): section.shown(figure) for figure in figures}
    whats = list(dict.fromkeys(what for what, _ in cells))
    stacks = [name for name in STACKS if any(stack == name for _, stack in cells)]
    rows = [[what, *(cells.get((what, stack), "") for stack in stacks)] for what in whats]
    return table([f"{interface}, {rate:.0%} sampled", *stacks], rows)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table, its columns after the first to the right."""
    marks = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, marks, *rows])


# -- another run ----------------------------------------------------------------------------------------------------------


def compare(old: Figures, new: Figures) -> Iterator[str]:
    """Yield what is more expensive in `new` than in `old`, by more than chance explains."""
    for figure in new:
        before = old.get(figure.key)
        section = SECTIONS[figure.key.section]
        if before is not None and _is_dearer(figure, before, section):
            key = figure.key
            yield (
                f"{key.section}, {key.stack}, {key.what}, {key.interface} {key.rate:.0%}: "
                f"{section.shown(before)} -> {section.shown(figure)} ({figure.value / before.value - 1:+.1%})"
            )


def _is_dearer(figure: Figure, before: Figure, section: Section) -> bool:
    least = figure.value if figure.low is None else figure.low
    most = before.value if before.high is None else before.high
    return least > most and figure.value > before.value * (1 + section.relative) + section.absolute


# -- docs/cost.md ---------------------------------------------------------------------------------------------------------


def page_table(results: Results) -> str:
    """Return what docs/cost.md shows: what a request costs with each stack, as multiples of bare Django's."""
    figures = results.figures
    bare = ["bare Django, million instructions", *_bare_cells(figures)]
    rows = [bare, *(row for stack in STACKS if stack != "bare" for row in _page_rows(figures, stack))]
    head = ["a request by WSGI", *(ALL[name].title for name in _SHOWN_CASES)]
    return "\n\n".join([table(head, rows), about(results), versions(results)])


def _bare_cells(figures: Figures) -> list[str]:
    found = [figures.get(Key("instructions", case, "bare")) for case in _SHOWN_CASES]
    return ["" if figure is None else f"{figure.value / MILLION:.2f}" for figure in found]


def _page_rows(figures: Figures, stack: str) -> Iterator[list[str]]:
    for rate in (0.0, 1.0) if STACKS[stack].rated else (0.0,):
        cells = [_times(figures, case, stack, rate) for case in _SHOWN_CASES]
        if any(cells):
            sampled = {0.0: ", not sampled", 1.0: ", sampled"}[rate] if STACKS[stack].rated else ""
            yield [f"{STACKS[stack].title}{sampled}", *cells]


def _times(figures: Figures, case: str, stack: str, rate: float) -> str:
    bare = figures.value("instructions", case, "bare")
    value = figures.value("instructions", case, stack, rate=rate)
    return f"x {value / bare:.2f}" if bare and value else ""


def write_table(path: Path, results: Results) -> None:
    """Put the table between the markers of the page."""
    before, _, rest = path.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    path.write_text(f"{before}{BEGIN}\n{page_table(results)}\n{END}{after}")
