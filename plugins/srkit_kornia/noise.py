"""Gaussian and Poisson noise, both from one uniform draw a value."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from srkit import seeds as noise_of
from srkit_kornia.canvas import Canvas, Frame, Operation
from srkit_kornia.draws import Amount, Probability, Weighted, between, mixed

Kind = Literal["gaussian", "poisson"]

_KIND, _AMOUNT, _GREY, _VALUES = range(1, 5)
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
# Below this rate counts are summed up one by one; the chance of more than _TERMS is 1e-8.
_FEW, _TERMS = 2.0, 13


def standard(uniform: Tensor) -> Tensor:
    """Return standard normal values from uniform ones in (0, 1), by the inverse distribution."""
    # The subtraction is exact in float32 up to half a step of 2**-24.
    return math.sqrt(2) * torch.erfinv(2 * uniform - 1)


def poisson(rate: Tensor, uniform: Tensor, normal: Tensor) -> Tensor:
    """Return Poisson counts, the quantiles at ``uniform``; ``normal`` is `standard` of it.

    For rates below 2 the distribution is summed up from 0; above, its expansion in the normal
    quantile (Giles, 2016, ACM TOMS 42:1), which is off by one count in a hundred draws at a
    rate of 2, in a thousand at 28. ``torch.poisson`` would draw the whole batch from one stream.
    """
    # The lower bounds keep the terms out of the range that processors compute slowly.
    small = rate.clamp(1e-6, _FEW)
    term = torch.exp(-rate.clamp(max=_FEW))
    below = term.clone()
    count = (uniform > below).to(rate.dtype)
    for number in range(1, _TERMS):
        term = (term * small * (1 / number)).clamp(min=1e-30)
        below += term
        count += uniform > below
    root = rate.clamp(min=_FEW).sqrt()
    square = normal * normal
    expansion = rate + root * normal + (square + 2) / 6 - normal * (square + 2) / (72 * root)
    return torch.where(rate < _FEW, count, torch.floor(expansion).clamp(min=0))


class Noise(Operation):
    """Add noise, and clamp to [0, 1].

    Attributes:
        kind: ``gaussian`` (equal everywhere), ``poisson`` (variance proportional to brightness),
            or weights of both.
        sigma: For ``gaussian``, in units of [0, 1].
        poisson_scale: For ``poisson``: at brightness x the variance is
            ``poisson_scale ** 2 * x / 255``, as of ``255 / poisson_scale ** 2`` photons at white.
        grey: Probability that the three channels get the same noise.
    """

    do: Literal["noise"] = "noise"
    kind: Weighted[Kind] = Field({"gaussian": 1.0})
    sigma: Amount = (0.0, 0.1)
    poisson_scale: Amount = (0.05, 3.0)
    grey: Probability = 0.0

    def _drawn(self, light: Tensor, uniform: Tensor, seeds: Tensor) -> Tensor:
        """Return the noise on one plane of light, ``BHW``."""
        normal = standard(uniform)

        def noise(kind: Kind) -> Tensor:
            ends = self.sigma if kind == "gaussian" else self.poisson_scale
            amount = between(ends, seeds, _AMOUNT).float()[:, None, None]
            if kind == "gaussian":
                return amount * normal
            # A scale of 0 would mean endless photons; of a hundredth, nothing one could see.
            photons = 255 / amount.clamp(min=0.01) ** 2
            bounded = light.clamp(0, 1)
            return poisson(bounded * photons, uniform, normal) / photons - bounded

        return mixed(self.kind, seeds, _KIND, noise)

    def __call__(self, canvas: Canvas, frame: Frame, seeds: Tensor) -> Canvas:
        """Return all images with noise."""
        pixels = canvas.pixels
        grey = (noise_of.uniform(seeds, (), _GREY) < self.grey)[:, None, None]
        luma = sum(share * pixels[:, i] for i, share in enumerate(_LUMA))
        first, noisy = None, []
        # A plane at a time, so that what a value takes stays in the processor's cache.
        for number, plane in enumerate(pixels.unbind(dim=1)):
            uniform = noise_of.uniform(seeds, plane.shape[-2:], _VALUES + number)
            first = uniform if first is None else first
            light = torch.where(grey, luma, plane)
            noise = self._drawn(light, torch.where(grey, first, uniform), seeds)
            noisy.append((plane + noise).clamp(0, 1))
        return Canvas(torch.stack(noisy, dim=1), canvas.sizes)
