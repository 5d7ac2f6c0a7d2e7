"""What tests share: a small recipe, decoded photographs, reading what a run left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from srkit import Data, Loss, Optimizer, Part, Recipe
from srkit.data import cache
from srkit.data.feed import Files, Photos, photos_of
from srkit.models import checkpoint
from srkit.training import run_folder


def tiny(**settings: Any) -> Recipe:
    """A residual network of some thousand weights, on 32x32 pictures."""
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


def decoded(files: list[Path], data: Data) -> Photos:
    """Decode files as a run would, without a cache."""
    source = Files(Path(), tuple(files), data)
    found = cache.obtain(source, "memory", None)
    assert found.pixels is not None
    return photos_of(found.pixels, source.layout, tuple(found.survey.broken(source)))
