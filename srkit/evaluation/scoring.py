"""A protocol's metrics at work on a batch, and what is kept of their scores until a bench ends."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from srkit import registry
from srkit.errors import InputError, OptionError
from srkit.evaluation.columns import Column
from srkit.evaluation.protocol import Protocol
from srkit.evaluation.store import Store
from srkit.training.parts import wants

# What a metric may ask for by naming it in its signature.
GIVEN = ("sr", "hr", "lr", "redegraded")
SPACE = "quality"


class Scorer:
    """Scores batches by a protocol's metrics.

    Args:
        protocol: Names them, and says what border isn't compared.
        device: Where metrics that have weights compute.

    Raises:
        SrkitError: A metric is unknown, can't be had, or asks for something that there isn't.
    """

    def __init__(self, protocol: Protocol, device: torch.device) -> None:
        self.protocol, self.device = protocol, device
        self.metrics = {name: self._built("metrics", name) for name in protocol.metrics}
        self.wants = {name: wants(metric) for name, metric in self.metrics.items()}
        for name, asked in self.wants.items():
            if unknown := sorted(asked - set(GIVEN)):
                raise OptionError(
                    f"metric '{name}' asks for {', '.join(unknown)}; there are {', '.join(GIVEN)}"
                )

    def _built(self, kind: str, name: str) -> Any:
        made = registry.build(kind, name)
        return made.to(self.device) if isinstance(made, nn.Module) else made

    def sets(self) -> dict[str, Any]:
        """Return new metrics of sets, for one column."""
        return {name: self._built("set_metrics", name) for name in self.protocol.set_metrics}

    def __call__(self, sr: Tensor, hr: Tensor, lr: Tensor) -> list[dict[str, float]]:
        """Return the scores of each picture, by metric.

        Args:
            sr: ``B3HW``, 8-bit values in [0, 1].
            hr: The same, of the originals.
            lr: ``B3hw``; neither it nor ``redegraded`` loses the border.

        Raises:
            InputError: Pictures are too small for a metric.
            OptionError: A metric doesn't give one number a picture.
        """
        given = {"sr": self.protocol.cut(sr), "hr": self.protocol.cut(hr), "lr": lr}
        if any("redegraded" in asked for asked in self.wants.values()):
            given["redegraded"] = self.protocol.redegrade(sr, hr)
        found: list[dict[str, float]] = [{} for _ in range(len(sr))]
        for name, metric in self.metrics.items():
            try:
                scores = metric(**{key: given[key] for key in self.wants[name]})
            except ValueError as error:
                raise InputError(f"metric '{name}': {error}") from error
            if scores.shape != (len(sr),):
                raise OptionError(
                    f"metric '{name}' gives {tuple(scores.shape)}, not one score a picture"
                )
            for picture, score in zip(found, scores.double().tolist(), strict=True):
                if math.isnan(score):
                    raise OptionError(f"metric '{name}' gives something that is not a number")
                picture[name] = score
        return found


def about(kind: str, metrics: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return unit, direction, heading and provider of metrics, ``kind`` as registered.

    Those that look through a network say which, with the sha256 of its weights.
    """

    def of(name: str, metric: Any) -> dict[str, Any]:
        weights = {key: getattr(metric, key, None) for key in ("name", "sha256")}
        return {
            "unit": metric.unit,
            "higher_is_better": metric.higher_is_better,
            "title": getattr(metric, "title", name),
            "provider": registry.provenance(kind, name),
            **{key: str(value) for key, value in weights.items() if value},
        }

    return {name: of(name, metric) for name, metric in metrics.items()}


class Kept:
    """Scores of a bench that isn't finished, so that it goes on after a kill.

    They are found by what decides them: protocol, column, metrics, versions, the device, and the
    picture's bytes. A model's code may change without its weights, so they aren't for later
    benches: whoever gives the store deletes it when the report is written.

    Args:
        store: Where; None keeps nothing.
        protocol: Of the bench.
        device: Where it computes.
    """

    def __init__(self, store: Store | None, protocol: Protocol, device: torch.device) -> None:
        self.store = store
        stamp = protocol.stamp([])
        providers = [registry.provenance("metrics", name) for name in protocol.metrics]
        self.salt = _text([stamp, providers, device.type])

    def _key(self, column: Column, digest: str) -> bytes:
        its = [self.salt, column.name, column.sha256, dict(column.metadata), digest]
        return hashlib.sha256(_text(its).encode()).digest()

    def get(self, column: Column, digests: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return what is kept of a column, by the pictures' digests."""
        if self.store is None:
            return {}
        keys = {self._key(column, digest): digest for digest in digests}
        found = self.store.get(SPACE, list(keys))
        return {keys[key]: json.loads(value) for key, value in found.items()}

    def put(self, column: Column, values: dict[str, dict[str, Any]]) -> None:
        """Keep what was found of some pictures, by their digests: all of it or nothing."""
        if self.store is not None and values:
            encoded = {self._key(column, d): _text(value).encode() for d, value in values.items()}
            self.store.put(SPACE, encoded)


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)  # floats in full, infinite ones too
