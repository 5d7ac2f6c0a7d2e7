"""Transparency: what a network sees under it, and how it is upscaled."""

from __future__ import annotations

from functools import reduce

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

_ROWS = 256  # at a time (an even number), so that what is in between stays small


def filled(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Replace the colours of wholly transparent pixels by those of visible ones nearby.

    What lies under transparency is often black, white or left over; a network would draw it into
    the edges. Each hidden pixel takes the mean of the nearest 2x2, 4x4, 8x8, … block with a
    visible one in it, weighted by alpha and blended from block to block.

    Args:
        pixels: ``HW3``, uint8 or uint16.
        alpha: ``HW``, of the same type.

    Returns:
        ``pixels`` itself, if none is hidden or none visible; else a copy in which the visible ones
        are as before.
    """
    if alpha.all() or not alpha.any():
        return pixels
    light, weight = _halved(pixels, alpha)
    coarse = _around(light, weight)
    result = pixels.copy()
    for top in range(0, len(pixels), _ROWS):
        rows = slice(top, top + _ROWS)
        hidden = alpha[rows] == 0
        if hidden.any():
            around = _doubled(coarse, top // 2, hidden.shape)[0].permute(1, 2, 0).numpy()
            result[rows][hidden] = around[hidden].round().astype(pixels.dtype)
    return result


def _halved(pixels: np.ndarray, alpha: np.ndarray) -> tuple[Tensor, Tensor]:
    """Return colour times weight, and weight, at half the size; few rows at a time as floats."""
    light, weight = [], []
    for top in range(0, len(pixels), _ROWS):
        rows = slice(top, top + _ROWS)
        weights = torch.from_numpy(alpha[rows].astype(np.float32))[None, None]
        colours = torch.from_numpy(pixels[rows].astype(np.float32)).permute(2, 0, 1)[None]
        weights /= np.iinfo(alpha.dtype).max
        light.append(_pooled(colours * weights))
        weight.append(_pooled(weights))
    return torch.cat(light, dim=2), torch.cat(weight, dim=2)


def _around(light: Tensor, weight: Tensor) -> Tensor:
    """Return colours, ``13HW``, of what has weight; elsewhere they are taken from around.

    Args:
        light: Colour times weight, ``13HW``.
        weight: ``11HW``, not all zero.
    """
    known = weight > 0
    colour = light / weight.clamp(min=torch.finfo(torch.float32).tiny)
    if bool(known.all()):
        return colour
    coarse = _around(_pooled(light), _pooled(weight))
    return torch.where(known, colour, _doubled(coarse, 0, light.shape[-2:]))


def _pooled(values: Tensor) -> Tensor:
    return avg_pool2d(values, kernel_size=2, ceil_mode=True)  # at the edges, of those there are


def _doubled(coarse: Tensor, top: int, size: tuple[int, ...]) -> Tensor:
    """Return ``coarse`` from row ``top`` on at twice the size, bilinearly, cut to ``size``."""
    height, width = size
    above = min(top, 1)
    part = coarse[..., top - above : top + (height + 1) // 2 + 1, :]
    wide = interpolate(part, scale_factor=2, mode="bilinear", align_corners=False)
    return wide[..., 2 * above : 2 * above + height, :width]


def upscaled(alpha: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bring transparency to another size by Lanczos, without halos.

    Lanczos rings: beside an edge, what was opaque would shine through and what was clear would
    show. No result lies beyond the pixels that it lies between.

    Args:
        alpha: ``HW``, uint8 or uint16.
        size: Width and height, each at least that of ``alpha`` for the second to hold.

    Returns:
        The new alpha, of the same type.
    """
    width, height = size
    if (alpha == alpha[0, 0]).all():
        return np.full((height, width), alpha[0, 0])
    image = Image.fromarray(alpha if alpha.dtype == np.uint8 else alpha.astype(np.float32))
    image = image.resize(size, Image.Resampling.LANCZOS)
    rows_around = _around_centres(alpha.shape[0], height)
    columns_around = _around_centres(alpha.shape[1], width)
    grows = height >= alpha.shape[0] and width >= alpha.shape[1]
    result = np.empty((height, width), alpha.dtype)
    for top in range(0, height, _ROWS):
        rows = slice(top, top + _ROWS)
        smooth = np.asarray(image.crop((0, top, width, min(top + _ROWS, height)))).round()
        if grows:
            lines = [alpha[each[rows]] for each in rows_around]
            corners = [line[:, each] for line in lines for each in columns_around]
            smooth = smooth.clip(reduce(np.minimum, corners), reduce(np.maximum, corners))
        result[rows] = smooth.clip(0, np.iinfo(alpha.dtype).max)
    return result


def _around_centres(before_size: int, wanted: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels before and after the centre of each of ``wanted`` along an axis."""
    before = np.floor((np.arange(wanted) + 0.5) * before_size / wanted - 0.5).astype(np.intp)
    return before.clip(0, before_size - 1), (before + 1).clip(0, before_size - 1)


def divided(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return colours that were multiplied by alpha as they were before."""
    top = np.iinfo(pixels.dtype).max
    result = np.empty_like(pixels)
    for first in range(0, len(pixels), _ROWS):
        rows = slice(first, first + _ROWS)
        share = alpha[rows, :, None].astype(np.float64) / top
        whole = pixels[rows] / np.maximum(share, 1 / top)
        result[rows] = whole.round().clip(0, top).astype(pixels.dtype)
    return result
