"""Images of different sizes in one tensor, and what is done to them in a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor
from torch.nn.functional import pad

from srkit_kornia.draws import Probability


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
        return cut(self.pixels, torch.zeros_like(self.sizes), self.shape, self.sizes)

    def sides(self, axis: int) -> Tensor:
        """Return heights (axis 0) or widths (1): int64, shape ``B``, or 1 where all are equal."""
        if self.sizes is None:
            return torch.full((1,), self.shape[axis], device=self.pixels.device)
        return self.sizes[:, axis]


def cut(
    pixels: Tensor, start: Tensor, shape: tuple[int, int], sizes: Tensor | None = None
) -> Tensor:
    """Return a part of each image, ``B3`` and ``shape``; borders are repeated outwards.

    ``start`` (int64, ``B2``) is its first row and column; it may be negative.
    """
    for axis, length in zip((-2, -1), shape, strict=True):
        last = pixels.shape[axis] - 1 if sizes is None else sizes[:, axis, None] - 1
        places = torch.arange(length, device=pixels.device) + start[:, axis, None]
        index = places.clamp(min=0).clamp(max=last)
        index = index[:, None, :, None] if axis == -2 else index[:, None, None, :]
        wanted = list(pixels.shape)
        wanted[axis] = length
        pixels = pixels.gather(axis, index.expand(wanted))
    return pixels


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


class Operation(BaseModel):
    """A step of a chain: frozen values, and what they do to images.

    Attributes:
        probability: With which the step is applied to an image; each is drawn on its own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    probability: Probability = 1.0

    def __call__(self, canvas: Canvas, frame: Frame, seeds: Tensor) -> Canvas:
        """Return all images, in [0, 1], with the step applied.

        ``seeds``, int64, shape ``B``, are the step's own, not shared with another.
        """
        raise NotImplementedError
