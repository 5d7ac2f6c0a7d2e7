"""A decoded image and what must survive the trip through a network."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from PIL import Image

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
        return as_image(to_8_bits(self.pixels))

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

        Where this one's three channels are equal, so are the result's. ``pixels``, ``HW3`` of any
        size, are of this image's type; they are taken over.
        """
        if not self.grey and has_equal_channels(self.pixels):
            pixels[...] = to_grey(pixels)[..., None]
        alpha = self.alpha
        if alpha is not None:
            alpha = upscaled_alpha(alpha, (pixels.shape[1], pixels.shape[0]))
        return replace(self, pixels=pixels, alpha=alpha)

    def samples(self) -> np.ndarray:
        """Return all `channels`, ``HWC``; ``pixels`` itself where they are all."""
        result = self.pixels
        if self.grey:
            result = to_grey(result)[..., None].repeat(1 if self.channels < 3 else 3, axis=2)
        return result if self.alpha is None else np.dstack([result, self.alpha])

    def to_image(self) -> Image.Image:
        """Return an image of mode RGB, RGBA, L, LA or I;16, with ``info``.

        Pillow has no other mode of more than 8 bits: 16 are rounded, but for grey without alpha.
        """
        deep = self.pixels.dtype == np.uint16 and self.channels == 1
        image = Image.fromarray(to_grey(self.pixels)) if deep else self.to_8_bit_image()
        image = image.copy() if image.readonly else image  # who gets it may draw on it
        image.info.update(self.info)
        return image

    def to_8_bit_image(self, *, opaque: bool = False) -> Image.Image:
        """Return an image of mode RGB, RGBA, L or LA; opaque, with white beneath."""
        pixels = to_8_bits(self.pixels)
        image = Image.fromarray(to_grey(pixels)) if self.grey else as_image(pixels)
        if self.grey and self.channels > 2:
            image = image.convert("RGB")
        if self.alpha is not None:
            alpha = Image.fromarray(to_8_bits(self.alpha))
            if opaque:
                image.paste("white", mask=alpha.point(lambda value: 255 - value))
            else:
                image.readonly = 0  # a canvas has a byte to spare
                image.putalpha(alpha)
        return image


def canvas(
    count: int, size: tuple[int, int], dtype: np.dtype, *, dense: bool = False
) -> np.ndarray:
    """Return room for images of a width and height, ``BHW3``, uint8 or uint16.

    Pillow's encoders read it where it lies: they want four bytes for an RGB pixel of 8 bits, and a
    copy would take more than the pixels do. ``dense``: without that byte, for results as arrays.
    """
    spare = dtype == np.uint8 and not dense
    return np.empty((count, *size[::-1], 3 + spare), dtype)[..., :3]


def as_image(pixels: np.ndarray) -> Image.Image:
    """Return pixels, ``HW3`` uint8, as an image of mode RGB; those of a `canvas` aren't copied."""
    height, width, _ = pixels.shape
    whole = pixels.base
    if whole is None or whole.ndim != 4 or whole.shape[1:] != (height, width, 4):
        return Image.fromarray(pixels)
    number, offset = divmod(pixels.ctypes.data - whole.ctypes.data, 4 * height * width)
    if offset or pixels.strides != whole.strides[1:]:
        return Image.fromarray(pixels)
    image = Image.frombuffer("RGBX", (width, height), whole[number], "raw", "RGBX", 0, 1)
    # The same bytes, which fewer formats take under the other name.
    if not hasattr(image.im, "setmode"):  # Pillow 13 and newer; before, arrow crashed here
        return Image.fromarrow(image, "RGB", image.size)
    image.im.setmode("RGB")
    image._mode = "RGB"
    return image


def split(samples: np.ndarray, *, alpha: bool, premultiplied: bool = False) -> DecodedImage:
    """Split samples, ``HWC``, into colours and alpha."""
    colours = samples[..., :-1] if alpha else samples
    opacity = np.ascontiguousarray(samples[..., -1]) if alpha else None
    grey = colours.shape[2] == 1
    pixels = np.repeat(colours, 3, axis=2) if grey else np.ascontiguousarray(colours)
    if opacity is not None and premultiplied:
        white = np.iinfo(pixels.dtype).max
        for row, weights in zip(pixels, opacity, strict=True):  # a row at a time needs no memory
            row[...] = (row * (white / np.maximum(weights, 1.0)[:, None])).round().clip(0, white)
    return DecodedImage(pixels, opacity, grey)


def filled(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Replace the colours of fully transparent pixels by those of the nearest visible ones.

    What lies under transparency is often black, white or left over; a network would draw it into
    the edges. ``pixels`` (``HW3``) are returned themselves if none is hidden or none visible.
    """
    if alpha.all() or not alpha.any():
        return pixels
    from scipy.ndimage import distance_transform_edt  # takes long, and few images need it

    nearest = distance_transform_edt(alpha == 0, return_distances=False, return_indices=True)
    result: np.ndarray = pixels[tuple(nearest)]
    return result


def upscaled_alpha(alpha: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize transparency (``HW``, uint8 or uint16) to a width and height by Lanczos, no halos.

    Lanczos overshoots beside an edge: what was opaque would shine through, and what was clear
    would show. A larger result stays within the 2x2 input pixels around each of its own.
    """
    from scipy.ndimage import maximum_filter, minimum_filter

    image = Image.fromarray(alpha if alpha.dtype == np.uint8 else alpha.astype(np.float32))
    smooth = np.asarray(image.resize(size, Image.Resampling.LANCZOS)).round()
    if size[0] < alpha.shape[1] or size[1] < alpha.shape[0]:
        return smooth.clip(0, np.iinfo(alpha.dtype).max).astype(alpha.dtype)
    corners = np.ix_(
        *(
            np.floor((np.arange(after) + 0.5) * before / after - 0.5).clip(0).astype(np.intp)
            for after, before in zip(size[::-1], alpha.shape, strict=True)
        )
    )
    low, high = (
        extreme(alpha, 2, origin=-1, mode="nearest")[corners]  # of a pixel and the three after it
        for extreme in (minimum_filter, maximum_filter)
    )
    return smooth.clip(low, high).astype(alpha.dtype)


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
    blank = values.dtype.kind == "f" and bool(np.isnan(values).any())
    if values.dtype.kind == "f":
        white = 1.0
        values = np.nan_to_num(values.astype(np.float32), posinf=np.inf, neginf=-np.inf)
    else:
        white = float(2 ** (bits - (values.dtype.kind == "i")) - 1) if bits < 32 else 65_535.0
        values = values.astype(np.float64)
    beyond = bool((values > white).any() or (values < 0).any())
    result = (values.clip(0, white) * (65_535 / white)).round().astype(np.uint16)
    notes = [f"values below black or above white ({white:g}) were cut"] * beyond
    return result, [*notes, *["values that are no numbers became black"] * blank]


def has_equal_channels(pixels: np.ndarray) -> bool:
    """Return whether pixels, ``HW3``, are grey; of most that aren't, the first one tells."""
    red, green, blue = pixels[0, 0].tolist()
    return bool(red == green == blue and (pixels == pixels[..., :1]).all())


def to_grey(pixels: np.ndarray) -> np.ndarray:
    """Return the luma of pixels, ``HW3`` to ``HW``, as Pillow weighs it; equal channels stay."""
    result = np.empty(pixels.shape[:2], pixels.dtype)
    for row, colours in zip(result, pixels, strict=True):
        wide = colours.astype(np.uint32)
        row[...] = (wide[:, 0] * 19_595 + wide[:, 1] * 38_470 + wide[:, 2] * 7_471 + 0x8000) >> 16
    return result
