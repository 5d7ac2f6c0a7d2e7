"""TIFF by tifffile, which knows 16 bits a channel and files beyond 4 GB.

What nothing here decodes is an error, not a guess.
"""

from __future__ import annotations

import logging
import os
import struct
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from PIL import Image
from PIL.ExifTags import IFD
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from srkit.errors import InputError
from srkit.imaging import png
from srkit.imaging.image import Picture, split, to_16_bits
from srkit.imaging.metadata import IPTC, LAYOUT, XMP

_GREYS, _COLOURS = (0, 1), 2  # photometric interpretations: white or black is zero, RGB
_PROFILE, _RESOLUTION = 34_675, 282
_OWN_TAGS = (270, 271, 272, 274, 305, 306, 315, 33_432)  # what EXIF has of a TIFF's tags
_CLASSIC = 2**32 - 2**27  # bytes of pixels beyond which offsets of 32 bits may not do
_HEADER = b"II*\0\0\0\0\0"
_LEVEL = 4  # of zlib: a quarter of the time that 6 takes, for files 6 % larger


def bits(image: Any) -> int:
    """Return the bits a channel of a TIFF that Pillow opened."""
    return int(max(image.tag_v2.get(258, (1,))))


def read(stream: BinaryIO, most: int) -> Picture:
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
            raise InputError("not a readable picture (it has no pixels)")
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
        given = {tag: page.tags[tag].value for tag in known if tag in page.tags}
        dpi = page.get_resolution("INCH") if _RESOLUTION in given else None
    bare = Image.new("L", (1, 1))
    bare.getexif().update({tag: given[tag] for tag in _OWN_TAGS if tag in given})
    bare.info.update(xmp=given.get(XMP), dpi=dpi, icc_profile=given.get(_PROFILE))
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
        raise InputError("not a readable picture (parts of it are missing)")


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


def write(picture: Picture, file: Path, info: dict[str, Any], inks: np.ndarray | None) -> list[str]:
    """Write an image, deflated, of 8 or 16 bits.

    Args:
        picture: As it is, or as ``inks`` are.
        file: Where to.
        info: See `Picture`.
        inks: ``HW4``, to be written instead of the pixels, with a profile of their own.

    Returns:
        What was lost, a line each.
    """
    import tifffile

    values = picture.whole() if inks is None else inks
    count = values.shape[2]
    kind = "separated" if inks is not None else "rgb" if count > 2 else "minisblack"
    options: dict[str, Any] = {"photometric": kind, "iccprofile": info.get("icc_profile")}
    if count in (2, 4) and inks is None:
        options["extrasamples"] = ["unassalpha"]
    if count > 1:
        options["planarconfig"] = "contig"
    if "dpi" in info:
        options |= {"resolution": info["dpi"], "resolutionunit": "INCH"}
    big = values.nbytes > _CLASSIC
    extra, below = _of_exif(info.get("exif", b""))
    lost = []
    if big and below:
        lost, below = ["EXIF doesn't fit into a TIFF beyond 4 GB but for its first tags"], {}
    for tag, name in ((XMP, "xmp"), (IPTC, "iptc")):
        if content := info.get(name):
            extra.append((tag, "B", len(content), content, True))
    tifffile.imwrite(
        file,
        values if count > 1 else values[..., 0],
        byteorder="<",
        bigtiff=big,
        compression="zlib",
        compressionargs={"level": _LEVEL},
        predictor=True,
        software=False,
        metadata=None,
        extratags=extra,
        **options,
    )
    if below:
        _append(file, below)
    return lost


def _of_exif(exif: bytes) -> tuple[list[Any], dict[int, ImageFileDirectory_v2]]:
    """Return EXIF's first directory as tifffile takes tags, and those below as Pillow has them."""
    tags: list[Any] = []
    below: dict[int, ImageFileDirectory_v2] = {}
    if not exif:
        return tags, below
    given = Image.Exif()
    try:
        given.load(exif)
        for tag in given:
            if tag not in (*LAYOUT, IFD.Exif, IFD.GPSInfo) and (made := _tag(tag, given[tag])):
                tags.append(made)
        for tag in (IFD.Exif, IFD.GPSInfo):
            if tag in given:
                below[int(tag)] = _directory(given, tag)
    except Exception:  # Pillow's may be any; the pixels are as good as ever
        return tags, {}
    return tags, below


def _tag(tag: int, value: Any) -> tuple[Any, ...] | None:
    """Return a tag as tifffile takes it: text, bytes and whole numbers; None for others."""
    if isinstance(value, str):
        text = value.encode("latin-1", "replace") + b"\0"
        return (tag, "s", len(text), text, True)
    if isinstance(value, bytes):
        return (tag, "B", len(value), value, True)
    numbers = value if isinstance(value, tuple) else (value,)
    if numbers and all(isinstance(n, int) and 0 <= n < 2**32 for n in numbers):
        return (tag, "H" if max(numbers) < 2**16 else "I", len(numbers), value, True)
    return None


def _directory(exif: Image.Exif, tag: int) -> ImageFileDirectory_v2:
    made = ImageFileDirectory_v2(_HEADER, group=tag)
    for name, value in exif.get_ifd(tag).items():
        if name == IFD.Interop:
            value = exif.get_ifd(IFD.Interop)
        if isinstance(value, str):
            made[name] = value.encode("latin-1", "replace")
            made.tagtype[name] = 2  # text; Pillow would write '?' for all but ASCII
        else:
            made[name] = value
    made.tobytes(0)  # fails here if it can't be written, before anything else is
    return made


def _append(file: Path, below: dict[int, ImageFileDirectory_v2]) -> None:
    """Put directories at the end of a file and the first one anew, with tags that point to them.

    tifffile writes no such tags.
    """
    with file.open("r+b") as out:
        out.seek(4)
        out.seek(struct.unpack("<I", out.read(4))[0])
        (count,) = struct.unpack("<H", out.read(2))
        entries = [out.read(12) for _ in range(count)]
        for tag, directory in below.items():
            entries.append(struct.pack("<HHII", tag, 4, 1, _end(out)))
            out.write(directory.tobytes(out.tell()))
        entries.sort(key=lambda entry: int.from_bytes(entry[:2], "little"))
        first = _end(out)
        out.write(struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4))
        out.seek(4)
        out.write(struct.pack("<I", first))


def _end(out: BinaryIO) -> int:
    """Go to a file's end, or the byte after, and say where that is."""
    out.seek(0, os.SEEK_END)  # directories begin at even places
    out.write(b"\0" * (out.tell() % 2))
    return out.tell()
