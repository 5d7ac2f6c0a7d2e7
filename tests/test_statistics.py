"""Intervals and tests against scipy's, against their own promises, and on odd values."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from srkit.evaluation import statistics
from srkit.evaluation.statistics import difference, flipped, holm, interval, mean

INF = math.inf


# --- intervals ----------------------------------------------------------------------------------


@given(values=st.lists(st.floats(-100, 100), min_size=2, max_size=40))
def test_an_interval_lies_within_the_values(values: list[float]) -> None:
    low, high = interval(values)
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9


def test_an_interval_covers_the_mean_and_narrows_with_more_values() -> None:
    rng = np.random.default_rng(2)
    widths = []
    for count in (10, 100, 1000):
        values = rng.normal(5, 2, count)
        low, high = interval(values)
        assert low < values.mean() < high
        widths.append(high - low)
    assert widths[0] > widths[1] > widths[2]
    assert widths[2] == pytest.approx(2 * 1.96 * 2 / math.sqrt(1000), rel=0.15)


def test_an_interval_is_that_of_scipy() -> None:
    values = np.random.default_rng(6).gamma(2.0, size=80)
    theirs = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, rng=1)
    ends = theirs.confidence_interval
    width = ends.high - ends.low
    assert interval(values) == pytest.approx((ends.low, ends.high), abs=0.05 * width)


def test_an_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    ends = [interval(rng.normal(0, 1, 60)) for _ in range(200)]
    covered = sum(low <= 0 <= high for low, high in ends) / len(ends)
    assert 0.88 <= covered <= 0.99


def test_intervals_by_groups_are_wider_where_values_hang_together() -> None:
    rng = np.random.default_rng(4)
    people = np.repeat(np.arange(20), 10)
    values = rng.normal(0, 1, 20)[people] + rng.normal(0, 0.1, 200)
    alone, together = interval(values), interval(values, people)
    assert together[1] - together[0] > 2 * (alone[1] - alone[0])
    named = interval(values, [f"person {number:02d}" for number in people])
    assert named == together


def test_intervals_are_the_same_every_time_and_of_one_value_there_is_none() -> None:
    values = np.random.default_rng(5).normal(0, 1, 50)
    assert interval(values) == interval(values)
    assert interval(values, seed=1) != interval(values, seed=2)
    assert all(math.isnan(end) for values in ([], [3.0]) for end in interval(values))
    assert all(math.isnan(end) for end in interval([3.0, 4.0], ["one", "one"]))


def test_how_much_is_drawn_at_once_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(7).normal(0.2, 1, 301)
    ends, p = interval(values), flipped(values)
    assert 1e-4 < p < 0.5
    monkeypatch.setattr(statistics, "AT_ONCE", 1000)
    assert (interval(values), flipped(values)) == (ends, p)


# --- means and differences ----------------------------------------------------------------------


def test_a_mean_shows_no_order() -> None:
    values = [10.0**k for k in range(-8, 9)] * 3
    shuffled = random.Random(0).sample(values, len(values))
    assert sum(values) != sum(shuffled)  # the plain sum does
    assert mean(values) == mean(shuffled)
    assert math.isnan(mean([]))


@pytest.mark.parametrize("other", [[1.0], [1.0, INF], [math.nan, 1.0]])
def test_only_as_many_finite_scores_are_subtracted(other: list[float]) -> None:
    with pytest.raises(ValueError, match="can't be paired"):
        difference([1.0, 2.0], other)


def test_a_difference_states_mean_interval_and_p() -> None:
    rng = np.random.default_rng(8)
    images = rng.normal(25, 4, 200)  # far more spread than the difference
    a, b = images + rng.normal(0.3, 0.5, 200), images + rng.normal(0, 0.5, 200)
    result = difference(a, b)
    assert result.mean == pytest.approx((a - b).mean())
    assert (result.low, result.high) == interval(a - b)
    assert result.p < 0.001
    reversed_ = difference(b, a)
    assert (reversed_.mean, reversed_.p) == (-result.mean, result.p)
    with pytest.raises(ValueError, match="nothing to compare"):
        difference([], [])


def test_of_a_method_and_itself_nothing_differs() -> None:
    values = np.random.default_rng(9).normal(0, 1, 40)
    assert difference(values, values) == statistics.Difference(0, 0, 0, 1)


# --- the test -----------------------------------------------------------------------------------


def exact(values: NDArray[np.float64]) -> float:
    result = stats.permutation_test(
        (values,), np.sum, permutation_type="samples", n_resamples=np.inf, vectorized=False
    )
    return float(result.pvalue)


@pytest.mark.parametrize("count", [2, 5, 9, 12])
def test_p_of_few_values_is_scipys_exact_one(count: int) -> None:
    rng = np.random.default_rng(count)
    for shift in (0, 0.4, 1.5):
        values = rng.normal(shift, 1, count)
        assert flipped(values) == pytest.approx(exact(values), abs=1e-12)
    assert flipped(np.ones(count)) == pytest.approx(2 / 2**count)  # the least there can be


def test_ties_are_counted_as_scipy_counts_them() -> None:
    for seed in range(20):
        values = np.random.default_rng(seed).integers(-2, 4, 9) / 10
        assert flipped(values) == pytest.approx(exact(values), abs=1e-12)


def test_p_of_many_values_is_that_of_scipy() -> None:
    rng = np.random.default_rng(10)
    for shift in (0.0, 0.1, 0.25):
        values = rng.normal(shift, 1, 120)
        theirs = stats.permutation_test(
            (values,), lambda x, axis: x.sum(axis), permutation_type="samples", rng=1
        )
        assert flipped(values) == pytest.approx(theirs.pvalue, abs=0.015)
        # Wilcoxon's asks nearly the same of values as symmetric as these.
        assert flipped(values) == pytest.approx(stats.wilcoxon(values).pvalue, abs=0.12)
    assert flipped(rng.normal(2, 1, 120)) == 1 / (statistics.FLIPS + 1)  # never 0


@pytest.mark.parametrize("count", [10, 40])
def test_alarms_are_false_as_often_as_they_may_be(count: int) -> None:
    rng = np.random.default_rng(11)
    # Symmetric and with heavy tails: what a t-test isn't made for.
    ps = [flipped(rng.standard_t(2, count), seed=k) for k in range(400)]
    for alpha in (0.05, 0.2):
        share = sum(p <= alpha for p in ps) / len(ps)
        assert share == pytest.approx(alpha, abs=4 * math.sqrt(alpha * (1 - alpha) / len(ps)))


def test_groups_are_flipped_together() -> None:
    rng = np.random.default_rng(12)
    people = np.repeat(np.arange(10), 30)
    values = np.repeat(rng.normal(0, 1, 10), 30)
    sums = np.array([values[people == k].sum() for k in range(10)])
    assert flipped(values, people) == pytest.approx(exact(sums), abs=1e-12)
    ps = [flipped(np.repeat(rng.normal(0, 1, 10), 30)) for _ in range(20)]
    assert sum(p < 0.05 for p in ps) > 10  # whoever takes them for 300 is often wrong


def test_few_values_say_little() -> None:
    assert flipped([0.3]) == 1
    assert flipped([0.3] * 5) == pytest.approx(2 / 32)
    assert flipped([0.3, -0.3] * 3) == 1


@given(values=st.lists(st.floats(-50, 50) | st.just(0.0), min_size=1, max_size=10))
def test_p_is_a_probability_and_knows_no_direction(values: list[float]) -> None:
    p = flipped(values)
    assert 2 / 2 ** len(values) - 1e-12 <= p <= 1
    assert flipped([-value for value in values]) == p
    assert flipped(values[::-1]) == p


# --- several tests ------------------------------------------------------------------------------


def test_holms_correction_is_the_textbooks() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.2]) == [0.2]
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1, 1]


@given(ps=st.lists(st.floats(0, 1), max_size=12))
def test_holms_correction_keeps_the_order_and_never_makes_p_smaller(ps: list[float]) -> None:
    result = holm(ps)
    assert all(p <= q <= min(1, len(ps) * p) + 1e-12 for p, q in zip(ps, result, strict=True))
    order = sorted(range(len(ps)), key=lambda i: ps[i])
    assert [result[i] for i in order] == sorted(result)
