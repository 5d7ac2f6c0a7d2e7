"""NIQE: how far an image's statistics are from those of good photographs."""

from __future__ import annotations

import numpy as np

from srkit import InputError
from srkit_noreference.metric import NoReference, parameters
from srkit_noreference.statistics import Array, fit, normalised

PACKAGE, FILE = "mmagic", "evaluation/metrics/niqe_pris_params.npz"
BLOCK = 96  # pixels, as the parameters were made
SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))


def _halving() -> Array:
    """Return MATLAB's ``imresize(…, 0.5)`` along an axis: a cubic (a = -0.5), twice as wide."""
    far = np.abs(np.arange(-3.5, 4)) / 2
    near = 1.5 * far**3 - 2.5 * far**2 + 1
    weights = np.where(far <= 1, near, -0.5 * far**3 + 2.5 * far**2 - 4 * far + 2)
    result: Array = weights / weights.sum()
    return result


HALVING = _halving()


def halved(image: Array) -> Array:
    """Return an image of half the size, as MATLAB's ``imresize`` makes it; sides are even."""
    for _ in range(2):
        padded = np.pad(image, ((3, 3), (0, 0)), mode="symmetric")
        rows = np.lib.stride_tricks.sliding_window_view(padded, 8, axis=0)[::2]
        image = (rows @ HALVING).T
    return image


def features(block: Array) -> list[float]:
    """Return the 18 numbers of a block of normalised pixels."""
    alone = fit(block)
    numbers = [alone.alpha, sum(alone.widths) / 2]
    for shift in SHIFTS:
        pairs = fit(block * np.roll(block, shift, axis=(0, 1)))
        numbers += [pairs.alpha, pairs.mean, *pairs.widths]
    return numbers


class Niqe(NoReference):
    """NIQE (Mittal, Soundararajan and Bovik, 2013) on BT.601 luma; lower is better.

    The distance between two Gaussians: one fitted to 36 statistics of the image's blocks of 96x96
    pixels, one to those of 125 good photographs. The latter is that of the authors' own release,
    read from the file `evaluation/metrics/niqe_pris_params.npz` of the package mmagic
    (`pip install --no-deps mmagic`). As in BasicSR's tables, luma is in 16..235, rounded.

    It needs an image of two whole blocks or more, 192x96 pixels, that aren't flat.
    """

    title = "NIQE"
    least, largest = 16, 235

    def __init__(self) -> None:
        file = parameters("niqe", PACKAGE, FILE)
        try:
            with np.load(file, allow_pickle=False) as values:
                self.mean = values["mu_pris_param"].reshape(36)
                self.covariance = values["cov_pris_param"].reshape(36, 36)
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{file}: not NIQE's parameters ({error})") from error
        super().__init__("NIQE (LIVE's parameters)", file)

    def score(self, image: Array) -> float:
        """See `NoReference`."""
        high, wide = (side // BLOCK for side in image.shape)
        image = image[: high * BLOCK, : wide * BLOCK]
        if high * wide < 2:
            raise ValueError(f"it needs two blocks of {BLOCK}x{BLOCK} pixels or more")
        both = []
        for side in (BLOCK, BLOCK // 2):
            pixels = normalised(image, "nearest")
            blocks = pixels.reshape(high, side, wide, side).swapaxes(1, 2).reshape(-1, side, side)
            both.append([features(block) for block in blocks])
            image = halved(image)
        numbers = np.hstack(both)
        whole = numbers[~np.isnan(numbers).any(axis=1)]
        if len(whole) < 2:
            return np.nan
        off = self.mean - np.nanmean(numbers, axis=0)
        spread = (self.covariance + np.cov(whole, rowvar=False)) / 2
        return float(np.sqrt(off @ np.linalg.pinv(spread) @ off))
