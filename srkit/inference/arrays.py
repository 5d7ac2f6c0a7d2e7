"""Arrays of pixels <-> what networks take and give, and arrays as images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from srkit.errors import InputError
from srkit.imaging.codec import DecodedImage
from srkit.imaging.image import as_image, filled, split

Size = tuple[int, int]  # width, height
ROUNDING = 1e-3  # beyond 1, of floats
_WHITE = {np.dtype(np.uint8): np.float32(255), np.dtype(np.uint16): np.float32(65_535)}


def to_values(pixels: np.ndarray) -> np.ndarray:
    """Return pixels (``Bhw3``, uint8 or uint16, or floats) as float32 in [0, 1], ``B3hw``."""
    planes = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), np.float32)
    if pixels.dtype.kind == "f":
        return planes
    return np.divide(planes, _WHITE[pixels.dtype], out=planes)


def to_pixels(sr: np.ndarray, out: np.ndarray) -> None:
    """Write images (``B3HW``, clamped to [0, 1]) into ``BHW3``; whole numbers are rounded."""
    if out.dtype.kind == "f":
        np.clip(sr.transpose(0, 2, 3, 1), 0, 1, out=out)
        return
    white = _WHITE[out.dtype]
    values = sr * white
    np.minimum(np.maximum(values, 0, out=values), white, out=values)  # `clip` calls Python
    np.rint(values, out=values)
    for channel in range(3):  # half the time of all at once
        out[..., channel] = values[:, channel]


def require_range(highest: float) -> None:
    """Raise InputError where values seem to be those of 0 to 255: clamped, they would be white."""
    if highest > 1 + ROUNDING:
        raise InputError(
            f"floats are in [0, 1], and the highest here is {highest:g}: divide by 255, or give "
            "uint8; clip what an interpolation made a little larger than 1"
        )


def resized(pixels: np.ndarray, size: Size) -> np.ndarray:
    """Bring pixels (``HW3``) to a width and height by Lanczos; the same array if they fit."""
    if size == (pixels.shape[1], pixels.shape[0]):
        return pixels
    if pixels.dtype == np.uint8:
        # A copy, since what Pillow lends can't be written to, and faces are painted into it.
        return np.array(as_image(pixels).resize(size, Image.Resampling.LANCZOS))
    top = np.iinfo(pixels.dtype).max
    result = np.empty((size[1], size[0], 3), pixels.dtype)
    for band in range(3):  # Pillow resizes more than 8 bits only as single floats
        plane = Image.fromarray(pixels[..., band].astype(np.float32))
        values = np.asarray(plane.resize(size, Image.Resampling.LANCZOS))
        result[..., band] = values.round().clip(0, top).astype(pixels.dtype)
    return result


def wrapped(array: Any) -> tuple[DecodedImage, Callable[[DecodedImage], np.ndarray]]:
    """Return an array as a decoded image, and the function from a result to an array like it.

    InputError: it isn't ``hw``, ``hw1``, ``hw3`` or ``hw4`` of uint8, uint16, or floats in [0, 1].
    """
    if not isinstance(array, np.ndarray):
        raise InputError(
            f"upscale takes Pillow images, arrays and tensors, not {type(array).__name__}"
        )
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    floats = array.dtype.kind == "f"
    if not floats and array.dtype not in _WHITE:
        raise InputError(f"an array holds uint8, uint16 or floats in [0, 1], not {array.dtype}")
    flat = array.ndim == 2
    whole = array[..., None] if flat else array
    if whole.ndim != 3 or whole.shape[2] not in (1, 3, 4) or 0 in whole.shape:
        raise InputError(f"an array is hw, hw1, hw3 or hw4, not {array.shape}")
    if floats:
        if not np.isfinite(whole).all():
            raise InputError("an array holds values that are not finite")
        require_range(float(whole.max()))
        whole = (whole.clip(0, 1) * 65535).round().astype(np.uint16)
    decoded = split(whole, alpha=whole.shape[2] == 4)
    if decoded.alpha is not None:
        decoded = replace(decoded, pixels=filled(decoded.pixels, decoded.alpha))

    def back(image: DecodedImage) -> np.ndarray:
        result = image.pixels
        if decoded.grey:  # equal channels go in, and nearly equal ones come out
            result = result.mean(axis=2, keepdims=True).round().astype(result.dtype)
        if image.alpha is not None:
            result = np.dstack([result, image.alpha])
        if floats:
            result = (result / 65535).astype(array.dtype)
        return result[..., 0] if flat else np.ascontiguousarray(result)

    return decoded, back
