"""SSIM of batches in torch: a separable window as products with small banded matrices.

Only places whose whole window lies within the image count, as in Wang et al. (2004) and in
scikit-image, which crops the window's radius; so nothing is padded.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

Window = tuple[float, ...]

# Sigma 1.5; scikit-image cuts it off at 3.5 sigma, rounded: 11 pixels, as Wang et al. (2004).
_WEIGHTS = [math.exp(-0.5 * (offset / 1.5) ** 2) for offset in range(-5, 6)]
GAUSSIAN: Window = tuple(weight / sum(_WEIGHTS) for weight in _WEIGHTS)
UNIFORM: Window = (1 / 7,) * 7  # scikit-image's default
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

# Results that an axis is filtered in at a time. A block is one dense product, which wastes more
# than half of its multiplications on zeros and is still faster than eleven shifted sums.
BLOCK = 24


@lru_cache(maxsize=128)
def _band(window: Window, length: int, device: torch.device) -> Tensor:
    """Return the filter of ``length`` places as a matrix, ``length + len(window) - 1`` high."""
    band = torch.zeros(length + len(window) - 1, length, dtype=torch.float64)
    for place in range(length):
        band[place : place + len(window), place] = torch.tensor(window, dtype=torch.float64)
    return band.to(device)


def _along_rows(maps: Tensor, window: Window) -> Tensor:
    """Filter the last axis, which gets shorter by the window less one."""
    width = maps.shape[-1] - len(window) + 1
    flat = maps.reshape(-1, maps.shape[-1])
    blocks = []
    for start in range(0, width, BLOCK):
        length = min(BLOCK, width - start)
        block = flat[:, start : start + length + len(window) - 1]
        blocks.append(block @ _band(window, length, maps.device))
    filtered = blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=1)
    return filtered.view(*maps.shape[:-1], width)


def _strip(a: Tensor, b: Tensor, window: Window) -> Tensor:
    """Return SSIM's sum over a strip of ``BLOCK`` rows of places, or fewer, shape ``B``."""
    squares = (a * a).addcmul_(b, b)
    maps = torch.stack([a, b, squares, a * b])
    down = _band(window, a.shape[-2] - len(window) + 1, a.device).T @ maps.flatten(0, 2)
    mean_a, mean_b, squares, product = _along_rows(down, window).unflatten(0, maps.shape[:3])
    means = mean_a * mean_b
    squared_means = (mean_a * mean_a).addcmul_(mean_b, mean_b)
    covariance = product.sub_(means).mul_(2).add_(C2)
    variances = squares.sub_(squared_means).add_(C2)
    above = means.mul_(2).add_(C1).mul_(covariance)
    below = squared_means.add_(C1).mul_(variances)
    total: Tensor = above.div_(below).flatten(1).sum(dim=1)
    return total


def mean_ssim(a: Tensor, b: Tensor, window: Window = GAUSSIAN) -> Tensor:
    """Return the mean over places and channels of SSIM, shape ``B``.

    Wang et al. (2004) with its constants and the population's variance, for values up to 255.

    Args:
        a: ``BCHW`` with sides of at least the window's.
        b: The same.
        window: Its weights along one axis: the Gaussian of that paper, unless given.

    Returns:
        float64: rounding errors of float32 would show, where variances are small.
    """
    height, width = (side - len(window) + 1 for side in a.shape[-2:])
    total = torch.zeros(len(a), dtype=torch.float64, device=a.device)
    for top in range(0, height, BLOCK):
        rows = slice(top, min(top + BLOCK, height) + len(window) - 1)
        total += _strip(a[..., rows, :].double(), b[..., rows, :].double(), window)
    return total / (a.shape[1] * height * width)
