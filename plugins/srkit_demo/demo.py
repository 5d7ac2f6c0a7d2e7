"""The astronaut's face from 16x16, and a small model trained, shown on it and measured."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

import srkit
from srkit import registry
from srkit.evaluation.protocol import Protocol
from srkit.imaging import codec

# The face of skimage.data.astronaut() (Eileen Collins; NASA, public domain), with the share of
# hair and chin that CelebA's framing has.
FACE = (133, 16, 303, 186)
RECIPE = "faces-tiny"
METRICS = ("psnr", "ssim")
SHOWN = 4  # every pixel of the 64x64 images becomes 4x4 in the side-by-side


@dataclass(frozen=True)
class Demo:
    """What the demo measured, and where the image is.

    Attributes:
        scores: Method (``bicubic``, the model's name) to metric to score.
        file: LR, bicubic, the model and HR, side by side.
    """

    scores: dict[str, dict[str, float]]
    file: Path


def astronaut() -> Tensor:
    """Return the astronaut's face, ``13HW``, 64x64 in [0, 1]."""
    import skimage.data

    photo = Image.fromarray(skimage.data.astronaut())
    return codec.to_tensor(codec.frame(photo.crop(FACE), "square", Protocol().size))


def demo(file: Path = Path("srkit-demo.png"), *, model: srkit.Model | None = None) -> Demo:
    """Degrade the astronaut's face, upscale it, and score it and bicubic.

    Args:
        file: Where the side-by-side goes.
        model: The shipped default if None.

    Raises:
        InputError: There is another image of that name.
    """
    model = model or srkit.load()
    protocol = Protocol(framing="square")
    hr = astronaut()
    lr = protocol.degrade(hr)
    results = {
        "bicubic": srkit.bicubic(lr, protocol.scale).clamp(0, 1),
        model.name: model.upscale(lr),
    }
    scores = {
        method: {m: float(registry.build("metrics", m)(sr, hr)[0]) for m in METRICS}
        for method, sr in results.items()
    }
    blocks = torch.nn.functional.interpolate(lr, scale_factor=protocol.scale, mode="nearest")
    gap = torch.ones(1, 3, hr.shape[-2], 2)
    row = [blocks, gap, results["bicubic"], gap, results[model.name], gap, hr]
    wide = torch.cat(row, dim=3).repeat_interleave(SHOWN, 2).repeat_interleave(SHOWN, 3)
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder) / file.name
        codec.write(codec.to_image(wide), fresh)
        if file.exists() and file.read_bytes() != fresh.read_bytes():
            raise srkit.InputError(f"{file} is there already, and another image; move it away")
    codec.write(codec.to_image(wide), file)
    return Demo(scores, file)


def train_and_measure() -> tuple[Any, Demo, Any]:
    """Train a small generator on the sample photographs, upscale the astronaut, bench.

    Returns:
        The training's result, the demo with the fresh weights, and a bench of the fresh
        weights and the shipped ones on squares of the sample photographs' held-out parts.
    """
    from srkit.data.sources import SAMPLES, Samples

    with tempfile.TemporaryDirectory(prefix="srkit-demo-") as folder:
        run = Path(folder) / "run"
        result = srkit.train(RECIPE, data=SAMPLES, out=run)
        fresh = srkit.load(result.model)
        fresh = srkit.Model(RECIPE, fresh.generator, fresh.scale, recipe=fresh.recipe)
        shown = demo(Path("srkit-demo-train.png"), model=fresh)
        photos = Path(folder) / "photos"
        size = srkit.Data().size
        for number, photo in enumerate(Samples(size, count=20, seed=1, validation=True).squares):
            codec.write(codec.frame(photo, "square", size), photos / f"{number:02d}.png")
        return result, shown, srkit.bench([fresh, srkit.load()], data=photos, protocol="square")
