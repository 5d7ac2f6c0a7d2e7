"""TIFF of 16 bits a channel, which tifffile reads, and TIFF written, in which all metadata lie.

What nothing here decodes is an error, not a guess.
"""

from __future__ import annotations

import logging
import sys
import zlib
from dataclasses import replace
from io import BytesIO
from itertools import accumulate
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryFile
from typing import Any, BinaryIO, cast

import numpy as np
from PIL import Image, TiffTags
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from srkit.errors import InputError
from srkit.imaging import metadata, png
from srkit.imaging.image import DecodedImage, split, to_16_bits
from srkit.imaging.metadata import IPTC, XMP

_GREYS, _COLOURS = (0, 1), 2  # photometric interpretations: white or black is zero, RGB
_PROFILE, _RESOLUTION = 34_675, 282
_OFFSETS = 273
_OWN_TAGS = (270, 271, 272, 274, 305, 306, 315, 33_432)  # what EXIF has of a TIFF's tags
_CLASSIC = 2**32 - 2**27  # bytes of pixels beyond which offsets of 32 bits may not do
_STRIP = 2**18  # bytes
_LEVEL = 4  # of zlib: a quarter of the time that 6 takes, for files 6 % larger


def bits(image: Any) -> int:
    """Return the bits a channel of a TIFF that Pillow opened."""
    return int(max(image.tag_v2.get(258, (1,))))


def read(stream: BinaryIO, most: int) -> DecodedImage:
    """Decode the first page of a TIFF, not yet turned upright, without metadata.

    Args:
        stream: The file.
        most: Pixels.

    Raises:
        InputError: It has too many pixels, or is of a kind that nothing here decodes.
    """
    import tifffile

    logging.getLogger("tifffile").addHandler(logging.NullHandler())  # it would print what is odd
    stream.seek(0)
    with tifffile.TiffFile(stream) as file:
        page: Any = file.pages[0]
        width, height, count = page.imagewidth, page.imagelength, page.samplesperpixel
        if width < 1 or height < 1:
            raise InputError("not a readable image (it has no pixels)")
        if width * height > most:
            raise InputError(f"{width}x{height} pixels are too many")
        kind = int(page.photometric)
        colours = 3 if kind == _COLOURS else 1
        if kind not in (*_GREYS, _COLOURS) or not colours <= count <= 6 or page.imagedepth > 1:
            name = getattr(page.photometric, "name", kind)
            raise InputError(f"TIFF of {count} channels of kind {name} is not supported")
        _require_whole(page)
        samples = _of_page(page, stream)
        if page.axes == "SYX":
            samples = samples.transpose(1, 2, 0)
        samples = samples.reshape(height, width, count)
        extra = [int(each) for each in page.extrasamples]
        samples, notes = to_16_bits(samples, int(np.max(page.bitspersample)))
    if kind == 0:
        samples[..., 0] = np.iinfo(samples.dtype).max - samples[..., 0]
    # Without a word of what a fourth channel is, it is transparency; 0 says that it is not.
    alpha = count > colours and (not extra or extra[0] != 0)
    decoded = split(samples[..., : colours + alpha], alpha=alpha, premultiplied=extra[:1] == [1])
    return replace(decoded, notes=tuple(notes))


def tags(stream: BinaryIO) -> Image.Image:
    """Return an image of one pixel with the metadata of a TIFF that Pillow doesn't know."""
    import tifffile

    stream.seek(0)
    with tifffile.TiffFile(stream) as file:
        page: Any = file.pages[0]
        known = (*_OWN_TAGS, XMP, _PROFILE, _RESOLUTION)
        values = {tag: page.tags[tag].value for tag in known if tag in page.tags}
        dpi = page.get_resolution("INCH") if _RESOLUTION in values else None
    bare = Image.new("L", (1, 1))
    bare.getexif().update({tag: values[tag] for tag in _OWN_TAGS if tag in values})
    bare.info.update(xmp=values.get(XMP), dpi=dpi, icc_profile=values.get(_PROFILE))
    return bare


def _require_whole(page: Any) -> None:
    """See that all parts of an image are there: tifffile would take those that aren't for black.

    Raises:
        InputError: Some aren't.
    """
    parts = list(zip(page.dataoffsets, page.databytecounts, strict=False))
    end = page.parent.filehandle.size
    whole = all(0 < start < end and 0 < length <= end - start for start, length in parts)
    if not whole or len(parts) < np.prod(page.chunked):
        raise InputError("not a readable image (parts of it are missing)")


def _of_page(page: Any, stream: BinaryIO) -> np.ndarray:
    """Return a page's samples in its own shape and type."""
    try:
        return np.asarray(page.asarray())
    except ValueError as error:
        if "imagecodecs" not in str(error):
            raise
    try:
        return _by_libtiff(stream)
    except Exception as error:  # Pillow's may be any
        compression = getattr(page.compression, "name", page.compression)
        raise InputError(
            f"{compression} TIFF of {page.bitspersample} bits needs another package: "
            "pip install imagecodecs"
        ) from error


def _by_libtiff(stream: BinaryIO) -> np.ndarray:
    """Return what Pillow's libtiff decodes of a TIFF, both bytes of each sample."""
    # libtiff gives the machine's order. Nor may Pillow divide by alpha what is only a half.
    halves: list[np.ndarray] = []
    for order in "LB" if sys.byteorder == "little" else "BL":
        stream.seek(0)
        with Image.open(stream) as image:
            if image.mode not in ("RGB", "RGBA"):
                return np.array(image)
            layout = str(cast(Any, image.tile[0].args)[0])
            halves.append(png.as_if(image, layout[:-1].replace("a", "A") + order))
    upper, lower = (half.astype(np.uint16) for half in halves)
    return upper << 8 | lower


def write(samples: np.ndarray, out: BinaryIO, info: dict[str, Any], *, cmyk: bool = False) -> None:
    """Write an image, deflated, of 8 or 16 bits.

    Args:
        samples: ``HWC``: grey or RGB, with or without alpha, or CMYK.
        out: Where to.
        info: See `DecodedImage`.
        cmyk: Whether four channels are CMYK.
    """
    rows = max(1, _STRIP // samples[:1].nbytes)
    tops = range(0, len(samples), rows)
    # The directory, which says how long each strip is, comes first.
    with _beside(out) as strips:
        lengths = [strips.write(_deflated(samples[top : top + rows])) for top in tops]
        _directory(samples, rows, lengths, info, cmyk=cmyk).save(out)
        strips.seek(0)
        copyfileobj(strips, out)


def _beside(out: BinaryIO) -> BinaryIO:
    """Return a nameless file in the folder of another, or memory where that is none."""
    name = getattr(out, "name", None)
    return TemporaryFile(dir=Path(name).parent) if name and Path(name).is_file() else BytesIO()


def _directory(
    samples: np.ndarray, rows: int, lengths: list[int], info: dict[str, Any], *, cmyk: bool
) -> ImageFileDirectory_v2:
    """Return the directory of an image in strips of so many rows, of these lengths in bytes."""
    height, width, count = samples.shape
    big = sum(lengths) > _CLASSIC
    directory = ImageFileDirectory_v2(b"II+\0\x08\0\0\0" + bytes(8) if big else b"II*\0" + bytes(4))
    directory.tagtype |= {_OFFSETS: TiffTags.LONG8 if big else TiffTags.LONG, IPTC: TiffTags.BYTE}
    entries = (
        metadata.tags_of(info.get("exif", b""))
        | {
            256: width,
            257: height,
            258: (8 * samples.itemsize,) * count,
            259: 8,  # deflate
            262: 5 if cmyk else 2 if count > 2 else 1,  # CMYK, RGB, black is zero
            _OFFSETS: tuple(accumulate(lengths[:-1], initial=0)),  # Pillow adds where they begin
            277: count,
            278: rows,
            279: tuple(lengths),
            317: 2,  # differences along rows
            XMP: info.get("xmp"),
            IPTC: info.get("iptc"),
            _PROFILE: info.get("icc_profile"),
        }
    )
    if count in (2, 4) and not cmyk:
        entries[338] = 2  # alpha, not multiplied
    if "dpi" in info:
        entries |= {_RESOLUTION: info["dpi"][0], 283: info["dpi"][1], 296: 2}
    for tag, value in entries.items():
        if value:
            directory[tag] = value
    return directory


def _deflated(rows: np.ndarray) -> bytes:
    """Return rows compressed, as the differences of each pixel from the one before."""
    steps = rows.astype(rows.dtype.newbyteorder("<"))
    steps[:, 1:] -= rows[:, :-1]
    return zlib.compress(steps.data, _LEVEL)
