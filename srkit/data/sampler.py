"""Which images make batch ``step``.

Everything about a batch follows from (seed, step): which images, in which order, which of them
mirrored, and the seed of each image's noise. Nothing is drawn from a stream, so a resumed run
needs no sampler state and sees exactly what the undisturbed one would have.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from srkit import seeds

_ORDER, _FLIP, _NOISE = 1, 2, 3  # purposes, so that one seed's uses stay independent


@dataclass(frozen=True)
class Batch:
    """Input of a training step.

    Attributes:
        hr: float32 in [0, 1], ``b3HW``, on the device; mirrored where the seed says so.
        seeds: int64, shape ``b``, on the device: seeds for the degradation.
        lr: float32 in [0, 1], ``b3hw``, where the data are pairs; mirrored like hr.
    """

    hr: Tensor
    seeds: Tensor
    lr: Tensor | None = None


def rows_of_rank(batch_size: int, rank: int, world_size: int) -> range:
    """Return one process's rows of a batch, whose size is a multiple of ``world_size``."""
    each = batch_size // world_size
    return range(rank * each, (rank + 1) * each)


class Sampler:
    """Which images make batch ``step``, and a key for each.

    Epochs are seeded permutations laid end to end; a batch may span two of them.
    """

    def __init__(self, count: int, batch_size: int, seed: int) -> None:
        self.count, self.batch_size, self.seed = count, batch_size, seed
        self._orders: dict[int, Tensor] = {}

    def _order(self, epoch: int) -> Tensor:
        if epoch not in self._orders:
            key = seeds.derive(torch.tensor([self.seed]), _ORDER, epoch)
            generator = torch.Generator().manual_seed(int(key))
            # Two epochs at most are ever needed at once.
            self._orders = {e: o for e, o in self._orders.items() if e == epoch - 1}
            self._orders[epoch] = torch.randperm(self.count, generator=generator)
        return self._orders[epoch]

    def span(self, start: int, batches: int, rows: range) -> tuple[Tensor, Tensor]:
        """Return (indices, keys) of these rows of the batches from ``start``, from 0, on.

        Both are int64, ``batches`` x ``len(rows)``.
        """
        steps = torch.arange(start, start + batches)[:, None]
        places = (steps * self.batch_size + torch.arange(rows.start, rows.stop)).flatten()
        epochs = places.div(self.count, rounding_mode="floor")
        # Places ascend, so each epoch's lie together.
        each, lengths = epochs.unique_consecutive(return_counts=True)
        within = (places - epochs * self.count).split(lengths.tolist())
        parts = zip(each.tolist(), within, strict=True)
        index = torch.cat([self._order(epoch)[place] for epoch, place in parts])
        keys = seeds.derive(torch.full_like(index, self.seed), epochs, index)
        return index.view(batches, -1), keys.view(batches, -1)


def flipped(keys: Tensor) -> Tensor:
    """Return which images are mirrored; bool, shaped as their keys."""
    return seeds.derive(keys, _FLIP) < 0


def noise_seeds(keys: Tensor) -> Tensor:
    """Return the seeds of the images' noise; int64, shaped as their keys."""
    return seeds.derive(keys, _NOISE)


@dataclass(frozen=True)
class Subset:
    """Which images of a set train (``rows``, int64), and how they are drawn into batches.

    ``mine`` are this process's rows of a batch; with ``flips`` half of them are mirrored.
    """

    rows: Tensor
    sampler: Sampler
    mine: range
    flips: bool

    def span(self, start: int, batches: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return (places in the set, whether mirrored, seeds) of the batches from ``start`` on."""
        index, keys = self.sampler.span(start, batches, self.mine)
        return self.rows[index], flipped(keys) & self.flips, noise_seeds(keys)
