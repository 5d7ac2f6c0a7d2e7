"""Distances of same and different pairs -> ROC, AUC, EER, TAR at FAR, rank 1; with intervals.

A pair is accepted where its distance is at most the threshold. Everything follows from how many
impostors lie below, at and between the distances of the same pairs, since TAR changes only
there: a million impostors become two thousand counts, once for each draw of the bootstrap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from srkit.evaluation.identity.embed import DECIMALS, Array32
from srkit.evaluation.statistics import Array, Estimate

POINTS = 200  # of a ROC, at most
DRAWS = 300  # resamples of the bootstrap: a million impostors are counted anew in each
EXACT = 1 + 1e-9  # counts are whole numbers; their ratios are compared with this much leeway


@dataclass(frozen=True)
class Rates:
    """What thresholds accept.

    Attributes:
        auc: The chance that a same pair is nearer than an impostor; ties count half.
        eer: Where FAR and 1 - TAR are equal, on the straight lines between the ROC's corners.
        far: Share of impostors accepted at the ROC's corners, rising from 0 to 1.
        tar: Share of same pairs accepted there.
        impostors: How many there are.
    """

    auc: float
    eer: float
    far: Array
    tar: Array
    impostors: float

    def tar_at(self, far: float) -> float:
        """Return the largest TAR of a threshold whose FAR doesn't exceed ``far``.

        It is not a number where a FAR so small would be less than one impostor.
        """
        if self.impostors * far * EXACT < 1:
            return math.nan
        return float(self.tar[self.far <= far * EXACT].max())

    def thinned(self) -> dict[str, list[float]]:
        """Return the ROC at `POINTS` corners or fewer, spread over FAR's logarithm."""
        far, tar = self.far, self.tar
        if len(far) > POINTS:
            least = far[far > 0].min(initial=1.0)
            places = np.searchsorted(far, np.geomspace(least, 1, POINTS - 3), "right") - 1
            unharmed = np.searchsorted(far, 0, "right") - 1  # the best that costs no false accept
            corners = np.unique([0, unharmed, *places, len(far) - 1])
            far, tar = far[corners], tar[corners]
        return {"far": far.round(7).tolist(), "tar": tar.round(7).tolist()}


class Matching:
    """Probes compared with a gallery of one photo a person.

    Args:
        distances: From every probe to every gallery photo, ``PxG``.
        owner: Index of each probe's person in the gallery, ``P``.
    """

    def __init__(self, distances: Array, owner: Sequence[int]) -> None:
        self.owner = np.asarray(owner, dtype=np.intp)
        rows = np.arange(len(self.owner))
        self.distances = distances
        self.same: Array = distances[rows, self.owner]
        values, rank = np.unique(self.same, return_inverse=True)
        self.count, self.rank = len(values), rank.astype(np.intp)
        # 2k: between the same distances k - 1 and k, counted from 0; 2k + 1: at distance k.
        below = np.searchsorted(values, distances, "left")
        self.bins = (below + np.searchsorted(values, distances, "right")).astype(np.int32)
        self.bins[rows, self.owner] = 2 * self.count + 1  # no impostors: counted, and cut off

    def rates(self, drawn: Array | None = None) -> Rates:
        """Return the rates, of everybody or of one draw of people.

        A person drawn k times is k people who are strangers to all others, but not to each other:
        same pairs count as often as their person was drawn, impostors as often as the one person
        times the other.

        Args:
            drawn: How often each person was, ``G``; everybody once, if None.
        """
        drawn = np.ones(self.distances.shape[1]) if drawn is None else drawn
        genuine = np.bincount(self.rank, drawn[self.owner], self.count).astype(np.float64)
        rows, columns = np.flatnonzero(drawn[self.owner]), np.flatnonzero(drawn)
        each = np.outer(drawn[self.owner[rows]], drawn[columns]).ravel()
        bins = self.bins[rows][:, columns].ravel()
        counted = np.bincount(bins, each, 2 * self.count + 2)
        return _rates(genuine, counted[:-1].astype(np.float64))

    def figures(self, weights: Array, targets: Sequence[float]) -> dict[str | float, Array]:
        """Return ``auc``, ``eer`` and, by FAR, TAR; not a number where undefined.

        Of each the first value is everybody's, the others are those of draws; ``weights`` says how
        often each person is in each draw, ``DxG``.
        """
        everybody = np.ones((1, weights.shape[1]))
        rates = map(self.rates, np.concatenate([everybody, weights]))
        rows = [[each.auc, each.eer, *map(each.tar_at, targets)] for each in rates]
        return dict(zip(("auc", "eer", *targets), np.array(rows, np.float64).T, strict=True))

    def rank_1(self, weights: Array) -> Estimate:
        """Return how often the own photo is the nearest in the gallery; a tie is a miss.

        In the interval people are drawn anew as probes; the gallery stays whole. One with fewer
        people in it, as a draw has, would be easier.
        """
        others = self.distances.copy()
        others[np.arange(len(self.owner)), self.owner] = np.inf
        hits = (self.same < others.min(axis=1)).astype(np.float64)
        each: Array = weights[:, self.owner]
        with np.errstate(invalid="ignore"):
            of_draws = (each @ hits) / each.sum(axis=1)
        return Estimate.of(float(hits.mean()), of_draws)


def between(probes: Array32, gallery: Array32) -> Array:
    """Return the distance of every probe's embedding to every gallery photo's, ``PxG``."""
    a, b = probes.astype(np.float64), gallery.astype(np.float64)
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    distances: Array = np.sqrt(squares.clip(min=0)).round(DECIMALS)
    return distances


def _rates(genuine: Array, impostors: Array) -> Rates:
    """Return rates from how many same pairs lie at each distance, ``K``, and impostors' bins."""
    same, different = genuine.sum(), impostors.sum()
    if not (same and different):  # a draw of one person
        return Rates(math.nan, math.nan, np.zeros(1), np.zeros(1), 0)
    upto = impostors.cumsum()
    before, after, ties = upto[0:-1:2], upto[1::2], impostors[1::2]
    auc = (genuine * (different - after + ties / 2)).sum() / (same * different)
    # Up to a distance the TAR is that of the one before; at it, it steps.
    steps = np.concatenate([[0], genuine.cumsum()]) / same
    tar = np.concatenate([[0], np.stack([steps[:-1], steps[1:]], axis=1).ravel(), [1]])
    far = np.concatenate([[0], np.stack([before, after], axis=1).ravel() / different, [1]])
    # FAR and TAR add up to 1 where FAR is 1 - TAR; their sum never falls along the ROC.
    eer = np.interp(1.0, far + tar, far)
    return Rates(float(auc), float(eer), far, tar, float(different))
