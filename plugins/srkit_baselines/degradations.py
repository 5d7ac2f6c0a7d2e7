"""From HR to LR: blur, shrink, noise, 8 bits; one seed an image decides every draw."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from kornia.filters import gaussian_blur2d
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import interpolate

from srkit import seeds as noise_of

Kernel = Literal[
    "bicubic", "bilinear", "area", "gaussian-bicubic", "pillow-bicubic", "aliased-bicubic"
]
Range = float | tuple[float, float]

_NOISE, _NOISE_SIGMA, _BLUR_SIGMA = 0, 101, 102  # streams of an image's seed


def _ends(what: str, value: Range) -> tuple[float, float]:
    low, high = value if isinstance(value, tuple) else (value, value)
    if not 0 <= low <= high:
        raise ValueError(f"{what} is a range from 0 up, not {value}")
    return low, high


def _drawn(ends: tuple[float, float], seeds: Tensor, stream: int) -> Tensor:
    low, high = ends
    return low + (high - low) * noise_of.uniform(seeds, (), stream)


def _blurred(hr: Tensor, sigma: Tensor, most: float) -> Tensor:
    if 3 * most > min(hr.shape[-2:]) - 1:
        raise ValueError(f"hr {tuple(hr.shape[-2:])} is too small for a blur of {most:g}")
    size = 2 * math.ceil(3 * most) + 1
    # A sigma of zero would divide by zero; a hundredth of a pixel blurs nothing.
    both = sigma.clamp(min=0.01)[:, None].expand(-1, 2)
    blurred: Tensor = gaussian_blur2d(hr, (size, size), both, border_type="reflect")
    return blurred


class FaceDegradation(nn.Module):
    """Blur, shrink, add Gaussian noise, clamp, round to 8 bits.

    The defaults are the evaluation protocol ``paper``: antialiased bicubic (torch's, a = -0.5,
    as in Pillow), noise of sigma 0.02, 8 bits. The paper says "downscaled by 4 with some random
    noise" (P11); the rest is our reading.

    Args:
        kernel: ``bicubic``, ``bilinear`` (both antialiased), ``area`` (plain averages),
            ``gaussian-bicubic`` (a Gaussian blur, then bicubic interpolation; what kornia and
            OpenCV pipelines call antialiased), ``pillow-bicubic`` (Pillow itself, which rounds
            to 8 bits after each direction; on the CPU), or ``aliased-bicubic`` (what torch and
            OpenCV do unless told otherwise, with a = -0.75).
        noise: Sigma of the noise in [0, 1] units, or the range it is drawn from per image.
        blur: Sigma of a Gaussian blur in HR pixels before shrinking, or its range.
        quantise: Round to 8 bits, as a file would.

    Attributes:
        scale: How many times smaller lr is.
    """

    scale: int

    def __init__(
        self,
        *,
        kernel: Kernel = "bicubic",
        noise: Range = 0.02,
        blur: Range = 0.0,
        quantise: bool = True,
    ) -> None:
        super().__init__()
        self.kernel, self.quantise = kernel, quantise
        self.noise, self.blur = _ends("noise", noise), _ends("blur", blur)

    def _shrunk(self, hr: Tensor) -> Tensor:
        size = (hr.shape[-2] // self.scale, hr.shape[-1] // self.scale)
        if self.kernel == "area":
            return interpolate(hr, size=size, mode="area")
        if self.kernel == "pillow-bicubic":
            return _by_pillow(hr, size)
        if self.kernel == "gaussian-bicubic":
            # kornia's rule for the blur before it resamples.
            sigma = (self.scale - 1) / 2
            hr = _blurred(hr, hr.new_full((len(hr),), sigma), sigma)
        if self.kernel in ("gaussian-bicubic", "aliased-bicubic"):
            return interpolate(hr, size=size, mode="bicubic", align_corners=False)
        return interpolate(hr, size=size, mode=self.kernel, align_corners=False, antialias=True)

    def forward(self, hr: Tensor, *, seeds: Tensor) -> Tensor:
        """Map ``hr`` (B3HW in [0, 1]) to ``lr`` (B3hw), h = H / scale; ``seeds`` int64, ``B``."""
        if hr.shape[-2] % self.scale or hr.shape[-1] % self.scale:
            raise ValueError(f"hr {tuple(hr.shape[-2:])} is no multiple of scale {self.scale}")
        if self.blur[1] > 0:
            hr = _blurred(hr, _drawn(self.blur, seeds, _BLUR_SIGMA), self.blur[1])
        lr = self._shrunk(hr)
        if self.noise[1] > 0:
            sigma = _drawn(self.noise, seeds, _NOISE_SIGMA)[:, None, None, None]
            lr = lr + sigma * noise_of.normal(seeds, lr.shape[1:], _NOISE)
        lr = lr.clamp(0, 1)
        return torch.round(lr * 255) / 255 if self.quantise else lr


def _by_pillow(hr: Tensor, size: tuple[int, int]) -> Tensor:
    """Shrink ``B3HW`` in [0, 1], rounded to 8 bits, by Pillow's own bicubic."""
    pixels = hr.clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    resized = [
        np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BICUBIC))
        for image in pixels
    ]
    return torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).to(hr.device).float() / 255


class FacesX2(FaceDegradation):
    """Shrink by 2 with noise, to 8 bits."""

    scale = 2


class FacesX4(FaceDegradation):
    """Shrink by 4 with noise, to 8 bits: the paper's (P11), as the protocol 'paper' reads it."""

    scale = 4


class FacesX8(FaceDegradation):
    """Shrink by 8 with noise, to 8 bits."""

    scale = 8
