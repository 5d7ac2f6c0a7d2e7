"""What verification found: figures of pairs, by column and by size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from srkit.evaluation.identity.estimate import Estimate


@dataclass(frozen=True)
class PairScores:
    """How well a column's results tell same pairs from different ones.

    Attributes:
        auc: The chance that a same pair is nearer than a different one; ties count half.
        eer: The rate at which as many same pairs are refused as impostors accepted.
        tar: By FAR, ``"0.01"`` and ``"0.001"``: the share of same pairs accepted by a threshold
            that accepts at most that share of impostors. Left out where a share so small would be
            less than one impostor.
        rank1: How often the nearest gallery photo is the person's own.
        closed: The share of the gap from LR's AUC to HR's.
        roc: ``far`` and ``tar``, at most 200 corners of the curve, to be joined by straight lines.
        same: Distances of the same pairs, in the order of their draw.
        different: Of each pair's probe to one stranger drawn from the gallery.
    """

    auc: Estimate
    eer: Estimate
    tar: dict[str, Estimate]
    rank1: Estimate
    closed: Estimate
    roc: dict[str, list[float]]
    same: list[float]
    different: list[float]


@dataclass(frozen=True)
class SizeScores:
    """Verification of probes of one size.

    Attributes:
        side: Of LR, in pixels.
        photos: How many it rests on, probes and gallery.
        columns: Column to ``auc`` and ``tar``, the latter at FAR 1e-2.
    """

    side: int
    photos: int
    columns: dict[str, dict[str, Estimate]]


@dataclass(frozen=True)
class Pairs:
    """Verification of pairs.

    Attributes:
        protocol: The stamp of `Protocol.stamp`, the embedder, the alignment and the draw.
        columns: ``LR``, ``bicubic``, each model, ``HR``.
        same: How many same pairs.
        different: How many different pairs were drawn, for the spread of distances.
        impostors: How many different pairs the rates rest on: all of probes and gallery.
        people: How many are in the draw.
        photos: How many of their photos are.
        no_face: Photos in which no face was found, as ``person/photo``; with the reason, where
            they couldn't be read.
        left_out: People who can make no pair, and why.
        sizes: The same over the size of LR.
        notes: What else a reader must know.
    """

    protocol: dict[str, Any]
    columns: dict[str, PairScores]
    same: int
    different: int
    impostors: int
    people: int
    photos: int
    no_face: list[str]
    left_out: list[str]
    sizes: list[SizeScores]
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return everything for a file."""
        return {
            **vars(self),
            "columns": {name: _plain(vars(its)) for name, its in self.columns.items()},
            "sizes": [
                {**vars(size), "columns": {n: _plain(its) for n, its in size.columns.items()}}
                for size in self.sizes
            ],
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Pairs:
        """Return the pairs that `as_json` gave these values of."""
        columns = {name: PairScores(**_restored(its)) for name, its in found["columns"].items()}
        sizes = [
            SizeScores(**{**size, "columns": {n: _restored(c) for n, c in size["columns"].items()}})
            for size in found["sizes"]
        ]
        return cls(**{**found, "columns": columns, "sizes": sizes})


def _plain(value: Any) -> Any:
    """Replace estimates by their fields."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return vars(value) if isinstance(value, Estimate) else value


def _restored(value: Any) -> Any:
    """Undo `_plain`."""
    if not isinstance(value, Mapping):
        return value
    if value.keys() == {"value", "low", "high"}:
        return Estimate.from_json(value)
    return {key: _restored(inner) for key, inner in value.items()}
