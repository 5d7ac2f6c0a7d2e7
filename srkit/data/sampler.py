"""Which images make batch ``step``.

Everything about a batch follows from (seed, step): which images, in which order, which of them
mirrored, and the seed of each image's noise. Nothing is drawn from a stream, so a resumed run
needs no sampler state and sees exactly what the undisturbed one would have.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from srkit import seeds

_ORDER, _FLIP, _NOISE = 1, 2, 3  # purposes, so that one seed's uses stay independent


@dataclass(frozen=True)
class Batch:
    """Input of a training step, on the device."""

    hr: Tensor  # float32 in [0, 1], ``b3HW``; mirrored where the seed says so
    seeds: Tensor  # int64, shape ``b``: seeds for the degradation
    lr: Tensor | None = None  # float32 in [0, 1], ``b3hw``, of real pairs; mirrored like hr


def rows_of_rank(batch_size: int, rank: int, world_size: int) -> range:
    """Return one process's rows of a batch, whose size is a multiple of ``world_size``."""
    each = batch_size // world_size
    return range(rank * each, (rank + 1) * each)


def flipped(keys: Tensor) -> Tensor:
    """Return which images are mirrored; bool, shaped as their keys."""
    return seeds.derive(keys, _FLIP) < 0


def noise_seeds(keys: Tensor) -> Tensor:
    """Return the seeds of the images' noise; int64, shaped as their keys."""
    return seeds.derive(keys, _NOISE)


@lru_cache(maxsize=2)  # a batch may span two epochs
def _order(count: int, seed: int, epoch: int) -> Tensor:
    key = seeds.derive(torch.tensor([seed]), _ORDER, epoch)
    return torch.randperm(count, generator=torch.Generator().manual_seed(int(key)))


@dataclass(frozen=True)
class Sampler:
    """Which images make batch ``step``: seeded permutations, an epoch each, laid end to end."""

    rows: Tensor  # the images that train, by their places in the set; int64
    batch_size: int  # images in a batch, over all processes together
    seed: int
    mine: range  # this process's rows of a batch
    flips: bool  # whether half of the images are mirrored

    def span(self, start: int, batches: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return (places in the set, whether mirrored, seeds) of the batches from ``start`` on.

        Each is ``batches`` x ``len(mine)``; batches are counted from 0.
        """
        count = len(self.rows)
        steps = torch.arange(start, start + batches)[:, None]
        spots = (steps * self.batch_size + torch.arange(self.mine.start, self.mine.stop)).flatten()
        epochs = spots.div(count, rounding_mode="floor")
        # Spots ascend, so each epoch's lie together.
        each, lengths = epochs.unique_consecutive(return_counts=True)
        within = (spots - epochs * count).split(lengths.tolist())
        parts = zip(each.tolist(), within, strict=True)
        index = torch.cat([_order(count, self.seed, epoch)[spot] for epoch, spot in parts])
        keys = seeds.derive(torch.full_like(index, self.seed), epochs, index).view(batches, -1)
        places = self.rows[index].view(batches, -1)
        return places, flipped(keys) & self.flips, noise_seeds(keys)
