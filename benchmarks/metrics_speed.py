"""PSNR and SSIM of srkit against scikit-image's on one thread: how many times faster.

    OMP_NUM_THREADS=1 python benchmarks/metrics_speed.py [--rounds 7] [--json FILE]

Both get float32 images in [0, 1], round them to 8 bits, and give one score an image;
scikit-image takes them one by one, srkit in one call. They take turns in one process, so that
both see the same noise of the machine; ratios are of the times within one round.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from srkit import registry
from srkit.imaging import codec

SIZES = ((64, 64), (1, 1024))  # images, side
METRICS = ("psnr", "psnr-y", "ssim", "ssim-y")


def by_scikit_image(name: str, sr: Tensor, hr: Tensor) -> list[float]:
    """Return the scores, image by image."""
    found = []
    for pair in zip(sr, hr, strict=True):
        a, b = (codec.to_uint8(x).permute(1, 2, 0).numpy() for x in pair)
        axis: int | None = -1
        if name.endswith("-y"):
            a, b, axis = rgb2ycbcr(a)[..., 0], rgb2ycbcr(b)[..., 0], None
        if name.startswith("psnr"):
            found.append(float(peak_signal_noise_ratio(b, a, data_range=255)))
            continue
        score = structural_similarity(
            b,
            a,
            data_range=255,
            channel_axis=axis,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        found.append(float(score))
    return found


def timed(work: Callable[[], Any]) -> float:
    """Return the seconds that one call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compared(name: str, count: int, side: int, rounds: int) -> dict[str, Any]:
    """Measure one metric on one batch."""
    generator = torch.Generator().manual_seed(0)
    hr = torch.rand(count, 3, side, side, generator=generator)
    sr = hr + 0.05 * torch.randn(hr.shape, generator=generator)
    metric = registry.build("metrics", name)
    ours, theirs = metric(sr, hr).tolist(), by_scikit_image(name, sr, hr)  # warms up, too
    apart = max(abs(a - b) for a, b in zip(ours, theirs, strict=True))
    times = [
        (timed(lambda: metric(sr, hr)), timed(lambda: by_scikit_image(name, sr, hr)))
        for _ in range(rounds)
    ]
    return {
        "metric": name,
        "images": count,
        "side": side,
        "srkit_seconds": statistics.median(a for a, _ in times),
        "scikit_image_seconds": statistics.median(b for _, b in times),
        "ratio": statistics.median(b / a for a, b in times),
        "largest_difference": apart,
    }


def main() -> None:
    """Measure, print, and write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = [compared(name, *size, given.rounds) for size in SIZES for name in METRICS]
    line = (
        "{images:3} x {side:4}  {metric:7} srkit {srkit_seconds:.4f} s, scikit-image "
        "{scikit_image_seconds:.4f} s, {ratio:.1f} times, apart {largest_difference:.0e}"
    )
    for row in rows:
        print(line.format(**row))
    if given.json:
        versions = {name: version(name) for name in ("torch", "numpy", "scikit-image")}
        machine = f"{platform.machine()}, {os.cpu_count()} cores, no GPU"
        result: dict[str, Any] = {"machine": machine, "threads": 1, "rounds": given.rounds}
        result |= {"versions": versions, "rows": rows}
        given.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
