"""Does a face stay the same person's? Distances as in the paper's Table II, and pairs."""

from __future__ import annotations

from srkit.evaluation.identity.estimate import Estimate
from srkit.evaluation.identity.people import draw
from srkit.evaluation.identity.scores import Pairs, PairScores, SizeScores
from srkit.evaluation.identity.table import Distances, Row, distances, lr_of_distances
from srkit.evaluation.identity.verification import lr_of_pairs, pairs

__all__ = [
    "Distances",
    "Estimate",
    "PairScores",
    "Pairs",
    "Row",
    "SizeScores",
    "distances",
    "draw",
    "lr_of_distances",
    "lr_of_pairs",
    "pairs",
]
