"""How good pictures are: scores of every column on every picture, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import torch

from srkit.errors import InputError
from srkit.evaluation import statistics
from srkit.evaluation.columns import BICUBIC, REFERENCES, Column
from srkit.evaluation.measuring import BATCH, Bench, Progress, ignore, ordered
from srkit.evaluation.protocol import Protocol
from srkit.evaluation.scoring import about
from srkit.evaluation.statistics import Difference
from srkit.evaluation.store import Store


@dataclass(frozen=True)
class Versus:
    """Two models on the same pictures.

    Attributes:
        metric: What they are compared by.
        a: One model.
        b: The other.
        difference: Of a's scores over b's.
        adjusted: Its p, adjusted for the number of pairs compared by this metric (Holm).
    """

    metric: str
    a: str
    b: str
    difference: Difference
    adjusted: float


@dataclass(frozen=True)
class Quality:
    """Scores of every column on every picture.

    Attributes:
        protocol: The stamp of `Protocol.stamp`.
        pictures: The files' names, sorted, in the scores' order; see `measuring.ordered`.
        metrics: Name to ``unit``, ``higher_is_better``, ``title`` and ``provider``.
        scores: Column to metric to one score a picture. nearest, bicubic and lanczos come first,
            then the models.
        sets: Column to metric of sets to its one number, which has no interval.
        seconds: Column to the time that enlarging a picture took, but for pictures that other
            programs made: for information, it isn't what is compared.
        notes: What a reader should know.
        set_metrics: As ``metrics``, of the metrics of sets.
    """

    protocol: dict[str, Any]
    pictures: list[str]
    metrics: dict[str, dict[str, Any]]
    scores: dict[str, dict[str, list[float]]]
    sets: dict[str, dict[str, float]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    set_metrics: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def models(self) -> list[str]:
        """The columns beside nearest, bicubic and lanczos."""
        return [column for column in self.scores if column not in REFERENCES]

    def mean(self, column: str, metric: str) -> float:
        """Return the mean over the pictures."""
        return statistics.mean(self.scores[column][metric])

    def gain(self, column: str, metric: str, over: str = BICUBIC) -> tuple[float, float, float]:
        """Return mean, low and high end (95%, paired bootstrap) of the gain over a column."""
        gains = statistics.paired(self.scores[column][metric], self.scores[over][metric])
        return statistics.mean(gains.tolist()), *statistics.interval(gains)

    def difference(self, a: str, b: str, metric: str) -> Difference:
        """Return how much higher column a's scores are than b's, with interval and p."""
        return statistics.difference(self.scores[a][metric], self.scores[b][metric])

    @cached_property
    def versus(self) -> list[Versus]:
        """Every two models by every metric, a later one less an earlier one."""
        found = []
        for metric in self.metrics:
            pairs = [(b, a) for a, b in combinations(self.models, 2)]
            its = [self.difference(a, b, metric) for a, b in pairs]
            adjusted = statistics.holm([one.p for one in its])
            for (a, b), one, p in zip(pairs, its, adjusted, strict=True):
                found.append(Versus(metric, a, b, one, p))
        return found

    def as_json(self) -> dict[str, Any]:
        """Return single scores, and the means, gains and tests that follow from them."""
        columns = {
            column: {metric: self._figures(column, metric) for metric in its}
            for column, its in self.scores.items()
        }
        versus = [
            {
                "metric": one.metric,
                "a": one.a,
                "b": one.b,
                "mean": one.difference.mean,
                "mean_95": [one.difference.low, one.difference.high],
                "p": one.difference.p,
                "p_adjusted": one.adjusted,
            }
            for one in self.versus
        ]
        return {
            "protocol": self.protocol,
            "pictures": self.pictures,
            "metrics": self.metrics,
            "columns": columns,
            "set_metrics": self.set_metrics,
            "sets": self.sets,
            "versus": versus,
            "seconds": self.seconds,
            "notes": self.notes,
        }

    def _figures(self, column: str, metric: str) -> dict[str, Any]:
        gain, *ends = self.gain(column, metric)
        return {
            "mean": self.mean(column, metric),
            "gain": gain,
            "gain_95": ends,
            "each": self.scores[column][metric],
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Quality:
        """Return what `as_json` gave these values of.

        Raises:
            ValueError: A column hasn't a score for each picture.
        """
        scores = {
            column: {metric: [float(x) for x in its[metric]["each"]] for metric in found["metrics"]}
            for column, its in found["columns"].items()
        }
        pictures = list(found["pictures"])
        for column, its in scores.items():
            if any(len(each) != len(pictures) for each in its.values()):
                raise ValueError(f"{column} hasn't {len(pictures)} scores")
        return cls(
            protocol=dict(found["protocol"]),
            pictures=pictures,
            metrics=dict(found["metrics"]),
            scores=scores,
            sets=dict(found["sets"]),
            seconds=dict(found["seconds"]),
            notes=list(found["notes"]),
            set_metrics=dict(found["set_metrics"]),
        )


def measure(
    columns: Sequence[Column],
    files: Sequence[Path],
    protocol: Protocol,
    *,
    workers: int | None = None,
    batch_size: int = BATCH,
    partial: Store | None = None,
    device: torch.device | str = "cpu",
    progress: Progress = ignore,
) -> Quality:
    """Degrade, enlarge and score pictures; see `srkit.evaluation.measuring` for what can't matter.

    Args:
        columns: From `columns.columns`.
        files: HR photos, in any order.
        protocol: How.
        workers: Threads that decode; as many as there are cores, at most 8, if None.
        batch_size: Pictures of one size enlarged at once; fewer of large ones.
        partial: Keeps scores as they are found, so that the same call goes on after a kill. It is
            to be deleted when the result has been written; see `scoring.Kept`. Metrics of sets
            are computed anew.
        device: Where pictures are degraded and scored. A column computes on its own.
        progress: Told ``"scores"``, how many are done, and of how many: one a picture and column.

    Raises:
        InputError: A file can't be read or is too small: a table with a hole would compare
            different sets. Or there are none, or the protocol isn't for pictures or names no
            metric, or a column doesn't fit it.
    """
    if protocol.framing == "face":
        raise InputError(f"protocol '{protocol.name}' frames faces: it is for identity alone")
    if not protocol.metrics:
        raise InputError(f"protocol '{protocol.name}' names no metric of single pictures")
    if not files:
        raise InputError("no pictures to measure quality on")
    pictures = ordered(files, workers)
    bench = Bench(columns, pictures, protocol, torch.device(device), partial)
    notes = bench.notes()
    bench.run(workers, batch_size, progress)
    return Quality(
        protocol=protocol.stamp([picture.file for picture in pictures]),
        pictures=[picture.file.name for picture in pictures],
        metrics=about("metrics", bench.scorer.metrics),
        scores={column.name: bench.scores(column) for column in columns},
        sets=bench.sets(),
        seconds={column.name: bench.seconds(column) for column in columns if column.timed},
        notes=notes,
        set_metrics=about("set_metrics", bench.by_set[columns[0].name]),
    )
