"""What tests share: a small recipe, decoded photographs, reading what a run left."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch

from srkit import Data, Loss, Optimizer, Part, Recipe, registry
from srkit.data import cache
from srkit.data.datasets import ImageDataset
from srkit.data.held_out import Images
from srkit.data.sources import Files
from srkit.models import checkpoint
from srkit.training import run_folder


def tiny(**settings: Any) -> Recipe:
    """A residual network of some thousand weights, on 32x32 images."""
    recipe = Recipe(
        name="tiny",
        steps=6,
        batch_size=4,
        precision="fp32",
        validate_every=100,
        generator=Part.of("face-residual", width=8, blocks=1),
        losses={"l1": Loss()},
        degradation=Part.of("faces-x4"),
        data=Data(size=32),
        optimizer=Optimizer(learning_rate=1e-3),
    )
    return recipe.changed(settings)


def tiny_gan(**settings: Any) -> Recipe:
    """Both networks without batch normalisation, and losses that are means over the images."""
    gan = {
        "name": "tiny-gan",
        "discriminator.name": "srgan-plain",
        "discriminator.width": 0.05,
        "adversarial.weight": 0.01,
        "losses.feature.weight": 0.1,
        "ema": 0.9,
    }
    return tiny(**{**gan, **settings})


def batch_norm_gan(**settings: Any) -> Recipe:
    """The paper's whole method in small: batch normalisation, discriminator, all terms; and EMA."""
    recipe: Recipe = registry.build("recipes", "inception-gan")
    small = {
        "precision": "fp32",
        "steps": 6,
        "batch_size": 4,
        "validate_every": 100,
        "generator.width": 0.05,
        "discriminator.width": 0.05,
        "data.size": 32,
        "ema": 0.9,
    }
    return recipe.changed({**small, **settings})


def lines(folder: Path) -> list[dict[str, Any]]:
    """Return the records of a run's log but the first, which says how it began."""
    log = [json.loads(line) for line in (folder / run_folder.LOG).read_text().splitlines()]
    return [record for record in log if record["step"]]


def same_tensors(a: Path, b: Path) -> None:
    one, other = checkpoint.read(a), checkpoint.read(b)
    assert one.step == other.step
    assert one.tensors.keys() == other.tensors.keys()
    different = [k for k, v in one.tensors.items() if not torch.equal(v, other.tensors[k])]
    assert not different, different


def same_within_rounding(start: Path, a: Path, b: Path) -> None:
    """Compare two checkpoints of equal runs that added in another order."""
    for part in ("generator", "discriminator"):
        before, one, other = (
            torch.cat([value.flatten() for value in checkpoint.read(file).part(part).values()])
            for file in (start, a, b)
        )
        # Adam turns rounding of a gradient near zero into steps: a few weights differ by more.
        moved = (one - before).abs().mean()
        assert (one - other).abs().mean() < 0.01 * moved
        assert (one - other).abs().max() < 5e-4


def decoded(files: list[Path], data: Data) -> Images:
    """Decode files as a run would, without a cache."""
    dataset = ImageDataset(Files(tuple(files)), data)
    decoding = cache.decode(dataset, None)
    assert decoding.pixels is not None
    return Images.of(decoding.pixels, dataset.layout, decoding.messages(dataset))


def fingerprint(images: Images) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of the pixels."""
    return hashlib.sha256(images.pixels.contiguous().numpy().data).hexdigest()[:16]
