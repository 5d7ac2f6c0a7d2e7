"""Natural scene statistics: what both metrics measure of an image.

Pixels of photographs, less their neighbourhood's mean and divided by its deviation, follow nearly
one distribution, and so do the products of neighbours; distortions change its shape (Mittal,
Moorthy and Bovik, 2012).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.special import gamma
from torch import Tensor

Array = NDArray[np.float64]

SIGMA, RADIUS = 7 / 6, 3  # of the neighbourhood: 7x7
LUMA = (0.299, 0.587, 0.114)  # BT.601
NOTHING = 1e-9

ALPHAS: Array = np.arange(0.2, 10.001, 0.001)
RATIOS: Array = gamma(2 / ALPHAS) ** 2 / (gamma(1 / ALPHAS) * gamma(3 / ALPHAS))


class Fit(NamedTuple):
    """An asymmetric generalised Gaussian distribution of mean 0 as fitted to values.

    Attributes:
        alpha: Shape: 2 for a Gaussian, smaller for heavier tails.
        left: Root mean square of the negative values.
        right: Root mean square of the positive values.
    """

    alpha: float
    left: float
    right: float

    @property
    def widths(self) -> tuple[float, float]:
        """The scales beta of both sides."""
        ratio = float(np.sqrt(gamma(1 / self.alpha) / gamma(3 / self.alpha)))
        return self.left * ratio, self.right * ratio

    @property
    def mean(self) -> float:
        """The mean that the fitted asymmetry gives."""
        left, right = self.widths
        return float((right - left) * gamma(2 / self.alpha) / gamma(1 / self.alpha))


def luma(images: Tensor, *, least: int = 0, largest: int = 255) -> list[Array]:
    """Return BT.601 luma of ``B3HW`` in [0, 1], whole numbers from ``least`` to ``largest``.

    Images are rounded to 8 bits first. MATLAB's ``rgb2gray`` is that of 0..255, its ``rgb2ycbcr``
    that of 16..235.
    """
    rgb = images.detach().clamp(0, 1).mul(255).round().double().cpu().numpy()
    # Not a product of matrices: it rounds by their shape, and a half may become either number.
    red, green, blue = (weight * rgb[:, at] for at, weight in enumerate(LUMA))
    grey = red + green + blue
    return list((grey * ((largest - least) / 255) + least).round())


def normalised(image: Array, border: str) -> Array:
    """Return an image in 0..255 less its local mean, divided by its local deviation.

    Args:
        image: Shape ``HW``.
        border: What lies beyond it: ``nearest`` or ``constant`` (zeros), as scipy calls it.
    """
    around = {"sigma": SIGMA, "radius": RADIUS, "mode": border}
    mean = gaussian_filter(image, **around)
    variance = gaussian_filter(image * image, **around) - mean * mean
    difference = image - mean
    # In flat parts it is rounding errors, whose signs the fits would take for something.
    difference[np.abs(difference) < NOTHING] = 0
    result: Array = difference / (np.sqrt(np.abs(variance)) + 1)
    return result


def fit(values: Array) -> Fit:
    """Fit a distribution by its moments (Lasmar, Stitou and Berthoumieu, 2009).

    Not a number where the values aren't of both signs, as in a flat image.
    """
    squares = values * values
    below, above = squares[values < 0], squares[values > 0]
    if not (below.size and above.size):
        return Fit(np.nan, np.nan, np.nan)
    left, right = np.sqrt(below.mean()), np.sqrt(above.mean())
    skew = left / right
    ratio = np.abs(values).mean() ** 2 / squares.mean()
    ratio *= (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    # The ratio grows with alpha: the nearest of the grid's.
    place = int(np.abs(RATIOS - ratio).argmin())
    return Fit(float(ALPHAS[place]), float(left), float(right))
