"""What a batch will take, before it is begun: measured on one tile, counted for the rest."""

from __future__ import annotations

import time
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from srkit.inference.model import Settings
from srkit.inference.upscale import Model, wanted_size

Size = tuple[int, int]  # width, height
PROBE = 96  # side of the tile that is measured, in LR pixels
# What a result is copied to on its way into a file: Pillow keeps RGB in four bytes.
ENCODED = 4 / 3


@dataclass(frozen=True)
class Cost:
    """What one picture takes.

    Attributes:
        seconds: Of computing; reading and writing go on beside it.
        memory: Bytes, beside what Python and torch take themselves.
    """

    seconds: float
    memory: int


class Estimator:
    """Measures a model once.

    Args:
        model: On its device.
        settings: How it will be used.
    """

    def __init__(self, model: Model, settings: Settings) -> None:
        self.model, self.settings = model, settings
        how = replace(settings, tile=PROBE)
        with _Live() as live:  # of this thread alone, so one picture
            model.enlarge(torch.rand(1, 3, PROBE, PROBE), settings=how)
        self.bytes_per_pixel = live.peak / PROBE**2
        self.threads = max(1, model.threads)
        lr = torch.rand(self.threads, 3, PROBE, PROBE)
        model.enlarge(lr, settings=how)
        started, times = time.perf_counter(), 0
        while times < 2 or time.perf_counter() - started < 0.5:
            model.enlarge(lr, settings=how)
            times += 1
        pixels = times * self.threads * PROBE**2
        self.seconds_per_pixel = (time.perf_counter() - started) / pixels

    def cost(self, size: Size) -> Cost:
        """Return what a picture of this width and height takes, of 8 bits."""
        read, largest, tiles = self._read(size)
        width, height = wanted_size(size, self.model, self.settings)
        result = 3 * size[0] * size[1] * self.model.scale**2
        copies = max(result * (1 + ENCODED), result + 3 * width * height * (1 + ENCODED))
        own = (width, height) == (size[0] * self.model.scale, size[1] * self.model.scale)
        memory = 3 * size[0] * size[1] + (result * (1 + ENCODED) if own else copies)
        maps = largest * min(tiles, self.threads) * self.bytes_per_pixel
        return Cost(read * self.seconds_per_pixel, int(memory + maps))

    def _read(self, size: Size) -> tuple[int, int, int]:
        """Return LR pixels the network is given in all and in the largest tile, and tiles."""
        sides = [
            [span.read.stop - span.read.start for span in spans]
            for spans in self.model.spans(size, self.settings)
        ]
        count = len(sides[0]) * len(sides[1])
        return sum(sides[0]) * sum(sides[1]), max(sides[0]) * max(sides[1]), count


def totals(costs: Sequence[Cost], together: int = 3) -> Cost:
    """Return what pictures take one after the other; a few are in memory at once."""
    largest = sorted((cost.memory for cost in costs), reverse=True)
    memory = sum(largest[:1]) + sum(largest[1:together]) // 2
    return Cost(sum(cost.seconds for cost in costs), memory)


class _Live(TorchDispatchMode):
    """Counts the bytes of tensors that are alive at once, on any device."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in _tensors(result):
            storage = tensor.untyped_storage()
            key = storage._cdata
            if key not in self.known:
                self.known.add(key)
                self.now += storage.nbytes()
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self._gone, key, storage.nbytes())
        return result

    def _gone(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.now -= size


def _tensors(value: Any) -> Iterable[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _tensors(each)
