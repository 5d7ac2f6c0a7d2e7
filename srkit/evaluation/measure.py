"""Degrade, upscale and score images: as many at a time as memory allows.

Images are put into an order of their own, so the order of files changes no score in any bit. The
batch size and the device may: there networks sum in another order, and where that moves a value
over the edge between two of 8 bits, it is rounded the other way. A mean over images then moves by
less than `TOLERANCE`, a single image's score by less than ten times that. What compares sr with
itself made small or sharp feels it most.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from srkit import registry
from srkit.errors import InputError, OptionError
from srkit.evaluation.methods import Method
from srkit.evaluation.protocol import Protocol
from srkit.evaluation.report import Quality
from srkit.evaluation.store import Store
from srkit.files import sha256
from srkit.hookspecs import METRIC_INPUTS
from srkit.options import inputs_of
from srkit.readahead import read_ahead

BATCH = 64
PIXELS = 1 << 22  # HR pixels in a batch; a larger image is a batch by itself
# Largest shift of a mean, by the metric's unit, between batch sizes and between devices.
TOLERANCE = {"dB": 0.01, "": 0.0001}
SPACE = "quality"

Progress = Callable[[str, int, int], None]
Scores = dict[str, float]  # metric to score


def ignore(what: str, done: int, total: int) -> None:
    """Take no notice of progress."""


class Picture(NamedTuple):
    """An image file and the SHA-256 of its bytes."""

    file: Path
    sha256: str


def measure(
    methods: Sequence[Method],
    files: Sequence[Path],
    protocol: Protocol,
    *,
    batch_size: int = BATCH,
    partial: Store | None = None,
    device: torch.device | str = "cpu",
    progress: Progress = ignore,
) -> Quality:
    """Degrade, upscale and score images.

    Args:
        methods: Methods from `methods.methods`.
        files: HR photos, in any order.
        protocol: How they are degraded and compared.
        batch_size: Images of one size upscaled at once; fewer of large ones.
        partial: Keeps scores as they are found, so that the same call goes on after a kill. It is
            to be deleted when the result has been written; see `PartialScores`. Metrics of sets
            are computed anew.
        device: Where images are degraded and scored. A method computes on its own.
        progress: Told ``"scores"``, how many are done, and of how many: one an image and method.

    Raises:
        InputError: A file can't be read or is too small: a table with a hole would compare
            different sets. Or there are none, or the protocol isn't for images or names no
            metric, or a method doesn't fit it.
    """
    if protocol.framing == "face":
        raise InputError(f"protocol '{protocol.name}' frames faces: it is for identity alone")
    if not protocol.metrics:
        raise InputError(f"protocol '{protocol.name}' names no metric of single images")
    if not files:
        raise InputError("no images to measure quality on")
    device = torch.device(device)
    pictures = ordered(files)
    scorer = Scorer(protocol, device)
    kept = PartialScores(partial, protocol, device)
    measured = [MethodScores(method, pictures, scorer, kept) for method in methods]
    notes = _notes(pictures, measured)
    todo = [picture for picture in pictures if any(one.needs([picture]) for one in measured)]
    total = len(pictures) * len(measured)
    done = total - len(todo) * len(measured)
    with torch.inference_mode():
        for some, batch in _batches(todo, protocol, batch_size):
            hr = batch.to(device)
            lr = protocol.degrade(hr)
            for one in measured:
                one.add(some, hr, lr)
                done += len(some)
                progress("scores", done, total)
    return Quality(
        protocol=protocol.stamp([picture.file for picture in pictures]),
        pictures=[picture.file.name for picture in pictures],
        metrics=_about("metrics", scorer.metrics),
        scores={one.method.name: one.by_metric(pictures) for one in measured},
        sets={one.method.name: one.of_sets() for one in measured if one.set_metrics},
        seconds={one.method.name: one.seconds(pictures) for one in measured if one.method.timed},
        notes=notes,
        set_metrics=_about("set_metrics", measured[0].set_metrics),
    )


def ordered(files: Sequence[Path]) -> list[Picture]:
    """Return files in the order of every result: by name, then by content.

    Raises:
        InputError: One can't be read.
    """
    pictures = map(Picture, files, read_ahead(_sha256, files))
    return sorted(pictures, key=lambda picture: (picture.file.name, picture.sha256))


def _sha256(file: Path) -> str:
    try:
        return sha256(file)
    except FileNotFoundError as error:
        raise InputError(f"{file}: no such file") from error
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}") from error


def _batches(
    pictures: Sequence[Picture], protocol: Protocol, batch_size: int
) -> Iterator[tuple[list[Picture], Tensor]]:
    """Yield pictures of one size together, out of every so many; all in an order of their own."""
    waiting: list[tuple[Picture, Tensor]] = []
    decoded = read_ahead(lambda picture: protocol.hr(picture.file), pictures)
    for picture, hr in zip(pictures, decoded, strict=True):
        pixels = sum(other[0, 0].numel() for _, other in [*waiting, (picture, hr)])
        if len(waiting) == batch_size or (waiting and pixels > PIXELS):
            yield from _by_size(waiting)
            waiting = []
        waiting.append((picture, hr))
    yield from _by_size(waiting)


def _by_size(
    pictures: Sequence[tuple[Picture, Tensor]],
) -> Iterator[tuple[list[Picture], Tensor]]:
    sizes: dict[torch.Size, list[tuple[Picture, Tensor]]] = {}
    for picture, hr in pictures:
        sizes.setdefault(hr.shape, []).append((picture, hr))
    for alike in sizes.values():
        yield [picture for picture, _ in alike], torch.cat([hr for _, hr in alike])


class MethodScores:
    """The scores of one method, and how the missing ones are found."""

    def __init__(
        self, method: Method, pictures: Sequence[Picture], scorer: Scorer, partial: PartialScores
    ) -> None:
        self.method, self.scorer, self.partial = method, scorer, partial
        self.set_metrics = scorer.set_metrics()
        # By the picture's SHA-256: its scores, and the seconds that upscaling took.
        self.known = partial.get(method, [picture.sha256 for picture in pictures])
        self.warm = False

    def needs(self, pictures: Sequence[Picture]) -> bool:
        """Whether any of these pictures must be upscaled."""
        return bool(self.set_metrics) or self._lacks(pictures)

    def _lacks(self, pictures: Sequence[Picture]) -> bool:
        return any(picture.sha256 not in self.known for picture in pictures)

    def add(self, pictures: Sequence[Picture], hr: Tensor, lr: Tensor) -> None:
        """Upscale and score a batch, unless all is known of it."""
        if not self.needs(pictures):
            return
        sr, seconds = self._upscaled(lr, hr)
        for metric in self.set_metrics.values():
            metric.update(self.scorer.protocol.cut(sr), self.scorer.protocol.cut(hr))
        if not self._lacks(pictures):
            return
        try:
            scores = self.scorer(sr, hr, lr)
        except InputError as error:
            raise InputError(f"{pictures[0].file}: {error}") from error
        values = {
            picture.sha256: {"scores": one, "seconds": seconds / len(pictures)}
            for picture, one in zip(pictures, scores, strict=True)
        }
        self.partial.put(self.method, values)
        self.known |= values

    def _upscaled(self, lr: Tensor, hr: Tensor) -> tuple[Tensor, float]:
        """Return sr, and how long it took."""
        if not self.warm:  # the first call also loads and plans
            self.method(lr[:1])
            self.warm = True
        _wait(lr.device)
        start = time.perf_counter()
        sr = self.method(lr, hr.shape)
        _wait(lr.device)
        return sr, time.perf_counter() - start

    def by_metric(self, pictures: Sequence[Picture]) -> dict[str, list[float]]:
        """Return the scores by metric, in the pictures' order."""
        scores = [self.known[picture.sha256]["scores"] for picture in pictures]
        return {metric: [each[metric] for each in scores] for metric in self.scorer.metrics}

    def seconds(self, pictures: Sequence[Picture]) -> float:
        """Return how long a picture took, on average."""
        return float(sum(self.known[p.sha256]["seconds"] for p in pictures) / len(pictures))

    def of_sets(self) -> Scores:
        """Return the numbers of the metrics of sets."""
        scores = {}
        for name, metric in self.set_metrics.items():
            try:
                scores[name] = float(metric.compute())
            except ValueError as error:  # too few pictures for it, say
                raise InputError(f"metric '{name}': {error}") from error
        return scores


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _notes(pictures: Sequence[Picture], measured: Sequence[MethodScores]) -> list[str]:
    notes = []
    if copies := len(pictures) - len({picture.sha256 for picture in pictures}):
        notes.append(f"{copies} of {len(pictures)} images are copies of others")
    if before := sum(len(one.known) for one in measured):
        notes.append(f"{before} scores are from before an interruption")
    return notes


class Scorer:
    """Scores batches by a protocol's metrics; those that have weights compute on ``device``.

    Raises:
        SrkitError: A metric is unknown, can't be had, or asks for something that there isn't.
    """

    def __init__(self, protocol: Protocol, device: torch.device) -> None:
        self.protocol, self.device = protocol, device
        self.metrics = {name: self._built("metrics", name) for name in protocol.metrics}
        self.inputs = {name: inputs_of(metric) for name, metric in self.metrics.items()}
        for name, inputs in self.inputs.items():
            if unknown := sorted(inputs.difference(METRIC_INPUTS)):
                known = ", ".join(METRIC_INPUTS)
                raise OptionError(
                    f"metric '{name}' asks for {', '.join(unknown)}; there are {known}"
                )

    def _built(self, kind: str, name: str) -> Any:
        metric = registry.build(kind, name)
        return metric.to(self.device) if isinstance(metric, nn.Module) else metric

    def set_metrics(self) -> dict[str, Any]:
        """Return new metrics of sets, for one method."""
        return {name: self._built("set_metrics", name) for name in self.protocol.set_metrics}

    def __call__(self, sr: Tensor, hr: Tensor, lr: Tensor) -> list[Scores]:
        """Return the scores of each image.

        Args:
            sr: ``B3HW``, 8-bit values in [0, 1].
            hr: The originals, likewise.
            lr: ``B3hw``; neither it nor ``redegraded`` loses the border.

        Raises:
            InputError: Images are too small for a metric.
            OptionError: A metric doesn't give one number an image.
        """
        values = {"sr": self.protocol.cut(sr), "hr": self.protocol.cut(hr), "lr": lr}
        if any("redegraded" in inputs for inputs in self.inputs.values()):
            values["redegraded"] = self.protocol.redegrade(sr, hr)
        columns = {}
        for name, metric in self.metrics.items():
            try:
                scores = metric(**{key: values[key] for key in self.inputs[name]})
            except ValueError as error:
                raise InputError(f"metric '{name}': {error}") from error
            if scores.shape != (len(sr),):
                raise OptionError(
                    f"metric '{name}' gives {tuple(scores.shape)}, not one score an image"
                )
            columns[name] = scores.double().tolist()
            if any(map(math.isnan, columns[name])):
                raise OptionError(f"metric '{name}' gives something that is not a number")
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _about(kind: str, metrics: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return unit, direction, heading and provider of metrics, ``kind`` as registered.

    Those that look through a network say which, with the sha256 of its weights.
    """
    about = {}
    for name, metric in metrics.items():
        about[name] = {
            "unit": metric.unit,
            "higher_is_better": metric.higher_is_better,
            "title": getattr(metric, "title", name),
            "provider": registry.provenance(kind, name),
        }
        about[name] |= {k: str(v) for k in ("name", "sha256") if (v := getattr(metric, k, None))}
    return about


class PartialScores:
    """Scores of a bench that isn't finished, so that it goes on after a kill.

    They are found by what decides them: protocol, method, metrics, versions, the device, and the
    image's bytes. A model's code may change without its weights, so they aren't for later
    benches: whoever gives the store deletes it when the report is written. No store keeps nothing.
    """

    def __init__(self, store: Store | None, protocol: Protocol, device: torch.device) -> None:
        self.store = store
        providers = [registry.provenance("metrics", name) for name in protocol.metrics]
        self.salt = _text([protocol.stamp([]), providers, device.type])

    def _key(self, method: Method, digest: str) -> bytes:
        decides = [self.salt, method.name, method.sha256, dict(method.metadata), digest]
        return hashlib.sha256(_text(decides).encode()).digest()

    def get(self, method: Method, digests: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return what is kept of a method, by the images' SHA-256."""
        if self.store is None:
            return {}
        keys = {self._key(method, digest): digest for digest in digests}
        values = self.store.get(SPACE, list(keys))
        return {keys[key]: json.loads(value) for key, value in values.items()}

    def put(self, method: Method, values: Mapping[str, dict[str, Any]]) -> None:
        """Keep what was found of some images, by their SHA-256: all of it or nothing."""
        if self.store is not None and values:
            text = {self._key(method, d): _text(value).encode() for d, value in values.items()}
            self.store.put(SPACE, text)


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)  # floats in full, infinite ones too
