"""Images of different sizes in one tensor, and draws that each image's seed decides."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor
from torch.nn.functional import pad

from srkit import seeds as noise_of
from srkit_kornia.options import Ends, Probability

_APPLIED = 0  # stream of a step's seeds; steps count their own from 1


class Frame(NamedTuple):
    """Sizes known beforehand, (height, width): of what came in, and of the result."""

    hr: tuple[int, int]
    lr: tuple[int, int]


@dataclass(frozen=True)
class Canvas:
    """A batch of images whose sizes may differ, in one tensor whose shape depends on no draw.

    Attributes:
        pixels: ``B3HW``, float32.
        sizes: int64, ``B2``: of image b only the first ``sizes[b]`` rows and columns count;
            what lies beyond is arbitrary. None where all fill the tensor.
    """

    pixels: Tensor
    sizes: Tensor | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the tensor."""
        return self.pixels.shape[-2], self.pixels.shape[-1]

    def filled(self) -> Tensor:
        """Return the pixels, ``B3HW``, with each image's border repeated outwards."""
        if self.sizes is None:
            return self.pixels
        pixels = self.pixels
        for axis in (-2, -1):
            places = torch.arange(pixels.shape[axis], device=pixels.device)
            index = torch.minimum(places, self.sizes[:, axis, None] - 1)
            index = index[:, None, :, None] if axis == -2 else index[:, None, None, :]
            pixels = pixels.gather(axis, index.expand_as(pixels))
        return pixels

    def sides(self, axis: int) -> Tensor:
        """Return heights (axis 0) or widths (1): int64, shape ``B``, or 1 where all are equal."""
        if self.sizes is None:
            return torch.full((1,), self.shape[axis], device=self.pixels.device)
        return self.sizes[:, axis]


def merged(which: Tensor, canvas: Canvas, other: Canvas) -> Canvas:
    """Return each image from ``canvas`` where ``which`` (bool, ``B``) says so, else ``other``."""
    if canvas is other:
        return canvas
    height, width = (max(sides) for sides in zip(canvas.shape, other.shape, strict=True))
    first, second = (
        pad(each.pixels, (0, width - each.shape[1], 0, height - each.shape[0]))
        for each in (canvas, other)
    )
    pixels = torch.where(which[:, None, None, None], first, second)
    if canvas.shape == other.shape and canvas.sizes is None and other.sizes is None:
        return Canvas(pixels)
    sides = [torch.stack([each.sides(0), each.sides(1)], dim=1) for each in (canvas, other)]
    return Canvas(pixels, torch.where(which[:, None], sides[0], sides[1]))


def working(device: torch.device) -> torch.dtype:
    """Return the precision of sums: float64, or float32 where there is no other (Apple's GPUs).

    In float32 the last bit of a matrix product can depend on the batch's size, and where it tips
    a rounding (JPEG's, amid the work), a whole level changes. In float64 that is as rare as
    never. What is computed value by value stays float32.
    """
    return torch.float32 if device.type == "mps" else torch.float64


def rounded(values: Tensor) -> Tensor:
    """Round to whole numbers, halves away from zero whatever the last bits say.

    Averages of 8-bit levels often lie halfway; a bare ``round`` would leave the choice to the
    order of the additions before.
    """
    return (values * (1 + 1e-5)).round_()


def between(ends: Ends, seeds: Tensor, stream: int) -> Tensor:
    """Draw one value an image, uniformly: shape ``B``, in the working precision."""
    low, high = ends
    precision = working(seeds.device)
    if low == high:
        return torch.full(seeds.shape, low, dtype=precision, device=seeds.device)
    return low + (high - low) * noise_of.uniform(seeds, (), stream).to(precision)


def whole(ends: Ends, seeds: Tensor, stream: int, *, every: int = 1) -> Tensor:
    """Draw one of ``low``, ``low + every``… up to ``high`` an image, all as often; shape ``B``."""
    low, high = ends
    count = (high - low) // every + 1
    drawn = noise_of.uniform(seeds, (), stream).to(working(seeds.device))
    return low + every * torch.floor(drawn * count)


def chosen(weights: Iterable[float], seeds: Tensor, stream: int) -> Tensor:
    """Draw the position of one of the weights an image: int64, shape ``B``."""
    shares = list(weights)
    drawn = noise_of.uniform(seeds, (), stream) * sum(shares)
    index = torch.zeros_like(seeds)
    for bound in list(itertools.accumulate(shares))[:-1]:
        index = index + (drawn >= bound)
    return index


def selected(index: Tensor, alternatives: Sequence[Tensor]) -> Tensor:
    """Return, of image b, alternative ``index[b]``; all of one shape ``B...``."""
    result = alternatives[0]
    for number, alternative in enumerate(alternatives[1:], start=1):
        mask = (index == number).reshape(-1, *[1] * (result.ndim - 1))
        result = torch.where(mask, alternative, result)
    return result


class Operation(BaseModel):
    """A step of a chain: frozen values, and what they do to images.

    Attributes:
        probability: With which the step is applied to an image; each is drawn on its own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    probability: Probability = 1.0

    def applied(self, canvas: Canvas, frame: Frame, seeds: Tensor) -> Canvas:
        """Return all images with the step applied."""
        raise NotImplementedError

    def __call__(self, canvas: Canvas, frame: Frame, seeds: Tensor) -> Canvas:
        """Apply the step to those images whose seed says so.

        Args:
            canvas: Images in [0, 1].
            frame: Sizes that factors refer to.
            seeds: int64, shape ``B``; the step's own, not shared with another.
        """
        done = self.applied(canvas, frame, seeds)
        if self.probability == 1:
            return done
        return merged(noise_of.uniform(seeds, (), _APPLIED) < self.probability, done, canvas)
