"""A decoded picture and what must survive the trip through a network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, overload

import numpy as np
from PIL import Image

from srkit.imaging import alpha as transparency
from srkit.imaging import colour
from srkit.imaging.colour import Separation


class _Pixels:
    """The field ``pixels``: an array, or a Pillow image that becomes one when it is asked for.

    Training reads thousands of small files and only ever wants `Picture.rgb`.
    """

    @overload
    def __get__(self, picture: None, owner: type) -> None: ...
    @overload
    def __get__(self, picture: Picture, owner: type) -> np.ndarray: ...
    def __get__(self, picture: Picture | None, owner: type) -> np.ndarray | None:
        if picture is None:
            raise AttributeError("pixels")  # the field has no default
        held: np.ndarray | Image.Image = picture.__dict__["pixels"]
        if isinstance(held, Image.Image):
            held = picture.__dict__["pixels"] = np.array(held)
            picture.__dict__.pop("rgb", None)  # large ones need not be in memory twice
        return held

    def __set__(self, picture: Picture, value: np.ndarray | Image.Image) -> None:
        picture.__dict__["pixels"] = value
        if isinstance(value, Image.Image):
            picture.__dict__["rgb"] = value


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded picture and what must survive the trip through a network.

    Attributes:
        pixels: Upright RGB, ``HW3``, uint8 or uint16. May be given as an 8-bit RGB Pillow image.
        alpha: ``HW`` of the same type, or None.
        grey: Whether the file was grey, so that the result is grey again; the channels are equal.
        info: What Pillow's ``save`` takes: ``icc_profile``, ``exif``, ``xmp``, ``dpi``,
            ``lossless``; all of it true of these pixels.
        separation: How to get back to the inks of a CMYK file; ``icc_profile`` is sRGB's then.
        notes: What of the file was lost in reading, a line each.
    """

    pixels: _Pixels = _Pixels()
    alpha: np.ndarray | None = None
    grey: bool = False
    info: dict[str, Any] = field(default_factory=dict)
    separation: Separation | None = None
    notes: tuple[str, ...] = ()

    @cached_property
    def rgb(self) -> Image.Image:
        """The pixels as an image of mode RGB; 16 bits are rounded to 8."""
        return Image.fromarray(to_8_bits(self.pixels))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        held = self.__dict__["pixels"]
        if isinstance(held, Image.Image):
            return held.size
        return held.shape[1], held.shape[0]

    def filled(self) -> np.ndarray:
        """Return pixels for a network; see `srkit.imaging.alpha.filled`.

        Those of an opaque picture are ``pixels`` itself.
        """
        return self.pixels if self.alpha is None else transparency.filled(self.pixels, self.alpha)

    def enlarged(self, pixels: np.ndarray) -> Picture:
        """Return a picture of other pixels with this one's metadata, and its alpha at their size.

        Args:
            pixels: ``HW3`` of any size, of the same type as this picture's.

        Raises:
            ValueError: They are something else.
        """
        if pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
            raise ValueError(f"pixels are HW3, not {pixels.shape}")
        if pixels.dtype != self.pixels.dtype:
            raise ValueError(f"pixels are {self.pixels.dtype}, not {pixels.dtype}")
        alpha = self.alpha
        if alpha is not None:
            alpha = transparency.enlarged(alpha, (pixels.shape[1], pixels.shape[0]))
        return replace(self, pixels=pixels, alpha=alpha)

    @property
    def channels(self) -> int:
        """How many a file has: one or three, and alpha.

        A grey picture with a profile of RGB has three equal ones: with one it would be invalid.
        """
        grey = self.grey and colour.space(self.info.get("icc_profile", b"")) != "RGB"
        return (1 if grey else 3) + (self.alpha is not None)

    def bands(self, rows: int) -> Iterator[np.ndarray]:
        """Yield some rows after the other with all `channels`, ``HWC``."""
        for top in range(0, self.size[1], rows):
            part = self.pixels[top : top + rows]
            if self.grey:
                part = to_grey(part)[..., None].repeat(1 if self.channels < 3 else 3, axis=2)
            if self.alpha is not None:
                part = np.dstack([part, self.alpha[top : top + rows]])
            yield part

    def whole(self) -> np.ndarray:
        """Return all `channels`, ``HWC``; ``pixels`` itself where they are all."""
        (made,) = self.bands(self.size[1])
        return made

    def to_image(self) -> Image.Image:
        """Return an image of mode RGB, RGBA, L, LA or I;16, with ``info``.

        Pillow has no other mode of more than 8 bits; where there are colours or alpha, 16 bits
        are rounded to 8.
        """
        deep = self.pixels.dtype == np.uint16 and self.channels == 1
        image = Image.fromarray(to_grey(self.pixels)) if deep else self.to_8_bit_image()
        image.info.update(self.info)
        return image

    def to_8_bit_image(self, *, opaque: bool = False) -> Image.Image:
        """Return an image of mode RGB, RGBA, L or LA; opaque, with white beneath."""
        pixels = to_8_bits(self.pixels)
        image = Image.fromarray(to_grey(pixels) if self.grey else pixels)
        if self.grey and self.channels > 2:
            image = image.convert("RGB")
        if self.alpha is not None:
            alpha = Image.fromarray(to_8_bits(self.alpha))
            if opaque:
                image.paste("white", mask=alpha.point(lambda value: 255 - value))
            else:
                image.putalpha(alpha)
        return image


def to_8_bits(values: np.ndarray) -> np.ndarray:
    """Round uint16 to uint8; uint8 stays the same array."""
    if values.dtype == np.uint8:
        return values
    result = np.empty(values.shape, np.uint8)
    for row, wide in zip(result, values, strict=True):
        row[...] = (wide.astype(np.uint32) * 255 + 32_895) >> 16  # exactly what rounding gives
    return result


def to_grey(pixels: np.ndarray) -> np.ndarray:
    """Return the luma of pixels, ``HW3`` to ``HW``, as Pillow weighs it; equal channels stay."""
    result = np.empty(pixels.shape[:2], pixels.dtype)
    for row, colours in zip(result, pixels, strict=True):
        wide = colours.astype(np.uint32)
        row[...] = (wide[:, 0] * 19_595 + wide[:, 1] * 38_470 + wide[:, 2] * 7_471 + 0x8000) >> 16
    return result
