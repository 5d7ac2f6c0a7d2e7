"""Tensors and arrays of any size through a network, as much at a time as memory allows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from srkit.errors import InputError, OptionError
from srkit.inference import arrays, consistency, memory, tiling, winograd

T = TypeVar("T")
TILE = 256  # LR pixels: margins cost a third of the time at a radius of 19
LEAST_TILE = 2 * tiling.BLEND
UNKNOWN_RADIUS = 16  # LR pixels of context for a generator that states none


@dataclass(frozen=True)
class Settings:
    """How pictures are enlarged.

    Attributes:
        scale: Enlargement wanted; the model's own if None. Another is resampled from the model's
            result by Lanczos.
        ensemble: Average what the model makes of the picture's eight turns and flips.
        consistent: Take out what contradicts the input; see `srkit.inference.consistency`.
        tile: Side of a tile in LR pixels, without its margins, at least 16; `TILE` if None.
    """

    scale: float | None = None
    ensemble: bool = False
    consistent: bool = False
    tile: int | None = None

    def __post_init__(self) -> None:
        if self.scale is not None and not 0 < self.scale <= 64:
            raise OptionError(f"scale must be above 0 and at most 64, not {self.scale:g}")
        if self.tile is not None and self.tile < 1:
            raise OptionError(f"tile must be 1 or more, not {self.tile}")


@dataclass
class Limits:
    """What a model has been found to stand on its device; it only ever gets less.

    Attributes:
        tile: Largest side of a tile in LR pixels.
        dtype: In which the network computes.
        fall_back: Go on on the CPU when even the smallest tile is too much for the device.
        notes: What the user should be told, not yet told.
    """

    tile: int = 1 << 30
    dtype: torch.dtype = torch.float32
    fall_back: bool = False
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Network:
    """A generator that enlarges tensors and arrays of any size.

    Attributes:
        name: As asked for.
        generator: In evaluation mode, on its device.
        scale: Enlargement factor.
        limits: What its device stands.
        quick: A copy for single threads of the CPU, see `srkit.inference.winograd`; None where
            there is nothing to gain.
    """

    name: str
    generator: nn.Module
    scale: int
    limits: Limits = field(default_factory=Limits, kw_only=True)
    quick: nn.Module | None = field(default=None, kw_only=True)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        tensors = chain(self.generator.parameters(), self.generator.buffers())
        first = next(tensors, None)
        return torch.device("cpu") if first is None else first.device

    @property
    def exact_tiles(self) -> bool:
        """Whether tiles give what the whole picture would; if not, they approximate it."""
        return getattr(self.generator, "receptive_radius", None) is not None

    @property
    def threads(self) -> int:
        """How many threads can use `quick`, each on pieces of its own; 0 for none."""
        return winograd.workers() if self.quick is not None and self.device.type == "cpu" else 0

    @property
    def context(self) -> int:
        """How many LR pixels around it a part of a picture needs; a guess where none is stated."""
        radius = getattr(self.generator, "receptive_radius", None)
        return UNKNOWN_RADIUS if radius is None else int(radius)

    def spans(self, size: Sequence[int], settings: Settings) -> list[list[tiling.Span]]:
        """Return how each side of a picture is cut into tiles."""
        margin = self.context + (consistency.REACH if settings.consistent else 0)
        tile = min(settings.tile or TILE, self.limits.tile)
        alignment = int(getattr(self.generator, "alignment", 1))
        return [tiling.spans(length, tile, margin, alignment) for length in size]

    @torch.inference_mode()
    def enlarge(
        self, lr: Tensor, *, tile: int | None = None, settings: Settings | None = None
    ) -> Tensor:
        """Enlarge tensors by the model's own scale, in float32.

        Args:
            lr: ``B3hw`` in [0, 1], on any device.
            tile: Side of a tile in LR pixels, without its margins; `TILE` if None.
            settings: ``ensemble`` and ``consistent``.

        Returns:
            ``B3HW`` on lr's device, clamped to [0, 1].

        Raises:
            InputError: The device has no memory for the smallest tile, or the network's answer is
                not finite.
        """
        settings = settings or Settings()
        settings = replace(settings, tile=tile or settings.tile)

        def attempt() -> Tensor:
            size = (lr.shape[-2] * self.scale, lr.shape[-1] * self.scale)
            sr = lr.new_empty(*lr.shape[:2], *size)
            shape = (len(lr), *lr.shape[-2:])
            parts = self._parts(shape, lambda its, y, x: lr[its, :, y, x], settings)
            for rows, columns, part in parts:
                sr[..., rows, columns] = part
            return sr.clamp_(0, 1)

        return self._as_memory_allows(attempt)

    @torch.inference_mode()
    def enlarge_pixels(
        self,
        pixels: np.ndarray,
        settings: Settings | None = None,
        progress: Callable[[int], None] = lambda pixels: None,
    ) -> np.ndarray:
        """Enlarge pixels of any number by the model's own scale; the result is assembled once.

        Beside the result, memory holds one tile's feature maps and one row of seams. 8 bits may
        be computed in half precision, where the device has it; 16 bits never are.

        Args:
            pixels: ``hw3`` or ``Bhw3``, uint8 or uint16, in the machine's memory.
            settings: See `Settings`; ``scale`` is left to `resized`.
            progress: Told how many LR pixels have been done since it was last told.

        Returns:
            The same type, ``HW3`` or ``BHW3``.

        Raises:
            InputError: As `enlarge`.
        """
        settings = settings or Settings()
        stack = pixels if pixels.ndim == 4 else pixels[None]
        count, height, width, _ = stack.shape

        told = 0

        def attempt() -> np.ndarray:
            nonlocal told
            progress(-told)  # what an attempt has done that then ran out of memory
            told = 0
            size = (height * self.scale, width * self.scale)
            sr = np.empty((count, *size, 3), pixels.dtype)
            parts = self._parts(
                (count, height, width),
                lambda its, y, x: arrays.to_tensor(stack[its, y, x]),
                settings,
                half=pixels.dtype == np.uint8,
            )
            for rows, columns, part in parts:
                sr[:, rows, columns] = arrays.to_pixels(part, pixels.dtype)
                done = (rows.stop - rows.start) * (columns.stop - columns.start) * count
                progress(done // self.scale**2)
                told += done // self.scale**2
            progress(count * height * width - told)  # what rounding down has left
            return sr

        sr = self._as_memory_allows(attempt)
        return sr if pixels.ndim == 4 else sr[0]

    def _parts(
        self,
        shape: Sequence[int],
        read: Callable[[slice, slice, slice], Tensor],
        settings: Settings,
        *,
        half: bool = False,
    ) -> Iterator[tuple[slice, slice, Tensor]]:
        """Yield finished parts of the result, on the device of what ``read`` gives.

        Args:
            shape: Number of pictures, height and width.
            read: Gives some pictures, rows and columns of the input.
            settings: How.
            half: Whether half precision is allowed.
        """
        count, *size = shape
        rows, columns = self.spans(size, settings)
        places = [(row.read, column.read) for row in rows for column in columns]
        threads = self._threads(len(places) * count, size)
        # Few places and several pictures: each thread has some of the pictures.
        share = math.ceil(count / threads) if threads > len(places) else count
        pictures = [slice(first, first + share) for first in range(0, count, share)]

        def answer(place: tuple[slice, slice, slice]) -> Tensor:
            lr = read(*place)
            return self._answer(lr.to(self.device), settings, half, threads > 0).to(lr.device)

        each = ((its, y, x) for y, x in places for its in pictures)
        answers = winograd.in_parallel(answer, each, threads) if threads > 1 else map(answer, each)
        if len(pictures) > 1:
            apart = answers
            answers = (torch.cat([next(apart) for _ in pictures]) for _ in places)
        yield from tiling.parts(answers, rows, columns, self.scale)

    def _threads(self, pieces: int, size: Sequence[int]) -> int:
        """Return how many threads are to use `quick`, each on pieces of its own; 0 for none."""
        pixels = size[0] * size[1]
        if self.quick is not None and winograd.is_for_small_pictures(self.quick):
            pixels = min(pixels, TILE**2) * pieces // max(1, self.threads)
        enough = pixels >= winograd.LEAST_PIXELS and pieces >= self.threads
        return self.threads if enough else 0

    def _answer(self, lr: Tensor, settings: Settings, half: bool, quick: bool) -> Tensor:
        sr = self._forward(lr, half, quick)
        if settings.ensemble:
            for turn in range(1, 8):
                turned = (lr if turn < 4 else lr.mT).rot90(turn, (-2, -1))
                back = self._forward(turned, half, quick).rot90(-turn, (-2, -1))
                sr = sr + (back if turn < 4 else back.mT)
            sr = sr / 8
        return consistency.project(sr, lr, self.scale) if settings.consistent else sr

    def _forward(self, lr: Tensor, half: bool, quick: bool) -> Tensor:
        """Return the network's answer in float32; once more in float32 where it isn't finite."""
        generator, layout = self.generator, torch.channels_last
        if quick and self.quick is not None:
            generator, layout = self.quick, torch.contiguous_format
        given = lr.contiguous(memory_format=layout)
        for dtype in dict.fromkeys((self.limits.dtype if half else torch.float32, torch.float32)):
            short = dtype != torch.float32
            with torch.autocast(lr.device.type, dtype) if short else nullcontext():
                sr: Tensor = generator(given).float()
            if bool(sr.sum().isfinite()):  # one value that isn't finite makes the sum so, too
                return sr
            if short:
                self.limits.dtype = torch.float32
                self.limits.notes.append(
                    f"model '{self.name}' leaves the range of {str(dtype).removeprefix('torch.')}; "
                    "computing in float32 from here on"
                )
        raise InputError(f"model '{self.name}' gives values that are not finite for this picture")

    def _as_memory_allows(self, attempt: Callable[[], T]) -> T:
        """Halve the tile until it fits; what was too much once is not tried again."""
        tile = TILE
        while True:
            where = self.device
            try:
                return attempt()
            except (RuntimeError, MemoryError) as error:
                if not memory.ran_out(error):
                    raise
                why = " ".join(str(error).split())[:80]
            memory.release(where)
            tile = min(tile, self.limits.tile)
            if tile > LEAST_TILE:
                self.limits.tile = max(LEAST_TILE, tile // 2)
                self.limits.notes.append(
                    f"out of memory on {where}; going on with tiles of {self.limits.tile} pixels"
                )
            elif where.type != "cpu" and self.limits.fall_back:
                self.generator.to("cpu")
                self.limits.dtype, self.limits.tile = torch.float32, TILE
                self.limits.notes.append(f"out of memory on {where}; going on on the CPU")
            else:
                raise InputError(f"not enough memory on {where}, even with small tiles ({why})")
