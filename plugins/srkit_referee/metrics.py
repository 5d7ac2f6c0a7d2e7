"""PSNR and SSIM of each picture by scikit-image, on 8-bit values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

Array = NDArray[np.float64]
# BT.601 luma in 16..235 for RGB in 0..255, what the field's "Y" tables use.
_LUMA = np.array([65.481, 128.553, 24.966]) / 255


def to_8_bits(pictures: Tensor) -> Array:
    """Return ``B3HW`` in [0, 1] as ``BHW3`` of whole numbers in 0..255; values are clamped."""
    rounded = pictures.detach().clamp(0, 1).mul(255).round()
    array: Array = rounded.permute(0, 2, 3, 1).cpu().numpy().astype(np.float64)
    return array


def luma(rgb: Array) -> Array:
    """Return BT.601 luma in 16..235, ``BHW``, of ``BHW3`` in 0..255; not rounded again."""
    y: Array = 16 + rgb @ _LUMA
    return y


def _psnr(a: Array, b: Array) -> float:
    if np.array_equal(a, b):
        return float("inf")
    return float(peak_signal_noise_ratio(b, a, data_range=255))


def _ssim(a: Array, b: Array) -> float:
    """Wang et al. (2004): Gaussian window of sigma 1.5 (11 pixels), the population's variance."""
    return float(
        structural_similarity(
            a,
            b,
            data_range=255,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            channel_axis=-1 if a.ndim == 3 else None,
        )
    )


class PictureMetric:
    """A metric of single pictures.

    Args:
        score: Of one pair in 0..255.
        unit: ``"dB"`` or ``""``.
        on_luma: Compare BT.601 luma in place of RGB.
        least: Smallest side in pixels it is defined for.
    """

    higher_is_better = True

    def __init__(
        self,
        score: Callable[[Array, Array], float],
        *,
        unit: str,
        on_luma: bool,
        least: int = 1,
    ) -> None:
        self.score, self.unit, self.on_luma, self.least = score, unit, on_luma, least

    def __call__(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Return a score a picture, shape ``B``, for ``B3HW`` in [0, 1].

        Raises:
            ValueError: Shapes differ, or pictures are smaller than the metric's window.
        """
        if sr.shape != hr.shape:
            raise ValueError(f"sr {tuple(sr.shape)} and hr {tuple(hr.shape)} differ in shape")
        if min(sr.shape[-2:]) < self.least:
            raise ValueError(f"pictures must have sides of {self.least} or more pixels")
        a, b = to_8_bits(sr), to_8_bits(hr)
        if self.on_luma:
            a, b = luma(a), luma(b)
        scores: Any = [self.score(x, y) for x, y in zip(a, b, strict=True)]
        return torch.tensor(scores, dtype=torch.float64)


def psnr() -> PictureMetric:
    """PSNR over RGB, 8 bits; infinite for equal pictures."""
    return PictureMetric(_psnr, unit="dB", on_luma=False)


def psnr_y() -> PictureMetric:
    """PSNR on BT.601 luma in 16..235, MAX 255."""
    return PictureMetric(_psnr, unit="dB", on_luma=True)


def ssim() -> PictureMetric:
    """SSIM (Gaussian window, sigma 1.5), mean over RGB."""
    return PictureMetric(_ssim, unit="", on_luma=False, least=11)


def ssim_y() -> PictureMetric:
    """SSIM (Gaussian window, sigma 1.5) on BT.601 luma."""
    return PictureMetric(_ssim, unit="", on_luma=True, least=11)
