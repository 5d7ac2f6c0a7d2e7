"""The paper's four scenarios at a small width: do the losses do what the paper says of them?

    python benchmarks/scenarios.py --data CELEBA --out RUNS --json benchmarks/results/scenarios.json

The losses are weighted so that the discriminator isn't always right, unlike the recipes' plain sum:
adversarial 2, pixel 1, feature 0.1, PSNR 0.2. Trains each scenario for the same number of batches
(the paper compares at equal time), then measures on the test split: PSNR and SSIM (protocol
``paper``), high-frequency energy, each term's gradient norm at sr, and how often the discriminator
is right. A run that was interrupted goes on where it was.

High-frequency energy: mean squared magnitude of the 2-D Fourier transform of luma, over
frequencies beyond LR's Nyquist limit (1/8 cycle a pixel in either direction), which no
interpolation of LR can hold; given as a share of HR's.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from bare import SCENARIOS, WEIGHTS
from torch import Tensor

import srkit
from srkit import registry
from srkit.evaluation.protocol import Protocol
from srkit.evaluation.run import photos
from srkit.imaging.codec import bicubic
from srkit.models import checkpoint
from srkit.models.load import load
from srkit.recipe import parse_setting
from srkit.training import run_folder
from srkit.training.loop import GRADIENTS_AT, train


def high_frequency_energy(images: Tensor, scale: int) -> float:
    """Return the mean energy beyond LR's Nyquist limit; see this file's docstring."""
    luma = (images * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(dim=1)
    power = torch.fft.fft2(luma, norm="ortho").abs().square()
    rows = torch.fft.fftfreq(luma.shape[-2]).abs()[:, None]
    columns = torch.fft.fftfreq(luma.shape[-1]).abs()[None]
    beyond = torch.maximum(rows, columns) > 1 / (2 * scale)
    return float(power[:, beyond].mean())


def run(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train one scenario, or go on with it, and measure it."""
    out = arguments.out / name
    recipe = registry.build("recipes", name).changed(
        {"steps": arguments.steps, "seed": arguments.seed, "generator.width": arguments.width}
    )
    paths = [f"losses.{loss}.weight" for loss in recipe.losses]
    recipe = recipe.changed({path: WEIGHTS[path] for path in paths})
    if recipe.discriminator:
        path = "adversarial.weight"
        recipe = recipe.changed({"discriminator.width": arguments.width, path: WEIGHTS[path]})
    recipe = recipe.changed(dict(parse_setting(text) for text in arguments.set))
    if not (out / checkpoint.MODEL).is_file():
        resume = (out / run_folder.RECIPE).is_file()
        train(recipe, data=arguments.data, out=out, checkpoint_every=250, resume=resume)
    log = [json.loads(line) for line in (out / run_folder.LOG).read_text().splitlines()]
    norms = {r["step"]: r["gradient_norms"] for r in log if "gradient_norms" in r}
    seen = {k: v for k, v in log[-1]["losses"].items() if k.startswith("d_")}

    protocol = Protocol.named("paper")
    model = load(out)
    quality = srkit.bench([model], data=arguments.data, protocol=protocol).quality
    assert quality is not None
    hr = torch.cat([protocol.hr(file) for file in photos(arguments.data)])
    lr = protocol.degrade(hr)
    of_hr = high_frequency_energy(hr, protocol.scale)
    column = model.name
    weights = {loss: its.weight for loss, its in recipe.losses.items()}
    if recipe.adversarial:
        weights["adversarial"] = recipe.adversarial.weight
    return {
        "weights": weights,
        "psnr": quality.mean(column, "psnr"),
        "ssim": quality.mean(column, "ssim"),
        "psnr_gain_95": quality.gain(column, "psnr"),
        "bicubic_psnr": quality.mean("bicubic", "psnr"),
        "high_frequency_energy": high_frequency_energy(model.upscale(lr), protocol.scale) / of_hr,
        "bicubic_high_frequency_energy": high_frequency_energy(
            bicubic(lr, protocol.scale).clamp(0, 1), protocol.scale
        )
        / of_hr,
        "gradient_norms": {str(s): norms[s] for s in (GRADIENTS_AT, arguments.steps)},
        "discriminator": seen,
        "protocol": quality.protocol,
        "sha256": model.sha256,
    }


def main() -> None:
    """Run the scenarios asked for, and print and write what came of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="celeba")
    parser.add_argument("--out", type=Path, default=Path("runs/scenarios"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--set", action="append", default=[], help="as in srkit train")
    parser.add_argument("--only", nargs="*", default=SCENARIOS, choices=SCENARIOS)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    results: dict[str, Any] = {}
    for name in arguments.only:
        results[name] = run(name, arguments)
        r = results[name]
        print(
            f"{name:28} PSNR {r['psnr']:.2f} SSIM {r['ssim']:.4f} "
            f"HF {r['high_frequency_energy']:.3f} (bicubic "
            f"{r['bicubic_high_frequency_energy']:.3f}) D {r['discriminator']} "
            f"norms {r['gradient_norms']}",
            flush=True,
        )
    if arguments.json:
        settings = {k: v for k, v in vars(arguments).items() if k in ("steps", "width", "seed")}
        text = json.dumps({"srkit": srkit.__version__, **settings, "runs": results}, indent=1)
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
