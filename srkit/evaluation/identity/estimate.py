"""A figure with its interval."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A figure and the ends of its 95% interval; not a number where it isn't defined."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, draws: Array) -> Estimate:
        """Return a figure with the percentiles of its draws.

        Args:
            value: What was measured.
            draws: The same figure of every draw of the bootstrap; those in which it isn't
                defined (everybody drawn is one person, say) don't count.
        """
        defined = draws[np.isfinite(draws)]
        if not (math.isfinite(value) and len(defined)):
            return UNKNOWN
        low, high = np.quantile(defined, [0.025, 0.975])
        return cls(float(value), float(low), float(high))

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Estimate:
        """Return the estimate that ``vars`` gave these values of."""
        if math.isnan(found["value"]):
            return UNKNOWN  # which equals itself, as no other NaN does
        return cls(found["value"], found["low"], found["high"])


UNKNOWN = Estimate(math.nan, math.nan, math.nan)


def share(value: Array, floor: Array, ceiling: Array) -> Array:
    """Return how much of the way from floor to ceiling a value has come; NaN where there's none."""
    way = ceiling - floor
    found: Array = np.full(np.shape(way), np.nan)
    np.divide(value - floor, way, out=found, where=way != 0)
    return found + 0.0  # no -0.0


def weights(people: int, draws: int, seed: int) -> Array:
    """Return how often each person is drawn in each draw of a bootstrap, ``draws x people``."""
    rng = np.random.default_rng(seed)
    drawn: Array = rng.multinomial(people, np.full(people, 1 / people), size=draws).astype(float)
    return drawn
