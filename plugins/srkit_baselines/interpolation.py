"""Interpolation behind the generators' contract."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate, pixel_shuffle

from srkit import bicubic


class Nearest(nn.Module):
    """Every pixel as a square of its colour: what lr holds, and nothing else.

    Args:
        scale: Upscaling factor.
    """

    receptive_radius = 0

    def __init__(self, *, scale: int = 4) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, lr: Tensor) -> Tensor:
        """Map ``lr`` (B3hw) to ``sr`` (B3HW)."""
        return interpolate(lr, scale_factor=self.scale, mode="nearest")


class Bicubic(nn.Module):
    """Bicubic interpolation with Pillow's kernel (a = -0.5).

    Args:
        scale: Upscaling factor.
    """

    receptive_radius = 2

    def __init__(self, *, scale: int = 4) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, lr: Tensor) -> Tensor:
        """Map ``lr`` (B3hw) to ``sr`` (B3HW)."""
        return bicubic(lr, self.scale)


class Lanczos(nn.Module):
    """Lanczos interpolation over three pixels on each side, as Pillow's.

    At the border the kernel is cut off and brought back to a sum of one, as Pillow does.

    Args:
        scale: Upscaling factor.
    """

    receptive_radius = 3
    taps: Tensor

    def __init__(self, *, scale: int = 4) -> None:
        super().__init__()
        self.scale = scale
        # Sub-pixel p of a pixel lies (p + 1/2) / scale - 1/2 from the pixel's middle.
        places = (torch.arange(scale, dtype=torch.float64) + 0.5) / scale - 0.5
        away = places[:, None] - torch.arange(-3, 4, dtype=torch.float64)
        taps = torch.sinc(away) * torch.sinc(away / 3) * (away.abs() < 3)
        self.register_buffer("taps", taps.float(), persistent=False)

    def forward(self, lr: Tensor) -> Tensor:
        """Map ``lr`` (B3hw) to ``sr`` (B3HW); edges may overshoot [0, 1]."""
        kernels = torch.einsum("pi,qj->pqij", self.taps, self.taps)
        kernels = kernels.reshape(-1, 1, *kernels.shape[-2:]).to(lr.dtype)
        inside = conv2d(torch.ones_like(lr[:1, :1]), kernels, padding=3)
        planes = lr.flatten(0, 1)[:, None]
        sr = pixel_shuffle(conv2d(planes, kernels, padding=3) / inside, self.scale)
        return sr.reshape(*lr.shape[:2], *sr.shape[-2:])
