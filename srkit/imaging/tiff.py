"""TIFF of 16 bits a channel, which tifffile reads, and TIFF written, in which all metadata lie.

What nothing here decodes is an error, not a guess.
"""

from __future__ import annotations

import logging
import lzma
import sys
import zlib
from dataclasses import replace
from fractions import Fraction
from io import BytesIO
from typing import Any, BinaryIO, cast

import numpy as np
from PIL import Image

from srkit.errors import InputError
from srkit.imaging import exif, formats, png
from srkit.imaging.image import DecodedImage, split, to_16_bits

_GREYS, _COLOURS = (0, 1), 2  # photometric interpretations: white or black is zero, RGB
_INFLATERS: dict[int, Any] = {
    8: zlib.decompressobj,
    32_946: zlib.decompressobj,
    34_925: lzma.LZMADecompressor,
}
_CLASSIC = 2**32 - 2**27  # bytes of pixels beyond which offsets of 32 bits may not do
_STRIP = 2**18  # bytes
_LEVEL = 4  # of zlib: a quarter of the time that 6 takes, for files 6 % larger


def read(stream: BinaryIO) -> DecodedImage:
    """Decode the first page of a TIFF, not yet turned upright, without metadata.

    InputError: it has too many pixels, or is of a kind that nothing here decodes.
    """
    import tifffile

    logging.getLogger("tifffile").addHandler(logging.NullHandler())  # it would print what is odd
    stream.seek(0)
    with tifffile.TiffFile(stream) as file:
        page: Any = file.pages[0]
        width, height, count = page.imagewidth, page.imagelength, page.samplesperpixel
        formats.require_readable(width, height)
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


def _require_whole(page: Any) -> None:
    """Raise InputError where parts of an image are missing, or larger than its pixels.

    tifffile would take those that aren't there for black.
    """
    parts = list(zip(page.dataoffsets, page.databytecounts, strict=False))
    end = page.parent.filehandle.size
    whole = all(0 < start < end and 0 < length <= end - start for start, length in parts)
    if not whole or len(parts) < np.prod(page.chunked):
        raise InputError("not a readable image (parts of it are missing)")
    if not (inflater := _INFLATERS.get(int(page.compression))):
        return
    most = int(np.prod(page.chunks)) * 8  # bytes; tifffile would unpack any number
    for start, length in parts:
        page.parent.filehandle.seek(start)
        if len(inflater().decompress(page.parent.filehandle.read(length), most + 1)) > most:
            raise InputError("not a readable image (it unpacks to more than its pixels)")


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
    """Write samples (``HWC``: grey or RGB, with or without alpha, or CMYK), deflated.

    EXIF begins the file, so that all of it lies where it did: a maker's note may say where.
    """
    target, out = out, out if out.seekable() else BytesIO()  # a pipe isn't
    height, width, count = samples.shape
    rows = max(1, _STRIP // samples[:1].nbytes)
    content = info.get("exif", b"").removeprefix(exif.PREFIX)
    tags = exif.parsed(content or exif.EMPTY)
    wide = samples.nbytes > _CLASSIC
    entry = tags.entry
    entries = [
        *tags.below[0],
        entry(256, 4, width),
        entry(257, 4, height),
        entry(258, 3, *[8 * samples.itemsize] * count),
        entry(259, 3, 8),  # deflate
        entry(262, 3, 5 if cmyk else 2 if count > 2 else 1),  # CMYK, RGB, black is zero
        entry(277, 3, count),
        entry(278, 4, rows),
        entry(317, 3, 2),  # differences along rows
    ]
    if count in (2, 4) and not cmyk:
        entries.append(entry(338, 3, 2))  # alpha, not multiplied
    if dpi := info.get("dpi"):
        entries += [entry(282, 5, *_fraction(dpi[0])), entry(283, 5, *_fraction(dpi[1]))]
        entries.append(entry(296, 3, 2))
    for tag, kind, key in ((700, 1, "xmp"), (33_723, 1, "iptc"), (34_675, 7, "icc_profile")):
        if info.get(key):
            entries.append(exif.Entry(tag, kind, info[key]))
    out.write(content.ljust(16, b"\0"))
    places, lengths = [], []
    for top in range(0, height, rows):
        strip = _deflated(samples[top : top + rows], tags.order)
        places.append(out.tell())
        lengths.append(out.write(strip))
    entries += [entry(273, 16 if wide else 4, *places), entry(279, 4, *lengths)]
    first = tags.write_all(out, entries, wide=wide)
    out.seek(0)
    out.write(tags.head(first, wide=wide))
    if target is not out:
        target.write(cast(BytesIO, out).getbuffer())


def _fraction(value: float) -> tuple[int, int]:
    return Fraction(value).limit_denominator(65_535).as_integer_ratio()


def _deflated(rows: np.ndarray, order: str) -> bytes:
    """Return rows compressed, as the differences of each pixel from the one before."""
    steps = rows.copy()
    steps[:, 1:] -= rows[:, :-1]
    if (order == "<") != (sys.byteorder == "little"):
        steps.byteswap(inplace=True)
    return zlib.compress(steps.data, _LEVEL)
