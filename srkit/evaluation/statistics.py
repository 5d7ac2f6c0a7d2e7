"""Intervals and tests, which tell a difference from luck."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

DRAWS = 2000  # resamples of the bootstrap
# Of fewer differences no sign-flip test has a p of 0.05 or less: nothing can be told from luck.
FEWEST = 6
LEVEL = 0.95  # share of resamples within an interval
FLIPS = 10_000  # random sign flips of the test
AT_ONCE = 1 << 18  # random numbers at a time: they stay in a core's cache
EQUAL = 1e-12  # sums that differ by less than this share of all differences' sum are ties

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """How much more one method has than another, on the same images.

    Mean of the differences, its 95% interval (paired bootstrap), and the two-sided p of the null
    hypothesis that the two are interchangeable.
    """

    mean: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Estimate:
    """A figure and the ends of its 95% interval; not a number where it isn't defined."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, draws: Array) -> Estimate:
        """Return a figure with the percentiles of its resamples.

        Those in which it isn't defined (everybody drawn is one person, say) don't count.
        """
        defined = draws[np.isfinite(draws)]
        if not (math.isfinite(value) and len(defined)):
            return UNKNOWN
        low, high = np.quantile(defined, [0.025, 0.975])
        return cls(float(value), float(low), float(high))


UNKNOWN = Estimate(math.nan, math.nan, math.nan)


def mean(values: Sequence[float]) -> float:
    """Return the mean: summed exactly, so that no order of the values can be seen in it.

    It is not a number where there are none.
    """
    return math.fsum(values) / len(values) if len(values) else math.nan


def interval(
    values: ArrayLike, groups: ArrayLike | None = None, *, seed: int = 0
) -> tuple[float, float]:
    """Return the 95% percentile bootstrap interval of the mean.

    Args:
        values: One an image or pair; with fewer than two (groups) both ends are no numbers.
        groups: Same length: whole groups (people) are resampled, since the values of one depend
            on each other. Without it single values are.
        seed: Seed of the resampling.
    """
    scores = np.asarray(values, dtype=np.float64)
    sums, sizes = by_group(scores, groups)
    if len(sums) < 2:
        return math.nan, math.nan
    rng, count = np.random.default_rng(seed), len(sums)
    means = []
    for rows in _rows(DRAWS, count):
        drawn: NDArray[np.intp] = rng.integers(0, count, size=(rows, count))
        means.append(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1))
    low, high = np.quantile(np.concatenate(means), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def difference(
    a: ArrayLike, b: ArrayLike, groups: ArrayLike | None = None, *, seed: int = 0
) -> Difference:
    """Compare two methods on the same images: mean of a - b, its interval, and a test.

    Args:
        a: One score an image.
        b: The same images' scores.
        groups: As in `interval`; in the test whole groups are flipped.
        seed: Seed of resampling and test.

    Raises:
        ValueError: There are no values, not the same number of both, or infinite ones.
    """
    left, right = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if left.shape != right.shape:
        raise ValueError(f"{left.shape} and {right.shape} values can't be paired")
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        raise ValueError("values that aren't finite can't be paired")
    if not left.size:
        raise ValueError("nothing to compare")
    values = left - right
    low, high = interval(values, groups, seed=seed)
    return Difference(mean(values.tolist()), low, high, flipped(values, groups, seed=seed))


def flipped(values: ArrayLike, groups: ArrayLike | None = None, *, seed: int = 0) -> float:
    """Return p of a paired sign-flip permutation test (Fisher, 1935), two-sided.

    If it didn't matter which of the two made an image, every difference could as well have the
    other sign. p is the share of such flips whose mean is at least as far from 0: of all flips,
    where there are no more than `FLIPS`; else of `FLIPS` random ones, the observed one counted
    among them (Phipson and Smyth, 2010), so that p is never 0. Few values can't have a small p:
    the smallest of five groups is 2 / 32.

    Not a t-test, which takes the mean for normal: differences in decibels are skewed.

    Args:
        values: Differences.
        groups: Same length: their values are flipped together.
        seed: Seed of the flips.
    """
    sums, _ = by_group(values, groups)
    sums = sums[sums != 0]  # nothing changes when nothing is flipped
    count, size = len(sums), np.abs(sums).sum()
    least = abs(sums.sum()) - EQUAL * size
    if exact := 2**count <= FLIPS:
        numbers = np.arange(2**count)[:, None]
        signs: Iterator[NDArray[np.uint8]] = iter([(numbers >> np.arange(count) & 1).astype("u1")])
    else:
        signs = _random_bits(count, seed)
    # Flipping those with a set bit takes each of them off twice.
    far = sum(int((np.abs(sums.sum() - 2 * (bits @ sums)) >= least).sum()) for bits in signs)
    return far / 2**count if exact else (far + 1) / (FLIPS + 1)


def holm(ps: Sequence[float]) -> list[float]:
    """Return p-values adjusted for there being several of them (Holm, 1979).

    Whatever is true, the chance that any one below alpha is a false alarm stays below alpha.

    Args:
        ps: One family of tests, in any order.

    Returns:
        Adjusted values in the same order; at least as large as they were, at most 1.
    """
    adjusted, so_far = [0.0] * len(ps), 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        so_far = max(so_far, min(1.0, (len(ps) - rank) * ps[index]))
        adjusted[index] = so_far
    return adjusted


def share(value: Array, floor: Array, ceiling: Array) -> Array:
    """Return how much of the way from floor to ceiling a value has come; NaN where there's none."""
    way = ceiling - floor
    part: Array = np.full(np.shape(way), np.nan)
    np.divide(value - floor, way, out=part, where=way != 0)
    return part + 0.0  # no -0.0


def weights(people: int, draws: int, seed: int) -> Array:
    """Return how often each person is in each resample of a bootstrap, ``draws x people``."""
    rng = np.random.default_rng(seed)
    drawn: Array = rng.multinomial(people, np.full(people, 1 / people), size=draws).astype(float)
    return drawn


def by_group(scores: ArrayLike, groups: ArrayLike | None) -> tuple[Array, Array]:
    """Return each group's sum and size; every value is a group by itself without ``groups``."""
    values = np.asarray(scores, dtype=np.float64)
    if groups is None:
        return values, np.ones(len(values))
    place: NDArray[np.intp] = np.unique(np.asarray(groups), return_inverse=True)[1]
    sums = np.bincount(place, weights=values).astype(np.float64)  # it is that: for mypy
    return sums, np.bincount(place).astype(np.float64)


def _rows(total: int, width: int) -> Iterator[int]:
    """Cut ``total`` rows into pieces that memory holds."""
    step = max(1, AT_ONCE // width)
    for first in range(0, total, step):
        yield min(step, total - first)


def _random_bits(width: int, seed: int) -> Iterator[NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    for rows in _rows(FLIPS, width):
        # Whole words: then the stream doesn't depend on how many rows are drawn at once.
        words = rng.integers(0, 1 << 64, size=(rows, -(-width // 64)), dtype=np.uint64)
        yield np.unpackbits(words.astype("<u8").view(np.uint8), axis=1, count=width)
