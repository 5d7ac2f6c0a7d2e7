"""The decibel audit: a model's numbers under other conventions of measuring."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from srkit import registry
from srkit.defaults import CHANNELS
from srkit.errors import InputError, is_in_shell
from srkit.evaluation import statistics
from srkit.evaluation.measure import BATCH, Progress, measure
from srkit.evaluation.methods import BICUBIC, methods
from srkit.evaluation.protocol import Protocol
from srkit.evaluation.report import Quality
from srkit.evaluation.run import ModelLike, load_models, photos
from srkit.evaluation.tables import Table, Tables, Value
from srkit.files import write_text
from srkit.inference.device import device_named
from srkit.progress import Bars


@dataclass(frozen=True)
class Score:
    """Means over images; PSNR in dB with its 95% interval."""

    psnr: float
    low: float
    high: float
    ssim: float


@dataclass(frozen=True)
class Row:
    """One way to measure: what is compared, without what border, after what downscaling."""

    compared: str
    border: int
    kernel: str
    scores: dict[str, Score]


@dataclass(frozen=True)
class Audit:
    """The same models on the same images, measured in several ways.

    Attributes:
        protocol: The stamp of the protocol that is varied.
        rows: The scores by method; the protocol's own border and kernel come first.
    """

    protocol: dict[str, Any]
    rows: list[Row]

    def tables(self) -> Tables:
        """Return the rows as a table, every PSNR with its distance from the first row's."""
        first = self.rows[0].scores
        rows = []
        for row in self.rows:
            values = []
            for name, score in row.scores.items():
                shift = score.psnr - first[name].psnr
                values += [Value(score.psnr), Value(shift, kind="signed")]
                values.append(Value(score.ssim, digits=4))
            rows.append(((row.kernel, f"{row.compared}, border {row.border}"), values))
        headings = [f"{name}, {what}" for name in first for what in ("dB", "shift", "SSIM")]
        title = f"Ways to measure, mean of {self.protocol['files']} images"
        intervals = (f"{name} {s.low:.2f} to {s.high:.2f} dB" for name, s in first.items())
        notes = [
            "shift: from the first row, which is the protocol's own way, in dB",
            f"95% intervals of the first row: {', '.join(intervals)}",
        ]
        labels = ["downscaled by", "compared"]
        return Tables([Table("audit", title, labels, headings, rows, notes, self.protocol)])

    def write(self, file: str | Path) -> None:
        """Write everything as JSON.

        Raises:
            InputError: It can't be written.
        """
        write_text(Path(file), json.dumps(asdict(self), indent=1))


def audit(
    models: Sequence[ModelLike],
    *,
    data: str | Path,
    protocol: Protocol,
    limit: int | None = None,
    device: str = "auto",
    batch_size: int = BATCH,
    progress: Progress | None = None,
) -> Audit:
    """Measure models and bicubic by a protocol, then with other channels, borders and kernels.

    Args:
        models: See `srkit.bench`.
        data: HR photos.
        protocol: It gives everything that isn't varied.
        limit: Use only the first ``limit`` images.
        device: Where models compute.
        batch_size: Images upscaled at once.
        progress: See `srkit.bench`.

    Raises:
        SrkitError: See `srkit.bench`.
    """
    if not protocol.has_hr:
        raise InputError(f"an audit compares with HR, and protocol '{protocol.name}' has none")
    loaded, files = load_models(models, device, protocol.scale), photos(data, limit)
    names = {BICUBIC, *(model.name for model in loaded)}
    rows: list[Row] = []
    stamp: dict[str, Any] = {}
    with Bars(lines=is_in_shell()) as bars:
        for kernel, changed in _conventions(protocol):
            quality = measure(
                [method for method in methods(loaded, changed) if method.name in names],
                files,
                changed,
                device=device_named(device),
                batch_size=batch_size,
                progress=progress or bars,
            )
            stamp = stamp or quality.protocol
            # A kernel's own effect shows in one channel.
            alone = rows and kernel != rows[0].kernel
            channels = [*CHANNELS][:1] if alone else [*CHANNELS]
            rows += [
                Row(channel, changed.border, kernel, _scores(quality, channel))
                for channel in channels
            ]
    return Audit(stamp, rows)


def _conventions(protocol: Protocol) -> Iterator[tuple[str, Protocol]]:
    """Yield the protocol, with another border, and with the other kernels of its degradation."""
    metrics = tuple(dict.fromkeys(name for pair in CHANNELS.values() for name in pair))
    protocol = protocol.changed(metrics=metrics, set_metrics=())
    options = {each.name: each for each in registry.options("degradations", protocol.degradation)}
    kernel = options.get("kernel")
    own = protocol.options.get("kernel", kernel.default if kernel else protocol.degradation)
    yield own, protocol
    yield own, protocol.changed(border=0 if protocol.border else protocol.scale)
    for other in get_args(kernel.annotation) if kernel else ():
        if other != own:
            yield other, protocol.changed(options={**protocol.options, "kernel": other})


def _scores(quality: Quality, channel: str) -> dict[str, Score]:
    psnr, ssim = CHANNELS[channel]
    return {
        name: Score(
            quality.mean(name, psnr),
            *statistics.interval(quality.counted(name, psnr)),
            quality.mean(name, ssim),
        )
        for name in quality.scores
    }
