"""An upscaled face in the colours of the general result."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image
from skimage.filters import gaussian

from srkit_restore.frames import Array, Frame

# Standard deviation of the Gaussian in LR pixels. It averages most of the noise; 2 and 3 are no
# better on the portraits of ``benchmarks/faces.py``.
SMOOTH = 1.0

Box = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True)
class Upscaled:
    """A part of an LR image, upscaled."""

    values: Array  # HW3 in [0, 1]
    origin: tuple[int, int]  # left and top of the part, in LR pixels
    scale: int  # SR pixels to one LR pixel

    def within(self, box: Box, shape: tuple[int, ...]) -> Array:
        """Return a box, in LR pixels, as float32 ``HW3`` of a shape."""
        x, y = self.origin
        moved = (box[0] - x, box[1] - y, box[2] - x, box[3] - y)
        return sampled(self.values, _times(moved, self.scale, self.scale), shape)


class Patch:
    """A face whose low frequencies are those of the general result, in its levels.

    The difference of both, smoothed, is added to the face. Of the general result, ``HW3`` without
    this face, only the frame is used; ``size`` is the LR image's.
    """

    def __init__(
        self, face: Upscaled, sr_pixels: np.ndarray, frame: Frame, size: tuple[int, int]
    ) -> None:
        self.face, self.levels = face, np.iinfo(sr_pixels.dtype).max
        box = left, top, right, bottom = frame.bounds(size)
        self.left, self.top = left, top
        # LR's grid has room for what is smooth, and is small.
        shape = (bottom - top, right - left, 3)
        x, y = sr_pixels.shape[1] / size[0], sr_pixels.shape[0] / size[1]
        difference = sampled(sr_pixels, _times(box, x, y), shape)
        difference = difference - face.within(box, shape) * self.levels
        self.difference: Array = gaussian(difference, SMOOTH, mode="nearest", channel_axis=-1)

    def within(self, box: Box, shape: tuple[int, ...]) -> Array:
        """Return a box, in LR pixels, as float32 ``HW3`` of a shape."""
        moved = (box[0] - self.left, box[1] - self.top, box[2] - self.left, box[3] - self.top)
        return self.face.within(box, shape) * self.levels + sampled(self.difference, moved, shape)


def _times(box: Box, x: float, y: float) -> Box:
    return box[0] * x, box[1] * y, box[2] * x, box[3] * y


def sampled(pixels: np.ndarray, box: Box, shape: tuple[int, ...]) -> Array:
    """Return a box of an image (``HW3`` of any type) at another size, by Pillow's bicubic.

    The box is in pixels and cut at the image's borders, to which it may be beyond only by rounding.
    """
    low = np.maximum(0.0, box[:2])
    high = np.minimum((pixels.shape[1], pixels.shape[0]), box[2:])
    reach = np.ceil(2 * np.maximum(1, (high - low) / (shape[1], shape[0]))) + 1
    left, top = np.maximum(0, np.floor(low - reach)).astype(int)
    right, bottom = np.ceil(high + reach).astype(int)
    near = pixels[top:bottom, left:right]
    part = (*(low - (left, top)), *(high - (left, top)))
    planes = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(near[..., band], dtype=np.float32)).resize(
                (shape[1], shape[0]), Image.Resampling.BICUBIC, box=part
            )
        )
        for band in range(3)
    ]
    return np.stack(planes, axis=-1)
