"""Sketches of durations, held against the durations themselves; and the Apdex."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_monitoring.dashboard.metrics.sketch import LEAST_MS, MOST_MS, RELATIVE_ERROR, Sketch, apdex

QS = (0.5, 0.95, 0.99)
durations = st.lists(st.floats(0.0, 1e8), max_size=60)


def sketch_of(values: list[float]) -> Sketch:
    sketch = Sketch()
    for value in values:
        sketch.add(value)
    return sketch


def log_normal(chance: random.Random) -> float:
    return min(100_000.0, max(1.0, chance.lognormvariate(4.5, 1.5)))


def bimodal(chance: random.Random) -> float:
    return max(1.0, chance.gauss(4, 1) if chance.random() < 0.8 else chance.gauss(3_000, 400))


def constant(chance: random.Random) -> float:
    return 250.0


def whole_range(chance: random.Random) -> float:
    return float(10 ** chance.uniform(0, 5))


@pytest.mark.parametrize("count", [1, 2, 10, 1_000, 20_000])
@pytest.mark.parametrize("distribution", [log_normal, bimodal, constant, whole_range])
def test_quantiles_are_at_most_two_percent_off_those_of_numpy(
    distribution: Callable[[random.Random], float], count: int
) -> None:
    chance = random.Random(count)
    values = [distribution(chance) for _ in range(count)]

    quantiles = Sketch.from_bytes(sketch_of(values).to_bytes()).quantiles(*QS)

    for found, true in zip(quantiles, numpy.quantile(values, QS), strict=True):
        assert found == pytest.approx(true, rel=RELATIVE_ERROR + 1e-9)
    assert RELATIVE_ERROR <= 0.02


@given(st.lists(st.floats(1.0, 100_000.0), min_size=1, max_size=60), st.floats(0, 1))
def test_any_quantile_of_anything_is(values: list[float], q: float) -> None:
    found = sketch_of(values).quantile(q)

    assert found == pytest.approx(float(numpy.quantile(values, q)), rel=RELATIVE_ERROR + 1e-6)


@given(durations, durations, durations)
def test_what_is_merged_is_what_was_added_in_bulk(one: list[float], two: list[float], three: list[float]) -> None:
    bulk = sketch_of(one + two + three)
    merged = sketch_of(one) + sketch_of(two)
    merged.merge(sketch_of(three))
    summed = Sketch.sum(map(sketch_of, (one, two, three)))

    assert merged.to_bytes() == bulk.to_bytes() == summed.to_bytes()
    assert bulk.count == len(one + two + three)


@given(durations)
def test_what_is_stored_comes_back(values: list[float]) -> None:
    stored = sketch_of(values).to_bytes()

    assert Sketch.from_bytes(stored).to_bytes() == stored
    assert Sketch.from_bytes(stored).count == len(values)


@pytest.mark.parametrize("times", [1, 255, 256, 70_000])
def test_any_count_comes_back(times: int) -> None:
    one = sketch_of([1.0, 30.0, 30.1, 31.0, 100_000.0])

    many = Sketch.from_bytes(Sketch.sum([one] * times).to_bytes())

    assert many.count == 5 * times
    assert many.quantile(0.5) == one.quantile(0.5)


def test_few_durations_take_few_bytes() -> None:
    assert sketch_of([]).to_bytes() == b""
    assert len(sketch_of([3.0, 900.0]).to_bytes()) <= 10
    assert len(sketch_of([log_normal(random.Random(n)) for n in range(1_000)]).to_bytes()) < 400


def test_what_is_out_of_range_counts_as_its_end() -> None:
    sketch = sketch_of([0.0, -1.0, 1e12])

    least, most = sketch.quantiles(0, 1)

    assert sketch.count == 3
    assert least == pytest.approx(LEAST_MS, rel=RELATIVE_ERROR)
    assert most == pytest.approx(MOST_MS, rel=2 * RELATIVE_ERROR)


def test_nothing_has_no_quantile() -> None:
    assert Sketch().quantile(0.5) is None
    assert Sketch().count == 0


def test_apdex_is_that_of_its_specification() -> None:
    # The example of section 4 of the specification.
    assert apdex(100, 60, 30) == 0.75
    assert apdex(10, 0, 0) == 0
    assert apdex(0, 0, 0) is None
