"""PSNR and SSIM of models beside bicubic interpolation, picture by picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from srkit import registry
from srkit.bench.protocol import Protocol, hr_pictures
from srkit.bench.statistics import interval
from srkit.errors import InputError
from srkit.images import bicubic
from srkit.upscale import Model

METRICS = ("psnr", "ssim", "psnr-y", "ssim-y")
BICUBIC = "bicubic"
RESERVED = ("HR",)  # a column of the identity table
BATCH = 64


@dataclass(frozen=True)
class Quality:
    """Scores of every column on every picture.

    Attributes:
        protocol: The stamp of `Protocol.stamp`.
        scores: Column (``bicubic`` or a model's name) to metric to one score a picture.
        pictures: The files' names, in the scores' order.
    """

    protocol: dict[str, Any]
    scores: dict[str, dict[str, list[float]]]
    pictures: list[str]

    def mean(self, column: str, metric: str) -> float:
        """Return the mean over the pictures."""
        values = self.scores[column][metric]
        return sum(values) / len(values)

    def gain(self, column: str, metric: str) -> tuple[float, float, float]:
        """Return mean, low and high end (95%, paired bootstrap) of the gain over bicubic."""
        pairs = zip(self.scores[column][metric], self.scores[BICUBIC][metric], strict=True)
        gains = [ours - theirs for ours, theirs in pairs]
        return sum(gains) / len(gains), *interval(gains)

    def as_json(self) -> dict[str, Any]:
        """Return means, gains and single scores for a file."""
        columns = {
            column: {
                metric: {
                    "mean": self.mean(column, metric),
                    "gain": self.gain(column, metric)[0],
                    "gain_95": self.gain(column, metric)[1:],
                    "each": scores,
                }
                for metric, scores in metrics.items()
            }
            for column, metrics in self.scores.items()
        }
        return {"protocol": self.protocol, "pictures": self.pictures, "columns": columns}


def enlargers(models: Sequence[Model], scale: int) -> dict[str, Callable[[Tensor], Tensor]]:
    """Return the columns of a table: bicubic, then each model, by name.

    Raises:
        InputError: A model has another scale than the protocol, or another's name.
    """
    columns: dict[str, Callable[[Tensor], Tensor]] = {
        BICUBIC: lambda lr: bicubic(lr, scale).clamp(0, 1)
    }
    for model in models:
        if model.scale != scale:
            raise InputError(
                f"model '{model.name}' enlarges by {model.scale}, the protocol by {scale}"
            )
        if model.name == BICUBIC and model.sha256 is None:
            continue  # the same column
        if model.name in columns or model.name in RESERVED:
            raise InputError(f"two columns would be called '{model.name}'; give a path instead")
        columns[model.name] = model.enlarge
    return columns


def measure(models: Sequence[Model], files: list[Path], protocol: Protocol) -> Quality:
    """Degrade, enlarge and score pictures.

    Args:
        models: What to compare; bicubic comes by itself.
        files: HR photos; their order decides their noise.
        protocol: How.

    Raises:
        InputError: A file can't be read, or a model doesn't fit the protocol.
    """
    hr = hr_pictures(files, protocol)
    lr = protocol.degrade(hr)
    metrics = {name: registry.build("metrics", name) for name in METRICS}
    scores: dict[str, dict[str, list[float]]] = {}
    for column, enlarge in enlargers(models, protocol.scale).items():
        mine: dict[str, list[float]] = {name: [] for name in metrics}
        for low, high in zip(lr.split(BATCH), hr.split(BATCH), strict=True):
            sr = enlarge(low)
            for name, metric in metrics.items():
                mine[name] += metric(sr, high).tolist()
        scores[column] = mine
    return Quality(protocol.stamp(files), scores, [file.name for file in files])
