"""How far one model's decibels move with the conventions of measuring, on DIC's table of CelebA.

    python benchmarks/decibel.py --hr DIC/HR --model faces-x8 \
        --json benchmarks/results/decibel.json

DIC/HR holds DIC's CelebA test images, 1,000 of 128x128. LR is Pillow's bicubic of HR by 8, as in
protocol `dic-x8`. The same results are scored by every convention; in the last two rows the
images are shrunk in another way first. Intervals of 95% come from resampling images 2,000 times.
The time is that of one image at a time on one thread, the median over the images.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from srkit_metrics.ssim import mean_ssim
from torch.nn.functional import interpolate

import srkit

SCALE = 8
LUMA = np.array((65.481, 128.553, 24.966)) / 255
Array = np.ndarray[Any, np.dtype[np.float64]]


def luma(image: Array) -> Array:
    """Return BT.601 luma in 16..235 of ``HW3`` in 0..255, as ``HW1``."""
    return (image @ LUMA + 16)[..., None]


def by_pillow(hr: Image.Image) -> Image.Image:
    """Return HR shrunk by Pillow's bicubic, whose kernel widens with the factor."""
    return hr.resize((hr.width // SCALE, hr.height // SCALE), Image.Resampling.BICUBIC)


def without_antialiasing(hr: Image.Image) -> Image.Image:
    """Return HR shrunk as torch and OpenCV do by default: bicubic at points, a = -0.75."""
    tensor = torch.from_numpy(np.array(hr)).permute(2, 0, 1)[None].float()
    lr = interpolate(tensor, scale_factor=1 / SCALE, mode="bicubic", align_corners=False)
    return Image.fromarray(lr[0].permute(1, 2, 0).round().clamp(0, 255).byte().numpy())


def by_area(hr: Image.Image) -> Image.Image:
    """Return HR shrunk by averages of 8x8 pixels, as OpenCV's INTER_AREA."""
    return hr.reduce(SCALE)


# What is compared of an image, and how many pixels are cut off each side.
CONVENTIONS: dict[str, tuple[Callable[[Array], Array], int]] = {
    "Y, border of 8 (dic-x8)": (luma, SCALE),
    "Y, no border": (luma, 0),
    "Y rounded, border of 8": (lambda image: luma(image).round(), SCALE),
    "Y truncated, no border": (lambda image: np.floor(luma(image)), 0),
    "RGB, border of 8": (lambda image: image, SCALE),
    "RGB, no border": (lambda image: image, 0),
}
SHRINKING = {"antialiased": by_pillow, "averages": by_area, "not antialiased": without_antialiasing}


def score(sr: Image.Image, hr: Image.Image, convention: str) -> tuple[float, float]:
    """Return PSNR in dB and SSIM (Gaussian window, 11x11)."""
    of, border = CONVENTIONS[convention]
    inner = slice(border, hr.width - border)
    a, b = (of(np.asarray(image, dtype=np.float64)[inner, inner]) for image in (sr, hr))
    decibels = 10 * np.log10(255**2 / max(float(np.mean((a - b) ** 2)), 1e-3))
    tensors = (torch.from_numpy(np.ascontiguousarray(x.transpose(2, 0, 1)))[None] for x in (a, b))
    return float(decibels), float(mean_ssim(*tensors))


def summary(values: list[tuple[float, float]]) -> dict[str, Any]:
    """Return the means over images, PSNR with its interval."""
    each = np.array(values)
    rng = np.random.default_rng(0)
    means = each[rng.integers(0, len(each), (2000, len(each))), 0].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    psnr, ssim = each.mean(axis=0)
    return {"psnr": float(psnr), "low": float(low), "high": float(high), "ssim": float(ssim)}


def main() -> None:
    """Measure, print a Markdown table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hr", type=Path, required=True)
    parser.add_argument("--model", default="faces-x8")
    parser.add_argument("--images", type=int, help="Only the first so many.")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = srkit.load(arguments.model, device="cpu")
    methods: dict[str, Callable[[Image.Image], Image.Image]] = {
        "bicubic": lambda lr: lr.resize([SCALE * s for s in lr.size], Image.Resampling.BICUBIC),
        model.name: model.upscale,
    }
    files = sorted(arguments.hr.iterdir())[: arguments.images]
    results: dict[str, dict[str, Any]] = {}
    seconds = []
    for shrinking, shrink in SHRINKING.items():
        scores: dict[str, dict[str, list[tuple[float, float]]]] = {}
        for file in files:
            hr = Image.open(file).convert("RGB")
            lr = shrink(hr)
            for name, upscale in methods.items():
                start = time.perf_counter()
                sr = upscale(lr)
                if name != "bicubic":
                    seconds.append(time.perf_counter() - start)
                for convention in CONVENTIONS if shrink is by_pillow else [*CONVENTIONS][:1]:
                    row = scores.setdefault(f"{shrinking}; {convention}", {})
                    row.setdefault(name, []).append(score(sr, hr, convention))
        for row, by_method in scores.items():
            results[row] = {name: summary(values) for name, values in by_method.items()}
            cells = [
                f"{v['psnr']:.3f} [{v['low']:.2f}, {v['high']:.2f}] / {v['ssim']:.4f}"
                for v in results[row].values()
            ]
            print(f"| {row} | " + " | ".join(cells) + " |", flush=True)
    milliseconds = 1000 * float(np.median(seconds))
    print(f"{milliseconds:.1f} ms an image, one thread")
    if arguments.json:
        about = {"model": model.name, "sha256": model.sha256, "images": len(files)}
        content = {**about, "ms_an_image": milliseconds, "rows": results}
        arguments.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
