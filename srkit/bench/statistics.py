"""Intervals, so that a difference is told from luck."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

DRAWS = 2000


def interval(
    values: ArrayLike, groups: ArrayLike | None = None, *, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """Return a percentile bootstrap interval of the mean.

    Args:
        values: One a picture or pair; infinite ones make both ends infinite.
        groups: Same length: whole groups (people) are drawn, for values within one hang
            together. Without it single values are.
        seed: Of the draws.
        level: Share of draws within the interval.
    """
    scores = np.asarray(values, dtype=np.float64)
    if not np.isfinite(scores).all():
        return float(scores.mean()), float(scores.mean())
    labels = np.arange(len(scores)) if groups is None else np.asarray(groups)
    place: NDArray[np.intp] = np.unique(labels, return_inverse=True)[1]
    count = int(place.max()) + 1
    sums = np.bincount(place, weights=scores, minlength=count)
    sizes = np.bincount(place, minlength=count)
    drawn: NDArray[np.intp] = np.random.default_rng(seed).integers(0, count, size=(DRAWS, count))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
