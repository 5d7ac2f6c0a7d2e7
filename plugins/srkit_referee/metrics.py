"""Metrics of single pictures on 8-bit values, batched in torch on the pictures' own device.

After the rounding everything is exact or float64, so that device, batch and order change no score
by more than 1e-9. PSNR and SSIM are scikit-image's to 1e-6, which the tests compute independently.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from srkit_referee.ssim import WINDOW, mean_ssim

# BT.601 luma in 16..235 for RGB in 0..255, what the field's "Y" tables use.
LUMA = (65.481 / 255, 128.553 / 255, 24.966 / 255)
# So many values of sr are scored at a time, or one picture: on a CPU they should stay in cache.
AT_A_TIME = {"cpu": 1 << 16}
ELSEWHERE = 1 << 24
# Power of rounding to 8 bits, a frequency: what lies below it in a spectrum says nothing.
FLOOR = 1 / 12


def to_8_bits(pictures: Tensor) -> Tensor:
    """Return ``B3HW`` in [0, 1] as whole numbers in 0..255, float32; values are clamped.

    They stay on their device, unless that has no float64 (mps): then they go to the CPU.
    """
    rounded = pictures.detach().clamp(0, 1).mul_(255).round_().float()
    return rounded.cpu() if rounded.device.type == "mps" else rounded


def luma(rgb: Tensor) -> Tensor:
    """Return BT.601 luma in 16..235, ``B1HW``, float64, of ``B3HW`` in 0..255; not rounded."""
    red, green, blue = rgb.double().split(1, dim=1)
    y: Tensor = red * LUMA[0]
    return y.add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2]).add_(16)


def _compared(a: Tensor, b: Tensor, names: tuple[str, str], least: int = 1) -> None:
    """Raise ValueError for pictures that can't be compared."""
    if a.shape != b.shape:
        ours, theirs = names
        raise ValueError(f"{ours} {tuple(a.shape)} and {theirs} {tuple(b.shape)} differ in shape")
    if min(a.shape[-2:]) < least:
        raise ValueError(f"pictures must have sides of {least} or more pixels")


def _decibels(a: Tensor, b: Tensor) -> Tensor:
    """Return PSNR of values of which 255 is the largest; infinite for equal pictures."""
    # Of whole numbers, differences and their squares are exact in float32.
    error = (a - b).square_().flatten(1).mean(dim=1, dtype=torch.float64)
    decibels: Tensor = 20 * math.log10(255) - 10 * error.log10()
    return decibels


def _log_spectrum(pictures: Tensor) -> Tensor:
    """Return the power spectra in dB; the transform keeps the sum of squares."""
    power = torch.fft.fft2(pictures, norm="ortho").abs().square()
    decibels: Tensor = 10 * (power + FLOOR).log10()
    return decibels


def _spectral_distance(a: Tensor, b: Tensor) -> Tensor:
    """Return the root mean square over frequencies of two power spectra's ratio in dB."""
    ratio = _log_spectrum(a) - _log_spectrum(b)
    return ratio.square().flatten(1).mean(dim=1).sqrt()


class PictureMetric:
    """A metric of sr against hr, picture by picture.

    Args:
        score: Of two batches in 0..255, float32 in RGB and float64 on luma, to one score a picture.
        title: Heading in tables.
        unit: ``"dB"`` or ``""``.
        higher_is_better: Which way is better.
        on_luma: Compare BT.601 luma in place of RGB.
        least: Smallest side in pixels it is defined for.
    """

    def __init__(
        self,
        score: Callable[[Tensor, Tensor], Tensor],
        *,
        title: str,
        unit: str,
        higher_is_better: bool = True,
        on_luma: bool = False,
        least: int = 1,
    ) -> None:
        self.score, self.on_luma, self.least = score, on_luma, least
        self.title, self.unit, self.higher_is_better = title, unit, higher_is_better

    def __call__(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Return a score a picture, float64, shape ``B``, for ``B3HW`` in [0, 1].

        Raises:
            ValueError: Shapes differ, or pictures are smaller than the metric's window.
        """
        _compared(sr, hr, ("sr", "hr"), self.least)
        count = max(1, AT_A_TIME.get(sr.device.type, ELSEWHERE) // max(1, sr[:1].numel()))
        parts = zip(sr.split(count), hr.split(count), strict=True)
        return torch.cat([self._scored(some, others) for some, others in parts])

    def _scored(self, sr: Tensor, hr: Tensor) -> Tensor:
        a, b = to_8_bits(sr), to_8_bits(hr)
        return self.score(luma(a), luma(b)) if self.on_luma else self.score(a, b)


class LrConsistency:
    """PSNR in dB over RGB between lr and sr made small again as hr was, with the same noise.

    It asks whether a result could be what was seen: a model that invents freely but consistently
    scores as high as one that is true to hr. Infinite where the two are equal.
    """

    title, unit, higher_is_better = "LR consistency", "dB", True

    # By keyword only: called by position as (sr, hr) it would give plain PSNR, and nobody notice.
    def __call__(self, *, lr: Tensor, redegraded: Tensor) -> Tensor:
        """Return a score a picture, float64, shape ``B``, for ``B3hw`` in [0, 1].

        Raises:
            ValueError: Shapes differ.
        """
        _compared(redegraded, lr, ("redegraded", "lr"))
        return _decibels(to_8_bits(redegraded), to_8_bits(lr))


def psnr() -> PictureMetric:
    """PSNR over RGB, 8 bits; infinite for equal pictures."""
    return PictureMetric(_decibels, title="PSNR", unit="dB")


def psnr_y() -> PictureMetric:
    """PSNR on BT.601 luma in 16..235, MAX 255."""
    return PictureMetric(_decibels, title="PSNR-Y", unit="dB", on_luma=True)


def ssim() -> PictureMetric:
    """SSIM (Gaussian window, sigma 1.5), mean over RGB."""
    return PictureMetric(mean_ssim, title="SSIM", unit="", least=WINDOW)


def ssim_y() -> PictureMetric:
    """SSIM (Gaussian window, sigma 1.5) on BT.601 luma."""
    return PictureMetric(mean_ssim, title="SSIM-Y", unit="", on_luma=True, least=WINDOW)


def lr_consistency() -> LrConsistency:
    """PSNR between lr and sr degraded again with the same noise; infinite when equal."""
    return LrConsistency()


def lsd() -> PictureMetric:
    """Log-spectral distance in dB between the power spectra of luma; lower is better.

    The root of the mean over frequencies of (10 log10 of the ratio of powers) squared: the
    distance of Gray and Markel (1976) between spectra of speech, over the two dimensions of a
    picture. 1/12, the power of rounding to 8 bits, is added to each power, so that constant
    pictures are finite and what was rounded away doesn't count.

    It asks whether a result has as much detail of each size and direction as the original, not
    whether it is in the right place: it has no sense of phase, and a shift around the edge leaves
    it alone. A blurred picture scores badly however near it is in PSNR.
    """
    return PictureMetric(
        _spectral_distance, title="LSD", unit="dB", higher_is_better=False, on_luma=True
    )
