"""Degrade, upscale and score images: as many at a time as memory allows.

Images are sorted first, so the order of files changes no score in any bit. The batch size and the
device may: there networks sum in another order, and where that moves a value over the edge between
two of 8 bits, it is rounded the other way. A mean over images then moves by less than `TOLERANCE`,
a single image's score by less than ten times that. What compares sr with itself made small or
sharp feels it most.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from srkit import registry
from srkit.errors import InputError, OptionError, refused
from srkit.evaluation.methods import HR, LR, Method
from srkit.evaluation.overlap import HASHES
from srkit.evaluation.protocol import Protocol
from srkit.evaluation.report import Quality
from srkit.evaluation.store import Store
from srkit.files import sha256
from srkit.hookspecs import METRIC_INPUTS
from srkit.imaging import codec
from srkit.options import inputs_of
from srkit.readahead import read_ahead

BATCH = 64
PIXELS = 1 << 22  # HR pixels in a batch; a larger image is a batch by itself
# Largest shift of a mean, by the metric's unit, between batch sizes and between devices.
TOLERANCE = {"dB": 0.01, "": 0.0001}
SPACE = "quality"

Progress = Callable[[str, int, int], None]
Scores = dict[str, float]  # metric to score
# An image's scores by every method, and the seconds that upscaling took.
ImageScores = dict[str, dict[str, Any]]
Pixels: TypeAlias = NDArray[np.uint8]


class ImageFile(NamedTuple):
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
    progress: Progress = lambda *_: None,
) -> Quality:
    """Degrade, upscale and score images.

    Args:
        methods: Methods from `methods.methods`.
        files: HR photos, in any order.
        protocol: How they are degraded and compared.
        batch_size: Images of one size upscaled at once; fewer of large ones.
        partial: Stores scores as they are computed, so that the same call goes on after a kill. It
            is to be deleted when the result has been written. With metrics of sets all is computed
            again.
        device: Where images are degraded and scored. A method computes on its own.
        progress: Called with ``"scores"``, how many are done, and of how many: one an image and
            method.

    Raises:
        InputError: A file can't be read or is too small: a table with a hole would compare
            different sets. Or there are none, or the protocol isn't for images or names no
            metric, or a method doesn't fit it.
    """
    if not protocol.metrics:
        raise InputError(f"protocol '{protocol.name}' names no metric of single images")
    if not files:
        raise InputError("no images to measure quality on")
    device = torch.device(device)
    images = ordered(files)
    scorer = Scorer(protocol, device)
    sets = {method.name: scorer.set_metrics() for method in methods}
    # Metrics of sets have to see every image again.
    store = Store(None) if protocol.set_metrics or partial is None else partial
    keys = _keys(images, methods, protocol, device)
    stored = store.get(SPACE, list(keys.values()))
    scores = {each: json.loads(stored[key]) for each, key in keys.items() if key in stored}
    resumed = len(scores)
    todo = [image for image in images if image.sha256 not in scores]
    done, total = (len(images) - len(todo)) * len(methods), len(images) * len(methods)
    with torch.inference_mode():
        for number, (batch, decoded) in enumerate(_batches(todo, protocol, batch_size)):
            hr = decoded.to(device)
            lr = protocol.degrade(hr)
            fresh: dict[str, ImageScores] = {image.sha256: {} for image in batch}
            for method in methods:
                if number == 0:  # the first call also loads and plans
                    method(lr[:1])
                sr, seconds = _timed(method, lr, protocol.scale)
                try:
                    rows = scorer(sr, hr, lr, sets[method.name])
                except InputError as error:
                    raise InputError(f"{batch[0].file}: {error}") from error
                for image, row in zip(batch, rows, strict=True):
                    fresh[image.sha256][method.name] = {"scores": row, "seconds": seconds}
                done += len(batch)
                progress("scores", done, total)
            store.put(SPACE, {keys[each]: _text(value).encode() for each, value in fresh.items()})
            scores |= fresh
    notes = []
    if copies := len(images) - len(keys):
        notes.append(f"{copies} of {len(images)} images are copies of others")
    if resumed:
        notes.append(f"{resumed} images were scored before an interruption")
    return Quality(
        protocol=protocol.stamp([image.file for image in images]),
        images=[image.file.name for image in images],
        metrics=_about("metrics", scorer.metrics),
        scores={
            method.name: {
                metric: [scores[image.sha256][method.name]["scores"][metric] for image in images]
                for metric in protocol.metrics
            }
            for method in methods
        },
        set_metrics=_about("set_metrics", next(iter(sets.values()))),
        set_scores={name: scorer.set_scores(of) for name, of in sets.items() if of},
        seconds={
            method.name: fmean(scores[image.sha256][method.name]["seconds"] for image in images)
            for method in methods
            if method.timed
        },
        notes=notes,
    )


def ordered(files: Sequence[Path]) -> list[ImageFile]:
    """Return files in the order of every result: by name, then by content.

    Raises:
        InputError: One can't be read.
    """
    images = map(ImageFile, files, read_ahead(_sha256, files))
    return sorted(images, key=lambda image: (image.file.name, image.sha256))


@torch.inference_mode()
def rendered(
    quality: Quality,
    methods: Sequence[Method],
    files: Sequence[Path],
    protocol: Protocol,
    index: int,
) -> dict[str, Pixels]:
    """Return an image by every method: LR (``hw3``), the methods, HR if any, uint8, ``HW3``.

    ``index`` is the image's in ``quality``, which these methods have on these files.

    Raises:
        InputError: The file can't be read any more.
    """
    name = quality.images[index]
    same_name = ordered([file for file in files if file.name == name])
    hr = protocol.hr(same_name[quality.images[:index].count(name)].file)
    lr = protocol.degrade(hr)
    images = {LR: lr, **{method.name: method(lr) for method in methods}}
    images |= {HR: hr} if protocol.has_hr else {}
    return {
        name: codec.to_uint8(image)[0].permute(1, 2, 0).contiguous().cpu().numpy()
        for name, image in images.items()
    }


def _sha256(file: Path) -> str:
    with refused(str(file)):
        return sha256(file)


def _batches(
    images: Sequence[ImageFile], protocol: Protocol, batch_size: int
) -> Iterator[tuple[list[ImageFile], Tensor]]:
    """Yield images of one size together, out of every ``batch_size`` in their order."""
    waiting: list[tuple[ImageFile, Tensor]] = []
    most = PIXELS if protocol.has_hr else PIXELS // protocol.scale**2
    decoded = read_ahead(lambda image: protocol.hr(image.file), images)
    for image, hr in zip(images, decoded, strict=True):
        pixels = sum(other[0, 0].numel() for _, other in [*waiting, (image, hr)])
        if len(waiting) == batch_size or (waiting and pixels > most):
            yield from _by_size(waiting)
            waiting = []
        waiting.append((image, hr))
    yield from _by_size(waiting)


def _by_size(
    images: Sequence[tuple[ImageFile, Tensor]],
) -> Iterator[tuple[list[ImageFile], Tensor]]:
    sizes: dict[torch.Size, list[tuple[ImageFile, Tensor]]] = {}
    for image, hr in images:
        sizes.setdefault(hr.shape, []).append((image, hr))
    for group in sizes.values():
        yield [image for image, _ in group], torch.cat([hr for _, hr in group])


def _timed(method: Method, lr: Tensor, scale: int) -> tuple[Tensor, float]:
    """Return sr, and the seconds that an image took."""

    def wait() -> None:
        if lr.is_cuda:
            torch.cuda.synchronize(lr.device)

    wait()
    start = time.perf_counter()
    sr = method(lr, torch.Size((len(lr), 3, *(scale * side for side in lr.shape[-2:]))))
    wait()
    return sr, (time.perf_counter() - start) / len(lr)


class Scorer:
    """Scores batches by a protocol's metrics; those that have weights compute on ``device``.

    Raises:
        SrkitError: A metric is unknown, can't be had, or asks for something that there isn't.
    """

    def __init__(self, protocol: Protocol, device: torch.device) -> None:
        self.protocol, self.device = protocol, device
        self.metrics = {name: self._built("metrics", name) for name in protocol.metrics}
        self.inputs = {}
        for name, metric in self.metrics.items():
            with registry.blamed("metrics", name):
                self.inputs[name] = inputs_of(metric)
            if unknown := sorted(self.inputs[name].difference(METRIC_INPUTS)):
                known = ", ".join(METRIC_INPUTS)
                raise OptionError(
                    f"metric '{name}' asks for {', '.join(unknown)}; there are {known}"
                )
        compare = [name for name, inputs in self.inputs.items() if "hr" in inputs]
        if not protocol.has_hr and (compare := [*compare, *protocol.set_metrics]):
            raise InputError(
                f"metric '{compare[0]}' compares with hr, and protocol '{protocol.name}' has none"
            )

    def _built(self, kind: str, name: str) -> Any:
        metric = registry.build(kind, name)
        with registry.blamed(kind, name):
            metric.unit, metric.higher_is_better  # noqa: B018 - what tables say of it
        return metric.to(self.device) if isinstance(metric, nn.Module) else metric

    def set_metrics(self) -> dict[str, Any]:
        """Return new metrics of sets, for one method."""
        return {name: self._built("set_metrics", name) for name in self.protocol.set_metrics}

    def set_scores(self, metrics: Mapping[str, Any]) -> Scores:
        """Return the numbers of metrics of sets, for all images that they were called with."""
        scores = {}
        for name, metric in metrics.items():
            try:
                with registry.blamed("set_metrics", name):
                    scores[name] = float(metric.compute())
            except ValueError as error:  # too few images for it, say
                raise InputError(f"metric '{name}': {error}") from error
        return scores

    def __call__(self, sr: Tensor, hr: Tensor, lr: Tensor, sets: Mapping[str, Any]) -> list[Scores]:
        """Return the scores of each image of 8-bit values; lr keeps its border.

        ``sets`` are metrics of sets, which take the images in.

        Raises:
            InputError: Images are too small for a metric.
            OptionError: A metric doesn't give one number an image.
        """
        values = {"sr": self.protocol.cut(sr), "lr": lr}
        if self.protocol.has_hr:
            values["hr"] = self.protocol.cut(hr)
        for name, metric in sets.items():
            with registry.blamed("set_metrics", name):
                metric.update(values["sr"], values["hr"])
        if any("redegraded" in inputs for inputs in self.inputs.values()):
            values["redegraded"] = self.protocol.redegrade(sr, hr)
        by_metric = {}
        for name, metric in self.metrics.items():
            try:
                with registry.blamed("metrics", name):
                    scores = metric(**{key: values[key] for key in self.inputs[name]})
                    wrong = scores.shape != (len(sr),)
            except ValueError as error:
                raise InputError(f"metric '{name}': {error}") from error
            if wrong:
                raise OptionError(
                    f"metric '{name}' gives {tuple(scores.shape)}, not one score an image"
                )
            by_metric[name] = scores.double().tolist()
            if any(map(math.isnan, by_metric[name])) and not getattr(metric, "missing", ""):
                raise OptionError(f"metric '{name}' gives something that is not a number")
        return [
            dict(zip(by_metric, row, strict=True)) for row in zip(*by_metric.values(), strict=True)
        ]


def _about(kind: str, metrics: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return unit, direction, heading and provider of metrics, ``kind`` as registered.

    Those that look through a network say which, with the sha256 of its weights; those that may
    have no score say why.
    """

    def texts(part: Any, *names: str) -> dict[str, str]:
        return {name: str(value) for name in names if (value := getattr(part, name, None))}

    about = {}
    for name, metric in metrics.items():
        about[name] = {
            "unit": metric.unit,
            "higher_is_better": metric.higher_is_better,
            "title": getattr(metric, "title", name),
            "provider": registry.provenance(kind, name),
            **texts(metric, "name", "sha256", "missing"),
        }
        if embedder := getattr(metric, "embedder", None):
            about[name]["embedder"] = texts(embedder, "name", *HASHES)
    return about


def _keys(
    images: Sequence[ImageFile], methods: Sequence[Method], protocol: Protocol, device: torch.device
) -> dict[str, bytes]:
    """Return what each image's scores are stored under, by its SHA-256: all that decides them.

    A model's code may change without its weights, so scores are for a bench that goes on, not for
    later ones.
    """
    providers = [registry.provenance("metrics", name) for name in protocol.metrics]
    compared = [[m.name, m.sha256, dict(m.metadata)] for m in methods]
    salt = _text([protocol.stamp([]), providers, device.type, compared])
    digests = {image.sha256 for image in images}
    return {each: hashlib.sha256(f"{salt} {each}".encode()).digest() for each in digests}


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)  # floats in full, infinite ones too
