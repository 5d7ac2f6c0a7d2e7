"""A decoded image and what must survive the trip through a network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from PIL import Image

from srkit.imaging import alpha as transparency
from srkit.imaging import colour
from srkit.imaging.colour import Separation


@dataclass(frozen=True, eq=False)
class DecodedImage:
    """A decoded image and what must survive the trip through a network.

    Attributes:
        pixels: Upright RGB, ``HW3``, uint8 or uint16.
        alpha: ``HW`` of the same type, or None.
        grey: Whether the file has one channel, so that the result has one; the three are equal.
        info: What the file says beside its pixels, true of these pixels: ``icc_profile``,
            ``exif``, ``xmp``, ``dpi``, ``iptc``, ``comment``, ``text``, ``lossless``.
        separation: How to get back to the inks of a CMYK file; ``icc_profile`` is sRGB's then.
        notes: What of the file was lost in reading, a line each.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    grey: bool = False
    info: dict[str, Any] = field(default_factory=dict)
    separation: Separation | None = None
    notes: tuple[str, ...] = ()

    @property
    def rgb(self) -> Image.Image:
        """The pixels as an image of mode RGB; 16 bits are rounded to 8."""
        return Image.fromarray(to_8_bits(self.pixels))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]

    @property
    def channels(self) -> int:
        """Number of channels in a file: one or three, and alpha.

        A grey image with a profile of RGB has three equal ones: with one it would be invalid.
        """
        grey = self.grey and colour.space(self.info.get("icc_profile", b"")) != "RGB"
        return (1 if grey else 3) + (self.alpha is not None)

    def upscaled(self, pixels: np.ndarray) -> DecodedImage:
        """Return an image of other pixels with this one's metadata, and its alpha at their size.

        Where this one's three channels are equal, so are the result's.

        Args:
            pixels: ``HW3`` of any size, of the same type as this image's.

        Raises:
            ValueError: They are something else.
        """
        if pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
            raise ValueError(f"pixels are HW3, not {pixels.shape}")
        if pixels.dtype != self.pixels.dtype:
            raise ValueError(f"pixels are {self.pixels.dtype}, not {pixels.dtype}")
        if not self.grey and (self.pixels == self.pixels[..., :1]).all():
            pixels = to_grey(pixels)[..., None].repeat(3, axis=2)
        alpha = self.alpha
        if alpha is not None:
            alpha = transparency.upscaled(alpha, (pixels.shape[1], pixels.shape[0]))
        return replace(self, pixels=pixels, alpha=alpha)

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
        (pixels,) = self.bands(self.size[1])
        return pixels

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


def split(samples: np.ndarray, *, alpha: bool, premultiplied: bool = False) -> DecodedImage:
    """Take samples, ``HWC``, apart into colours and alpha."""
    colours = samples[..., :-1] if alpha else samples
    opacity = np.ascontiguousarray(samples[..., -1]) if alpha else None
    grey = colours.shape[2] == 1
    pixels = np.repeat(colours, 3, axis=2) if grey else np.ascontiguousarray(colours)
    if opacity is not None and premultiplied:
        pixels = transparency.divided(pixels, opacity)
    return DecodedImage(pixels, opacity, grey)


def to_8_bits(values: np.ndarray) -> np.ndarray:
    """Round uint16 to uint8; uint8 stays the same array."""
    if values.dtype == np.uint8:
        return values
    result = np.empty(values.shape, np.uint8)
    for row, wide in zip(result, values, strict=True):
        row[...] = (wide.astype(np.uint32) * 255 + 32_895) >> 16  # exactly what rounding gives
    return result


def to_16_bits(values: np.ndarray, bits: int) -> tuple[np.ndarray, list[str]]:
    """Bring samples of any type to uint16, but for uint8; return what was lost, too.

    Whole numbers of 32 bits are taken for 16-bit ones, which is what Pillow keeps in them.
    """
    if values.dtype.kind == "u" and bits == 8 * values.itemsize <= 16:
        return values.astype(values.dtype.newbyteorder("="), copy=False), []
    if values.dtype.kind == "f":
        white = 1.0
        values = np.nan_to_num(values.astype(np.float32), posinf=np.inf, neginf=-np.inf)
    else:
        white = float(2 ** (bits - (values.dtype.kind == "i")) - 1) if bits < 32 else 65_535.0
        values = values.astype(np.float64)
    beyond = bool((values > white).any() or (values < 0).any())
    result = (values.clip(0, white) * (65_535 / white)).round().astype(np.uint16)
    return result, [f"values below black or above white ({white:g}) were cut"] if beyond else []


def to_grey(pixels: np.ndarray) -> np.ndarray:
    """Return the luma of pixels, ``HW3`` to ``HW``, as Pillow weighs it; equal channels stay."""
    result = np.empty(pixels.shape[:2], pixels.dtype)
    for row, colours in zip(result, pixels, strict=True):
        wide = colours.astype(np.uint32)
        row[...] = (wide[:, 0] * 19_595 + wide[:, 1] * 38_470 + wide[:, 2] * 7_471 + 0x8000) >> 16
    return result
