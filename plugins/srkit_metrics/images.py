"""Metrics of single images on 8-bit values, batched in torch on the images' own device.

After the rounding everything is exact or float64, so that device, batch and order change no score
by more than 1e-9. PSNR and SSIM are scikit-image's to 1e-6, which the tests compute independently.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from srkit_metrics.ssim import GAUSSIAN, UNIFORM, Window, mean_ssim

# BT.601 luma in 16..235 for RGB in 0..255, what the field's "Y" tables use.
LUMA = (65.481 / 255, 128.553 / 255, 24.966 / 255)
# Values of sr that are scored at a time, or one image: on a CPU they should stay in cache.
AT_A_TIME = {"cpu": 1 << 16}
ELSEWHERE = 1 << 24
# Power of rounding to 8 bits in each frequency: what lies below it in a spectrum says nothing.
FLOOR = 1 / 12


def to_8_bits(images: Tensor) -> Tensor:
    """Return ``B3HW`` in [0, 1] as whole numbers in 0..255, float32; values are clamped.

    They stay on their device, unless that has no float64 (mps): then they go to the CPU.
    """
    rounded = images.detach().clamp(0, 1).mul_(255).round_().float()
    return rounded.cpu() if rounded.device.type == "mps" else rounded


def luma(rgb: Tensor) -> Tensor:
    """Return BT.601 luma in 16..235, ``B1HW``, float64, of ``B3HW`` in 0..255; not rounded."""
    red, green, blue = rgb.double().split(1, dim=1)
    y: Tensor = red * LUMA[0]
    return y.add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2]).add_(16)


def truncated_luma(rgb: Tensor) -> Tensor:
    """Return `luma` truncated to whole numbers."""
    return luma(rgb).floor()


def _require_alike(least: int = 1, **images: Tensor) -> None:
    """Raise ValueError for images that can't be compared."""
    shapes = [tuple(image.shape) for image in images.values()]
    if len(set(shapes)) > 1:
        both = " and ".join(f"{name} {s}" for name, s in zip(images, shapes, strict=True))
        raise ValueError(f"{both} differ in shape")
    if min(shapes[0][-2:]) < least:
        raise ValueError(f"images must have sides of {least} or more pixels")


def _decibels(a: Tensor, b: Tensor) -> Tensor:
    """Return PSNR of values up to 255; infinite for equal images."""
    # Differences of whole numbers and their squares are exact in float32.
    error = (a - b).square_().flatten(1).mean(dim=1, dtype=torch.float64)
    decibels: Tensor = 20 * math.log10(255) - 10 * error.log10()
    return decibels


def _spectral_distance(a: Tensor, b: Tensor) -> Tensor:
    """Return the root mean square over frequencies of two power spectra's ratio in dB."""
    # This transform keeps the sum of squares.
    powers = (torch.fft.fft2(images, norm="ortho").abs().square() for images in (a, b))
    first, second = (10 * (power + FLOOR).log10() for power in powers)
    distance: Tensor = (first - second).square().flatten(1).mean(dim=1).sqrt()
    return distance


class ImageMetric:
    """A metric of sr against hr, image by image.

    Args:
        score: Two batches in 0..255 to one score an image.
        title: Heading in tables.
        unit: ``"dB"`` or ``""``.
        higher_is_better: Which way is better.
        of: What of ``B3HW`` in 0..255 is compared: all of it, or `luma`.
        least: Smallest side in pixels it is defined for.
    """

    def __init__(
        self,
        score: Callable[[Tensor, Tensor], Tensor],
        *,
        title: str,
        unit: str,
        higher_is_better: bool = True,
        of: Callable[[Tensor], Tensor] | None = None,
        least: int = 1,
    ) -> None:
        self.score, self.of, self.least = score, of, least
        self.title, self.unit, self.higher_is_better = title, unit, higher_is_better

    def __call__(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Return a score an image, float64, shape ``B``, for ``B3HW`` in [0, 1].

        Raises:
            ValueError: Shapes differ, or images are smaller than the metric's window.
        """
        _require_alike(self.least, sr=sr, hr=hr)
        count = max(1, AT_A_TIME.get(sr.device.type, ELSEWHERE) // max(1, sr[:1].numel()))
        parts = zip(sr.split(count), hr.split(count), strict=True)
        return torch.cat([self._score(a, b) for a, b in parts])

    def _score(self, sr: Tensor, hr: Tensor) -> Tensor:
        a, b = to_8_bits(sr), to_8_bits(hr)
        return self.score(self.of(a), self.of(b)) if self.of else self.score(a, b)


class LrConsistency:
    """PSNR between lr and sr degraded again with the same noise; infinite when equal.

    It asks whether a result could be what was seen: a model that invents freely but consistently
    scores as high as one that is true to hr.
    """

    title, unit, higher_is_better = "LR consistency", "dB", True

    # By keyword only: called by position as (sr, hr) it would silently give plain PSNR.
    def __call__(self, *, lr: Tensor, redegraded: Tensor) -> Tensor:
        """Return a score an image, float64, shape ``B``, for ``B3hw`` in [0, 1].

        Raises:
            ValueError: Shapes differ.
        """
        _require_alike(redegraded=redegraded, lr=lr)
        return _decibels(to_8_bits(redegraded), to_8_bits(lr))


def psnr() -> ImageMetric:
    """PSNR over RGB, 8 bits; infinite for equal images."""
    return ImageMetric(_decibels, title="PSNR", unit="dB")


def psnr_y() -> ImageMetric:
    """PSNR on BT.601 luma in 16..235, MAX 255."""
    return ImageMetric(_decibels, title="PSNR-Y", unit="dB", of=luma)


def psnr_y_truncated() -> ImageMetric:
    """PSNR on BT.601 luma truncated to 8 bits, as in SPARNet's tables."""
    return ImageMetric(_decibels, title="PSNR-Y, truncated", unit="dB", of=truncated_luma)


def _ssim(
    title: str, of: Callable[[Tensor], Tensor] | None = None, window: Window = GAUSSIAN
) -> ImageMetric:
    score = partial(mean_ssim, window=window)
    return ImageMetric(score, title=title, unit="", of=of, least=len(window))


def ssim() -> ImageMetric:
    """SSIM (Gaussian window, sigma 1.5), mean over RGB."""
    return _ssim("SSIM")


def ssim_y() -> ImageMetric:
    """SSIM (Gaussian window, sigma 1.5) on BT.601 luma."""
    return _ssim("SSIM-Y", luma)


def ssim_y_truncated() -> ImageMetric:
    """SSIM (Gaussian window, sigma 1.5) on BT.601 luma truncated to 8 bits."""
    return _ssim("SSIM-Y, truncated", truncated_luma)


def ssim_y_uniform() -> ImageMetric:
    """SSIM in scikit-image's default window, a uniform one of 7x7, on BT.601 luma."""
    return _ssim("SSIM-Y, 7x7", luma, UNIFORM)


def lsd() -> ImageMetric:
    """Log-spectral distance in dB between the power spectra of luma; lower is better.

    The root of the mean over frequencies of (10 log10 of the ratio of powers) squared: the
    distance of Gray and Markel (1976) between spectra of speech, over the two dimensions of an
    image. 1/12, the power of rounding to 8 bits, is added to each power, so that constant
    images are finite and what was rounded away doesn't count.

    It asks whether a result has as much detail of each size and direction as the original, not
    whether it is in the right place: it has no sense of phase, and a shift around the edge leaves
    it alone. A blurred image scores badly however near it is in PSNR.
    """
    return ImageMetric(_spectral_distance, title="LSD", unit="dB", higher_is_better=False, of=luma)
