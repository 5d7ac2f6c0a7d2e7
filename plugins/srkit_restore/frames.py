"""Where a face lies in its image: the frame that a model of faces was trained on.

Places are continuous, as in `srkit.faces.align`: (0, 0) is the upper left corner of the image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.transform import SimilarityTransform

from srkit.faces.align import CELEBA_SIZE, place
from srkit.hookspecs import Face

# The mask rises from 0 at the frame's edge to 1 over this share of the frame's side.
FEATHER = 0.15
# Where the frame lies, in units of the longer side of MTCNN's box: its side, and how far its
# centre is above the box's. Means over 600 faces of LFW and of portraits; the side was always
# between 1.36 and 1.96. Landmarks that say otherwise are not trusted, and the box is taken.
USUAL_SIDE, USUAL_RISE = 1.57, 0.145
TRUSTED = (1.2, 2.2)

Array = NDArray[np.float32]
Bounds = tuple[int, int, int, int]  # left, top, right, bottom


@dataclass(frozen=True)
class Frame:
    """CelebA's centre square around a face, in LR pixels; (0, 0) is the image's upper left."""

    x: float  # of its centre
    y: float
    side: float
    angle: float  # by which the face is turned clockwise, in radians

    @property
    def quarters(self) -> int:
        """Quarter turns against the clock that bring the face nearest to upright, 0 to 3."""
        return round(self.angle / (math.pi / 2)) % 4

    def to_image(self) -> Any:
        """Return scikit-image's similarity from [-1/2, 1/2] within the frame to LR pixels."""
        return SimilarityTransform(
            scale=self.side, rotation=self.angle, translation=(self.x, self.y)
        )

    def bounds(self, size: tuple[int, int], margin: int = 0) -> Bounds:
        """Return left, top, right, bottom of whole pixels around it, cut at an image's borders.

        ``size`` is the image's width and height; ``margin`` LR pixels are added on each side.
        """
        reach = self.side / 2 * (abs(math.cos(self.angle)) + abs(math.sin(self.angle))) + margin
        low = [math.floor(c - reach) for c in (self.x, self.y)]
        high = [math.ceil(c + reach) for c in (self.x, self.y)]
        left, top = (min(max(0, v), n - 1) for v, n in zip(low, size, strict=True))
        right, bottom = (min(max(1, v), n) for v, n in zip(high, size, strict=True))
        return left, top, max(right, left + 1), max(bottom, top + 1)

    def mask(self, columns: Array, rows: Array) -> Array:
        """Return the weight of the face, in [0, 1], at places in LR pixels along x and y."""
        x, y = (columns - self.x)[None, :] / self.side, (rows - self.y)[:, None] / self.side
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        # A superellipse of the fourth degree: the frame with its corners rounded off.
        away = ((cos * x + sin * y) ** 4 + (cos * y - sin * x) ** 4) ** 0.25
        rise = ((0.5 - away) / FEATHER).clip(0, 1)
        return np.asarray(rise * rise * (3 - 2 * rise), dtype=np.float32)


def framed(face: Face, size: tuple[int, int]) -> Frame:
    """Return the frame of a face: by its landmarks, or by its box where they make no sense."""
    left, top, right, bottom = face.box
    longer = longer_side(face)
    placement = place(face.landmarks, size, CELEBA_SIZE[0]) if face.landmarks else None
    if placement is not None:
        side = CELEBA_SIZE[0] / placement.scale
        ((x, y),) = placement.transform.inverse(np.array([CELEBA_SIZE]) / 2)
        within = left <= x <= right and top <= y <= bottom
        if within and TRUSTED[0] <= side / longer <= TRUSTED[1]:
            return Frame(float(x), float(y), side, -float(placement.transform.rotation))
    middle = (top + bottom) / 2 - USUAL_RISE * longer
    return Frame((left + right) / 2, middle, USUAL_SIDE * longer, 0.0)


def longer_side(face: Face) -> float:
    """Return the longer side of a face's box in pixels."""
    left, top, right, bottom = face.box
    return max(right - left, bottom - top)


def outside(face: Face, size: tuple[int, int]) -> float:
    """Return the share of a face's box beyond the borders of an image, in [0, 1]."""
    left, top, right, bottom = face.box
    width = max(0.0, min(right, size[0]) - max(left, 0.0))
    height = max(0.0, min(bottom, size[1]) - max(top, 0.0))
    return 1 - width * height / max((right - left) * (bottom - top), 1e-9)
