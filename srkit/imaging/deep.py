"""Pictures of more than 8 bits a channel, of which Pillow would give the upper eight.

Of three and more channels of 16 bits Pillow takes the upper byte of each sample. Told that the
samples have the other order of bytes, it takes the lower; so two passes give all of it. Thus PNG is
read, and TIFF of the compressions that tifffile, which reads the others, leaves to another package.
What nothing here decodes is an error, not a guess.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, ImageFile

from srkit.errors import InputError

WHITE = 65_535
_GREYS, _COLOURS = (0, 1), 2  # TIFF's photometric interpretations: white or black is zero, RGB
_ROWS = 256  # at a time, so that what is in between stays small


@dataclass
class Samples:
    """Decoded pixels, not yet turned upright.

    Attributes:
        pixels: ``HW3``, uint16; uint8 where the file has no more.
        alpha: ``HW`` of the same type, or None.
        grey: Whether the three channels are the same.
        note: What was lost, or ``""``.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    grey: bool
    note: str = ""


def is_deep(image: ImageFile.ImageFile) -> bool:
    """Return whether an opened picture is better read by `png`, `tiff` or `heif`."""
    if image.format == "HEIF":
        return int(image.info.get("bit_depth") or 8) > 8
    if image.format == "PNG":
        return image.mode in ("RGB", "RGBA") and ";16" in str(image.tile[0].args)
    if image.format == "TIFF":
        tags: Any = getattr(image, "tag_v2", {})
        return max(tags.get(258, (1,))) > 8 and image.mode != "CMYK"
    return False


def bits_lost(image: ImageFile.ImageFile) -> int:
    """Return of how many bits Pillow takes eight, or 0 if it takes all."""
    if image.format == "TIFF":
        tags: Any = getattr(image, "tag_v2", {})
        most = max(tags.get(258, (1,)))
        return most if most > 8 else 0
    if not image.tile or image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return 0
    layout, *others = _arguments(image.tile[0])
    if image.format == "PPM" and others and int(others[0] or 0) > 255:
        return int(others[0]).bit_length()
    return 16 if ";16" in str(layout) else 0


def _arguments(tile: Any) -> tuple[Any, ...]:
    """Return what a decoder of Pillow's is told, the layout of samples first."""
    return tile.args if isinstance(tile.args, tuple) and tile.args else (tile.args,)


def avif_bits(head: bytes) -> int:
    """Return how many bits a channel of an AVIF picture has: its first ``av1C`` says so."""
    at = head.find(b"av1C")
    if at < 0 or at + 6 >= len(head):
        return 8
    flags = head[at + 6]
    return 8 if not flags & 0x40 else 12 if flags & 0x20 else 10


def png(source: Any, transparent: Any = None) -> Samples:
    """Decode a PNG of 16 bits.

    Args:
        source: A path or a stream.
        transparent: The colour that stands for nothing, if any, as Pillow gives it.
    """
    with Image.open(source) as image:
        layout = str(_arguments(image.tile[0])[0])
    if layout.startswith("LA"):  # their four bytes have the place of another layout's channels
        halves = _as_if(source, "RGBA").astype(np.uint16)
        samples = halves[..., ::2] << 8 | halves[..., 1::2]
    else:
        samples = _joined(source, layout[:-1], "BL")
    found = _split(samples, alpha=samples.shape[2] in (2, 4))
    if found.alpha is None and isinstance(transparent, tuple):
        hidden = (found.pixels == np.array(transparent)).all(axis=2)
        found.alpha = np.where(hidden, 0, WHITE).astype(np.uint16)
    return found


def grey(image: Image.Image) -> Samples:
    """Bring a Pillow image of mode I, I;16 or F to 16 bits: white is 65,535, or 1.0 for F."""
    values = np.asarray(image)
    samples, note = _to_16_bits(values, 16 if values.dtype.kind == "u" else 32)
    return _split(samples[..., None], alpha=False, note=note)


def heif(encoded: bytes, reader: Any) -> Samples:
    """Decode HEIF of 10 or 12 bits.

    Args:
        encoded: The file.
        reader: The module ``pillow_heif`` or ``pi_heif``.
    """
    image = reader.open_heif(BytesIO(encoded), convert_hdr_to_8bit=False)
    bits = int(image.info.get("bit_depth") or 16)
    samples, _ = _to_16_bits(np.asarray(image) >> (16 - bits), bits)
    samples = samples if samples.ndim == 3 else samples[..., None]
    return _split(samples, alpha=samples.shape[2] in (2, 4), premultiplied="a" in image.mode)


def tiff(source: Any, most: int) -> Samples:
    """Decode the first page of a TIFF.

    Args:
        source: A path or a stream.
        most: Pixels.

    Raises:
        InputError: It has too many pixels, or is of a kind that nothing here decodes.
    """
    import tifffile

    logging.getLogger("tifffile").addHandler(logging.NullHandler())  # it would print what is odd
    with tifffile.TiffFile(source) as file:
        page: Any = file.pages[0]
        width, height, count = page.imagewidth, page.imagelength, page.samplesperpixel
        if width < 1 or height < 1:
            raise InputError("not a readable picture (it has no pixels)")
        if width * height > most:
            raise InputError(f"{width}x{height} pixels are too many")
        kind = int(page.photometric)
        colours = 3 if kind == _COLOURS else 1
        if kind not in (*_GREYS, _COLOURS) or not colours <= count <= 6 or page.imagedepth > 1:
            name = getattr(page.photometric, "name", kind)
            raise InputError(f"TIFF of {count} channels of kind {name} is not supported")
        _require_whole(page)
        samples = _of_page(page, source)
        if page.axes == "SYX":
            samples = samples.transpose(1, 2, 0)
        samples = samples.reshape(height, width, count)
        extra = [int(each) for each in page.extrasamples]
        bits = page.bitspersample
    samples, note = _to_16_bits(samples, max(bits) if isinstance(bits, tuple) else bits)
    if kind == 0:
        samples[..., 0] = np.iinfo(samples.dtype).max - samples[..., 0]
    # Without a word of what a fourth channel is, it is transparency; 0 says that it is not.
    alpha = count > colours and (not extra or extra[0] != 0)
    samples = samples[..., : colours + alpha]
    return _split(samples, alpha=alpha, premultiplied=extra[:1] == [1], note=note)


def _require_whole(page: Any) -> None:
    """See that all parts of a picture are there: tifffile would take those that aren't for black.

    Raises:
        InputError: Some aren't.
    """
    parts = list(zip(page.dataoffsets, page.databytecounts, strict=False))
    end = page.parent.filehandle.size
    whole = all(0 < start < end and 0 < length <= end - start for start, length in parts)
    if not whole or len(parts) < np.prod(page.chunked):
        raise InputError("not a readable picture (parts of it are missing)")


def _of_page(page: Any, source: Any) -> np.ndarray:
    """Return a page's samples in its own shape and type."""
    try:
        return np.asarray(page.asarray())
    except ValueError as error:
        if "imagecodecs" not in str(error):
            raise
    try:
        return _by_libtiff(source)
    except Exception as error:  # Pillow's may be any
        compression = getattr(page.compression, "name", page.compression)
        raise InputError(
            f"{compression} TIFF of {page.bitspersample} bits needs another package: "
            "pip install imagecodecs"
        ) from error


def _by_libtiff(source: Any) -> np.ndarray:
    """Return what Pillow's libtiff decodes of a TIFF, whole."""
    with Image.open(source) as image:
        if image.mode not in ("RGB", "RGBA"):
            return np.array(image)
        layout = str(_arguments(image.tile[0])[0])
    # libtiff gives the machine's order. Nor may Pillow divide by alpha what is only a half.
    return _joined(
        source, layout[:-1].replace("a", "A"), "LB" if sys.byteorder == "little" else "BL"
    )


def _joined(source: Any, layout: str, orders: str) -> np.ndarray:
    """Return samples of which the first of two orders of bytes gives the upper half."""
    upper, lower = (_as_if(source, layout + order).astype(np.uint16) for order in orders)
    return upper << 8 | lower


def _as_if(source: Any, layout: str) -> np.ndarray:
    """Decode a picture as if its samples lay otherwise; see Pillow's "Writing your own plugin"."""
    with Image.open(source) as image:
        (tile,) = image.tile
        args = (layout, *tile.args[1:]) if isinstance(tile.args, tuple) else layout
        image.tile = [tile._replace(args=args)]
        return np.asarray(image)


def _to_16_bits(samples: np.ndarray, bits: int) -> tuple[np.ndarray, str]:
    """Bring samples of any type to uint16, but for uint8; return what was lost, too.

    Whole numbers of 32 bits are taken for 16-bit ones, which is what Pillow keeps in them.
    """
    if samples.dtype == np.uint8 and bits == 8:
        return samples, ""
    if samples.dtype.kind == "f":
        values = np.nan_to_num(samples.astype(np.float32), posinf=np.inf, neginf=-np.inf)
        white, scale = 1.0, float(WHITE)
    elif samples.dtype == np.uint16 and bits == 16:
        return samples.astype(np.uint16), ""
    else:
        white = float(2 ** (bits - (samples.dtype.kind == "i")) - 1) if bits < 32 else WHITE
        values, scale = samples.astype(np.float64), WHITE / white
    beyond = bool((values > white).any() or (values < 0).any())
    result = (values.clip(0, white) * scale).round().astype(np.uint16)
    note = f"values below black or above white ({white:g}) were cut" if beyond else ""
    return result, note


def _split(
    samples: np.ndarray, *, alpha: bool, premultiplied: bool = False, note: str = ""
) -> Samples:
    """Take samples, ``HWC``, apart."""
    colours = samples[..., :-1] if alpha else samples
    opacity = np.ascontiguousarray(samples[..., -1]) if alpha else None
    grey = colours.shape[2] == 1
    pixels = np.repeat(colours, 3, axis=2) if grey else np.ascontiguousarray(colours)
    if opacity is not None and premultiplied:
        pixels = _divided(pixels, opacity)
    return Samples(pixels, opacity, grey, note)


def _divided(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return colours that were multiplied by alpha as they were before."""
    top = np.iinfo(pixels.dtype).max
    result = np.empty_like(pixels)
    for first in range(0, len(pixels), _ROWS):
        rows = slice(first, first + _ROWS)
        share = alpha[rows, :, None].astype(np.float64) / top
        whole = pixels[rows] / np.maximum(share, 1 / top)
        result[rows] = whole.round().clip(0, top).astype(pixels.dtype)
    return result
