"""What tests of training data share: a recipe without parts, batches of a loader."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from srkit.data.loader import Loader
from srkit.data.sampler import Batch
from srkit.recipe import Recipe

Crops = Callable[[Path, int, int], list[Path]]  # the fixture

CPU = torch.device("cpu")


def recipe(
    size: int = 16, batch_size: int = 6, *, seed: int = 0, scale: int = 4, **data: Any
) -> Recipe:
    """Return a recipe whose networks nobody builds."""
    return Recipe.parse(
        {
            "name": "t",
            "generator": {"name": "x"},
            "degradation": {"name": "y"},
            "losses": {"l1": {"weight": 1.0}},
            "batch_size": batch_size,
            "seed": seed,
            "scale": scale,
            "data": {"size": size, **data},
        }
    )


def first(loader: Loader, count: int, start: int = 0) -> list[Batch]:
    """Return some batches, and close the loader."""
    batches = list(itertools.islice(loader.batches(start), count))
    loader.close()
    return batches


def same(batches: Sequence[Batch], others: Sequence[Batch]) -> bool:
    return len(batches) == len(others) and all(
        torch.equal(a.hr, b.hr)
        and torch.equal(a.seeds, b.seeds)
        and (a.lr is b.lr is None or (a.lr is not None and torch.equal(a.lr, b.lr)))
        for a, b in zip(batches, others, strict=True)
    )
