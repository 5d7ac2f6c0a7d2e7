"""What tests share: a small recipe, decoded photographs, reading what a run left."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch

from srkit import Data, Loss, Optimizer, Part, Recipe
from srkit.data import cache
from srkit.data.datasets import ImageDataset
from srkit.data.loader import Images
from srkit.data.sources import Files
from srkit.models import checkpoint
from srkit.training import run_folder


def tiny(**settings: Any) -> Recipe:
    """A residual network of some thousand weights, on 32x32 images."""
    recipe = Recipe(
        name="tiny",
        steps=6,
        batch_size=4,
        validate_every=100,
        generator=Part.of("face-residual", width=8, blocks=1),
        losses={"l1": Loss()},
        degradation=Part.of("faces-x4"),
        data=Data(size=32),
        optimizer=Optimizer(learning_rate=1e-3),
    )
    return recipe.changed(settings)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / run_folder.LOG).read_text().splitlines()]


def same_tensors(a: Path, b: Path) -> None:
    one, other = checkpoint.read(a), checkpoint.read(b)
    assert one.step == other.step
    assert one.tensors.keys() == other.tensors.keys()
    different = [k for k, v in one.tensors.items() if not torch.equal(v, other.tensors[k])]
    assert not different, different


def decoded(files: list[Path], data: Data) -> Images:
    """Decode files as a run would, without a cache."""
    dataset = ImageDataset(Files(tuple(files)), data)
    decoding = cache.decode(dataset, None)
    assert decoding.pixels is not None
    return Images.of(decoding.pixels, dataset.layout, decoding.broken(dataset))


def fingerprint(images: Images) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of the pixels."""
    return hashlib.sha256(images.pixels.contiguous().numpy().data).hexdigest()[:16]
