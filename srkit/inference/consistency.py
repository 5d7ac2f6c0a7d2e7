"""Whether a result agrees with its input, and the nearest one that does.

A result is consistent if downscaling it gives the input. The set of such results is a plane:
with A the downscaling of an axis, the nearest point of it is
``sr + P (lr - A sr A') P'`` where ``P = A' (A A')^-1``. What a network has invented between the
input's pixels stays, what contradicts them (a shift of colour, most often) is taken out. That is
back-projection (Irani and Peleg, 1991) carried to its limit in one step.

The downscaling is the antialiased bicubic one of Pillow and of srkit's protocols.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image

# LR pixels of context that make a projected tile that of the whole image, to 1e-5: P falls off
# by a factor of about 3 a pixel.
REACH = 12
ROUNDS = 3  # clamping to [0, 1] undoes a little of each projection


@lru_cache(maxsize=16)
def _operators(length: int, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the downscaling of an axis of ``length * scale`` pixels and its pseudo-inverse."""
    identity = np.eye(length * scale, dtype=np.float32)
    reduce = _reduced(identity, (length, length * scale)).T.astype(np.float64)
    back = np.linalg.solve(reduce @ reduce.T, reduce).T
    return reduce.astype(np.float32), back.astype(np.float32)


def project(sr: np.ndarray, lr: np.ndarray, scale: int) -> np.ndarray:
    """Return the consistent result nearest to ``sr``, clamped to [0, 1].

    ``sr`` (``B3HW``) is ``scale`` times as large as ``lr`` (``B3hw`` in [0, 1]); both are float32.
    """
    (rows, back_rows), (columns, back_columns) = (_operators(side, scale) for side in lr.shape[-2:])
    for _ in range(ROUNDS):
        missing = lr - rows @ sr @ columns.T
        sr = (sr + back_rows @ missing @ back_columns.T).clip(0, 1)
    return sr


def residual(sr: np.ndarray, lr: np.ndarray) -> float:
    """Return how far a downscaled result is from its input: RMS, in 255ths.

    ``sr`` (``HW3``) and ``lr`` (``hw3``) are pixels of one type, in any ratio of sizes.
    """
    size = (lr.shape[1], lr.shape[0])
    unit = 255 / np.iinfo(lr.dtype).max
    squares = [
        np.square((_reduced(sr[..., band], size) - lr[..., band].astype(np.float32)) * unit).mean()
        for band in range(3)
    ]
    return float(np.sqrt(np.mean(squares)))


def _reduced(band: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    # A strip at a time would save the copy in 32 bits, which only --report costs.
    image = Image.fromarray(band.astype(np.float32))
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC))
