"""The decibel audit: a model's numbers under other conventions of measuring."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from srkit import registry
from srkit.defaults import CHANNELS
from srkit.errors import InputError
from srkit.evaluation import statistics
from srkit.evaluation.measure import BATCH, measure
from srkit.evaluation.methods import BICUBIC, methods
from srkit.evaluation.protocol import Protocol
from srkit.evaluation.run import load_models, photos
from srkit.evaluation.tables import Table, Tables, Value
from srkit.inference.device import device_named
from srkit.progress import Bars


def audit(
    models: Sequence[str],
    *,
    data: str,
    protocol: Protocol,
    limit: int | None = None,
    device: str = "auto",
    batch_size: int = BATCH,
) -> dict[str, Any]:
    """Measure models and bicubic by a protocol, then with other channels, borders and kernels.

    Args:
        models: See `srkit.bench`, as the others.
        data: HR photos.
        protocol: It gives everything that isn't varied.
        limit: Use only the first ``limit`` images.
        device: Where models compute.
        batch_size: Images upscaled at once.

    Returns:
        As JSON holds it: the ``protocol``'s stamp, and ``rows``, its own way first: what was
        ``compared``, without what ``border``, after downscaling by what ``kernel``, and the
        ``scores`` by method: means of ``psnr`` in dB, with its 95% interval, and of ``ssim``.

    Raises:
        SrkitError: See `srkit.bench`.
    """
    if not protocol.has_hr:
        raise InputError(f"an audit compares with HR, and protocol '{protocol.name}' has none")
    loaded, files = load_models(models, device, protocol.scale), photos(data, limit)
    names = {BICUBIC, *(model.name for model in loaded)}
    rows: list[dict[str, Any]] = []
    stamp: dict[str, Any] = {}
    with Bars(lines=True) as bars:
        for kernel, changed in _conventions(protocol):
            quality = measure(
                [method for method in methods(loaded, changed) if method.name in names],
                files,
                changed,
                device=device_named(device),
                batch_size=batch_size,
                progress=bars,
            )
            stamp = stamp or quality.protocol
            # A kernel's own effect shows in one channel.
            alone = rows and kernel != rows[0]["kernel"]
            for channel, (psnr, ssim) in list(CHANNELS.items())[: 1 if alone else None]:
                scores = {}
                for name in quality.scores:
                    low, high = statistics.interval(quality.counted(name, psnr))
                    mean = {"psnr": quality.mean(name, psnr), "low": low, "high": high}
                    scores[name] = {**mean, "ssim": quality.mean(name, ssim)}
                row = {"compared": channel, "border": changed.border, "kernel": kernel}
                rows.append({**row, "scores": scores})
    return {"protocol": stamp, "rows": rows}


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


def tables(measured: Mapping[str, Any]) -> Tables:
    """Return what `audit` measured as a table; every PSNR beside its shift from the first row."""
    protocol, first = measured["protocol"], measured["rows"][0]["scores"]
    rows = []
    for row in measured["rows"]:
        values = []
        for name, score in row["scores"].items():
            shift = score["psnr"] - first[name]["psnr"]
            values += [Value(score["psnr"]), Value(shift, kind="signed")]
            values.append(Value(score["ssim"], digits=4))
        rows.append(((row["kernel"], f"{row['compared']}, border {row['border']}"), values))
    headings = [f"{name}, {what}" for name in first for what in ("dB", "shift", "SSIM")]
    title = f"Ways to measure, mean of {protocol['files']} images"
    intervals = (f"{name} {s['low']:.2f} to {s['high']:.2f} dB" for name, s in first.items())
    notes = [
        "shift: from the first row, which is the protocol's own way, in dB",
        f"95% intervals of the first row: {', '.join(intervals)}",
    ]
    labels = ["downscaled by", "compared"]
    return Tables([Table("audit", title, labels, headings, rows, notes, protocol)])
