"""What monitoring costs a Django request: ours, what people glue together, and others, side by side."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from tests.benchmarks import delivered, plans, report, results, suite
from tests.benchmarks.cases import CASES, INTERFACES, RATES
from tests.benchmarks.plans import Plan
from tests.benchmarks.stacks import STACKS

PAGE = Path(__file__).parents[2] / "docs" / "cost.md"


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options of the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less than a minute: bare, ours and glue, by WSGI")
    parser.add_argument("--verify", action="store_true", help="show what each stack delivers, measure nothing")
    parser.add_argument(
        "--write", action="store_true", help="write the kept results into docs/cost.md, measure nothing"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the results")
    parser.add_argument(
        "--compare", type=Path, metavar="FILE", help="print what has become more expensive than in kept results"
    )
    parser.add_argument("--only", type=_names(STACKS), default=tuple(STACKS), metavar="STACK,...", help=_one_of(STACKS))
    parser.add_argument("--case", type=_names(CASES), default=tuple(CASES), metavar="CASE,...", help=_one_of(CASES))
    parser.add_argument(
        "--interface", type=_names(INTERFACES), default=INTERFACES, metavar="NAME,...", help=_one_of(INTERFACES)
    )
    parser.add_argument("--rate", type=_rates, default=RATES, metavar="RATE,...", help="shares of requests traced")
    sections = parser.add_mutually_exclusive_group()
    sections.add_argument(
        "--section",
        type=_names(plans.SECTIONS),
        default=plans.SECTIONS,
        metavar="NAME,...",
        help=_one_of(plans.SECTIONS),
    )
    sections.add_argument(
        "--instructions", action="store_const", dest="section", const=("instructions",), help="that section alone"
    )
    return parser.parse_args(arguments)


class _names:
    """A list of names, separated by commas, each of which must be known."""

    def __init__(self, known: Collection[str]) -> None:
        self._known = known

    def __call__(self, text: str) -> tuple[str, ...]:
        names = tuple(text.split(","))
        for name in names:
            if name not in self._known:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(self._known)}")
        return names


def _rates(text: str) -> tuple[float, ...]:
    return tuple(map(float, text.split(",")))


def _one_of(known: Collection[str]) -> str:
    return f"of {', '.join(known)}"


def plan_of(options: argparse.Namespace) -> Plan:
    """Return the plan that the options ask for."""
    plan = Plan(
        stacks=tuple(STACKS[name] for name in options.only),
        cases=options.case,
        interfaces=options.interface,
        rates=options.rate,
        sections=options.section,
    )
    return plans.quick(plan) if options.quick else plan


def lines(options: argparse.Namespace) -> Iterator[str]:
    """Do what the options ask for, and yield what is to be shown."""
    plan = plan_of(options)
    if options.write:
        if not results.KEPT.exists():
            sys.exit(f"There are no results yet: run `python -m tests.benchmarks --json {results.KEPT}` first.")
        report.write_table(PAGE, results.read(results.KEPT))
    elif options.verify:
        cases = delivered.SHOWN if options.case == tuple(CASES) else options.case
        yield from delivered.report(plan.setups(plan.counted_rates), plan.interfaces, cases)
    else:
        yield from _measured(plan, options)


def _measured(plan: Plan, options: argparse.Namespace) -> Iterator[str]:
    command = shlex.join(["python", "-m", "tests.benchmarks", *sys.argv[1:]])
    found = results.begin(plan.stacks, command)
    suite.run(plan, found)
    if options.json:
        found.write(options.json)
    yield report.render(found)
    if options.compare:
        costlier = list(report.compare(results.read(options.compare).figures, found.figures))
        yield "\n".join(
            [f"More expensive than {options.compare}:", *costlier] if costlier else ["Nothing became more expensive."]
        )


def main() -> None:
    """Run the command."""
    for line in lines(parse()):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
