"""Resampling to a size of its own for each image, as a product with matrices made on the device.

A resize is linear and separable: ``out = rows @ image @ columns.T``. Matrices whose entries
follow from the drawn sizes keep the batch whole, whatever the sizes are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, Self

import pydantic
import torch
from pydantic import Field
from torch import Tensor

from srkit_kornia.canvas import Canvas, Frame, Operation
from srkit_kornia.draws import Factor, Weighted, between, mixed, working

Kernel = Literal["bicubic", "bilinear", "area", "lanczos"]
Direction = Literal["down", "up", "keep"]

_KERNEL, _FACTOR, _DIRECTION = range(1, 4)


def _shape(kernel: Kernel, distance: Tensor) -> Tensor:
    """Return a kernel's weights at distances in its own pixels, from 0 up."""
    if kernel == "bilinear":
        return (1 - distance).clamp(min=0)
    if kernel == "lanczos":
        lobes = torch.sinc(distance) * torch.sinc(distance / 3)
        return torch.where(distance < 3, lobes, 0)
    # Keys (1981) with a = -0.5.
    near = (1.5 * distance - 2.5) * distance * distance + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return torch.where(distance < 1, near, torch.where(distance < 2, far, 0))


def matrices(kernel: Kernel, before: Tensor, after: Tensor, sides: tuple[int, int]) -> Tensor:
    """Return matrices that resample a line of pixels, ``B x sides[1] x sides[0]``.

    Where the image shrinks, the kernel is widened by as much (antialiasing), and at the
    borders it is cut and normalised: Pillow's rules, and torch's with ``antialias=True``.
    ``area`` is the exact average of what an output pixel covers.

    ``before`` pixels count of ``sides[0]``, and become ``after`` (both int64, ``B``) of
    ``sides[1]``; rows beyond repeat the last.
    """
    precision = working(before.device)
    ratio = (before.to(precision) / after)[:, None, None]
    source = torch.arange(sides[0], device=before.device)[None, None, :]
    target = torch.arange(sides[1], device=before.device)[None, :, None]
    target = torch.minimum(target, after[:, None, None] - 1)
    if kernel == "area":
        start, end = target * ratio, (target + 1) * ratio
        weights = (torch.minimum(end, source + 1) - torch.maximum(start, source)).clamp(min=0)
    else:
        distance = (source + 0.5 - (target + 0.5) * ratio) / ratio.clamp(min=1)
        weights = _shape(kernel, distance.abs())
    weights = torch.where(source < before[:, None, None], weights, 0)
    return weights / weights.sum(dim=-1, keepdim=True)


def resampled(
    canvas: Canvas,
    after: Tensor,
    shape: tuple[int, int],
    kernels: Mapping[Kernel, float],
    seeds: Tensor,
) -> Tensor:
    """Resample images to the sizes ``after`` (int64, ``B2``, or ``12`` for all) in ``shape``.

    Beyond an image its border is repeated.
    """

    def along(axis: int) -> Tensor:
        sides = canvas.sides(axis), after[:, axis], (canvas.shape[axis], shape[axis])
        return mixed(kernels, seeds, _KERNEL, lambda name: matrices(name, *sides))[:, None]

    pixels = canvas.pixels.to(working(seeds.device))
    return (along(0) @ pixels @ along(1).transpose(-1, -2)).float()


def _row(sizes: tuple[int, int], device: torch.device) -> Tensor:
    """Return two numbers as ``12`` on a device, without a copy that waits for the host."""
    return torch.cat([torch.full((1, 1), size, device=device) for size in sizes], dim=1)


class Resize(Operation):
    """Resize by a random factor; without options, down to the size of lr.

    Attributes:
        factor: New size relative to that of ``of``.
        of: ``lr`` or ``hr``: the size that factor 1 means, whatever the image's size at this step.
        kernel: ``bicubic`` (a = -0.5), ``bilinear``, ``area``, ``lanczos`` (three lobes), all
            antialiased, or weights of several.
        direction: Weights of ``down`` (the part of ``factor`` below 1), ``up`` (above) and
            ``keep`` (exactly 1); by default anywhere in ``factor``.
    """

    do: Literal["resize"] = "resize"
    factor: Factor = (1.0, 1.0)
    of: Literal["lr", "hr"] = "lr"
    kernel: Weighted[Kernel] = Field({"bicubic": 1.0})
    direction: Weighted[Direction] | None = None

    @pydantic.model_validator(mode="after")
    def _directions_have_factors(self) -> Self:
        for name, empty in (("down", self.factor[0] >= 1), ("up", self.factor[1] <= 1)):
            if empty and name in (self.direction or ()):
                raise ValueError(f"direction '{name}' has no factor: {list(self.factor)}")
        return self

    def _factors(self, seeds: Tensor) -> Tensor:
        if self.direction is None:
            return between(self.factor, seeds, _FACTOR)
        low, high = self.factor
        ranges = {"down": (low, min(high, 1.0)), "up": (max(low, 1.0), high), "keep": (1.0, 1.0)}
        return mixed(
            self.direction, seeds, _DIRECTION, lambda name: between(ranges[name], seeds, _FACTOR)
        )

    def __call__(self, canvas: Canvas, frame: Frame, seeds: Tensor) -> Canvas:
        """Return all images resized."""
        reference = frame.lr if self.of == "lr" else frame.hr
        fixed = self.direction is None and self.factor[0] == self.factor[1]
        largest = self.factor[1] if self.direction is None else max(1.0, self.factor[1])
        height, width = (max(1, math.floor(largest * side + 0.5)) for side in reference)
        if fixed and canvas.sizes is None and canvas.shape == (height, width):
            return canvas
        after = full = _row((height, width), seeds.device)
        if not fixed:
            wanted = self._factors(seeds)[:, None] * _row(reference, seeds.device)
            after = torch.minimum(torch.floor(wanted + 0.5).clamp(min=1).long(), full)
        pixels = resampled(canvas, after, (height, width), self.kernel, seeds)
        return Canvas(pixels, None if fixed else after)
