"""Which pictures make batch ``step``, and the feed of a set that fits on the device.

Everything about a batch follows from (seed, step): which pictures, in which order, which of
them mirrored, and the seed of each picture's noise. Nothing is drawn from a stream, so a
resumed run needs no sampler state and sees exactly what the undisturbed one would have.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from srkit import seeds
from srkit.data.sources import Layout
from srkit.errors import InputError

_ORDER, _FLIP, _NOISE = 1, 2, 3  # purposes, so that one seed's uses stay independent
AHEAD = 64  # batches planned at once: hashing 64 costs hardly more than hashing one


@dataclass(frozen=True)
class Batch:
    """What one step of training is given.

    Attributes:
        hr: float32 in [0, 1], ``b3HW``, on the device; mirrored where the seed says so.
        noise: int64, shape ``b``, on the device: seeds for the degradation.
        lr: float32 in [0, 1], ``b3hw``, where the data are pairs; mirrored like hr.
    """

    hr: Tensor
    noise: Tensor
    lr: Tensor | None = None


@dataclass(frozen=True)
class Share:
    """Which rows of every batch this process takes.

    Attributes:
        rank: From 0.
        count: Processes that train together.
    """

    rank: int = 0
    count: int = 1

    def rows(self, batch_size: int) -> range:
        """Return this process's rows of a batch of ``batch_size`` pictures.

        Raises:
            InputError: The batch can't be divided evenly.
        """
        if batch_size % self.count:
            raise InputError(
                f"batch_size {batch_size} can't be divided evenly among {self.count} processes; "
                f"set it to a multiple of {self.count}"
            )
        each = batch_size // self.count
        return range(self.rank * each, (self.rank + 1) * each)


class Feed(Protocol):
    """Batches of training pictures, on the device."""

    @property
    def count(self) -> int | None:
        """Training pictures; None where nobody knows, as for shards."""
        ...

    @property
    def broken(self) -> Sequence[str]:
        """A message for each picture that can't be read; grows while shards are read."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """What else the user should hear, as that the disk is too full for a cache."""
        ...

    @property
    def fingerprint(self) -> str:
        """First 16 hexadecimal digits of a SHA-256.

        It is that of the decoded training pixels in order, each lr after its hr; for shards that
        of their sorted URLs.
        """
        ...

    @property
    def kept(self) -> str:
        """Where the pictures are: ``device``, ``disk``, ``files`` or ``shards``."""
        ...

    def batches(self, start: int) -> Iterator[Batch]:
        """Yield this process's rows of batch ``start``, counted from 0, and of all after it."""
        ...

    def close(self) -> None:
        """End what works in the background."""
        ...


class Sampler:
    """Which pictures make batch ``step``, and the seeds of their noise.

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

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Return (indices, seeds) of batch ``step``, counted from 0; int64, shape ``B``."""
        index, keys = self.span(step, 1, range(self.batch_size))
        return index[0], keys[0]

    def span(self, start: int, batches: int, rows: range) -> tuple[Tensor, Tensor]:
        """Return (indices, seeds) of some rows of the batches from ``start`` on.

        Args:
            start: The first batch, counted from 0.
            batches: How many.
            rows: Consecutive rows of each.

        Returns:
            int64, shape ``batches`` x ``len(rows)``.
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
    """Return which pictures are mirrored; bool, shaped as their keys."""
    return seeds.derive(keys, _FLIP) < 0


def noise_seeds(keys: Tensor) -> Tensor:
    """Return the seeds of the pictures' noise; int64, shaped as their keys."""
    return seeds.derive(keys, _NOISE)


@dataclass(frozen=True)
class Plan:
    """One batch before its pictures are fetched: the mirrored ones come last.

    Mirroring a slice and putting rows back in order is several times as fast as choosing between
    mirrored and plain ones picture by picture.

    Attributes:
        places: int64, shape ``b``, on the CPU: which pictures to fetch, in this order.
        index: The same on the device.
        restore: int64, shape ``b``: brings fetched pictures to their places in the batch.
        noise: int64, shape ``b``, in the batch's order.
        plain: How many of the fetched come before the mirrored.
    """

    places: Tensor
    index: Tensor
    restore: Tensor
    noise: Tensor
    plain: int

    def batch(self, rows: Tensor, layout: Layout) -> Batch:
        """Return the batch of fetched rows, uint8, ``b`` x `Layout.bytes`, on the device."""
        for side, part in zip((layout.size, layout.lr_size), layout.split(rows), strict=True):
            if part is not None and self.plain < len(part):
                mirrored = part[self.plain :]
                mirrored.copy_(mirrored.reshape(-1, side).flip(-1).view_as(mirrored))
        hr, lr = layout.split(rows.index_select(0, self.restore))
        return Batch(unit(hr), self.noise, None if lr is None else unit(lr))


def unit(pictures: Tensor) -> Tensor:
    """Return uint8 pictures as float32 in [0, 1]."""
    return pictures.to(torch.float32).div_(255)


@dataclass(frozen=True)
class Choice:
    """Which pictures of a set train, and how they are drawn into batches.

    Attributes:
        rows: int64: where the training pictures lie in the set, in their order.
        sampler: Over as many pictures.
        mine: This process's rows of a batch.
        flips: Mirror half of them.
    """

    rows: Tensor
    sampler: Sampler
    mine: range
    flips: bool

    def plans(self, start: int, device: torch.device) -> Iterator[Plan]:
        """Yield the plans of batch ``start``, counted from 0, and of all after it.

        What they need on the device goes there for `AHEAD` batches in one transfer, which isn't
        waited for.
        """
        while True:
            index, keys = self.sampler.span(start, AHEAD, self.mine)
            mirrored = flipped(keys) if self.flips else torch.zeros_like(keys, dtype=torch.bool)
            order = mirrored.to(torch.uint8).argsort(dim=1, stable=True)
            places = self.rows[index.gather(1, order)]
            host = torch.stack([places, order.argsort(dim=1), noise_seeds(keys)])
            if device.type == "cuda":
                host = host.pin_memory()
            plain = (~mirrored).sum(dim=1).tolist()
            parts = host.to(device, non_blocking=True).unbind()
            for each in zip(places, *parts, plain, strict=True):
                yield Plan(*each)
            start += AHEAD


@dataclass
class Held:
    """All pictures as one uint8 tensor on the device; a step only indexes, flips and scales.

    Attributes:
        pixels: uint8, pictures x `Layout.bytes`, on the device; held-out ones may be among them.
        layout: Of a picture.
        choice: Which of them train.
    """

    pixels: Tensor
    layout: Layout
    choice: Choice
    fingerprint: str
    broken: Sequence[str] = ()
    notes: Sequence[str] = ()
    kept: str = field(default="device", init=False)

    @property
    def count(self) -> int:
        """Training pictures."""
        return len(self.choice.rows)

    def batches(self, start: int) -> Iterator[Batch]:
        """Yield this process's rows of batch ``start``, counted from 0, and of all after it."""
        for plan in self.choice.plans(start, self.pixels.device):
            yield plan.batch(self.pixels.index_select(0, plan.index), self.layout)

    def close(self) -> None:
        """Nothing works in the background."""
