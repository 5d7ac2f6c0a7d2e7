"""Files and Pillow images of any mode -> upright RGB, alpha and metadata."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from srkit.errors import InputError, one_line
from srkit.imaging import colour, formats, metadata, png, tiff
from srkit.imaging.colour import Separation
from srkit.imaging.image import DecodedImage, filled, split, to_16_bits

_ANIMATED = ("GIF", "PNG", "WEBP", "AVIF")
MOST_SCANS, _SCAN = 250, b"\xff\xda"  # some ten are usual, in each image of a file
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read(file: Path | str, encoded: bytes | None = None) -> DecodedImage:
    """Decode a file, turned upright by its EXIF orientation.

    What lies under transparency is replaced by colours from around it; see
    `srkit.imaging.image.filled`.

    Args:
        file: Where it is, or what to call it if ``encoded`` is given.
        encoded: What is in it, where that is in memory already.

    Raises:
        InputError: Missing, unreadable, truncated, or too large; the message begins with ``file``
            and says the same wherever that lies.
    """
    with _open(file, encoded) as (image, stream):
        return _upright(_decoded(image, stream), image, stream)


def size_of(file: Path | str, encoded: bytes | None = None) -> tuple[int, int]:
    """Return the width and height that `read` would give, from a file's first bytes.

    It raises as `read`; what is broken further on is only found there.
    """
    with _open(file, encoded) as (image, _):
        if image is not None:
            turned = image.format != "TIFF" and metadata.orientation(image) > 4
            return (image.height, image.width) if turned else (image.width, image.height)
    return read(file, encoded).size  # a TIFF that Pillow doesn't know


def thumbnail(file: Path, side: int) -> np.ndarray:
    """Return an upright image in grey, stretched to a square of ``side``, uint8; raises as `read`.

    Of a JPEG, which most photos are, only the brightness is decoded, and of a large one no more
    than its lower frequencies: of 60x90 pixels and more, 2 or 3 levels off what `read` would give.
    """
    shape, by = (side, side), Image.Resampling.BILINEAR
    with _open(file, None) as (image, _):
        if image is not None and image.format in ("JPEG", "MPO") and image.mode in ("L", "RGB"):
            turn = metadata.orientation(image)
            _, box = image.draft("L", (8 * side, 8 * side)) or ("", None)
            return _turned(np.asarray(image.resize(shape, by, box).convert("L")), turn)
    return np.asarray(read(file).rgb.convert("L").resize(shape, by))


@contextmanager
def _open(file: Path | str, encoded: bytes | None) -> Iterator[tuple[Any, BinaryIO]]:
    """Open a file; whatever is wrong with it becomes one line for the user."""
    try:
        with Path(file).open("rb") if encoded is None else BytesIO(encoded) as stream:
            yield _opened(stream), stream
    except FileNotFoundError as error:
        raise InputError(f"{file}: no such file") from error
    except InputError as error:
        raise InputError(f"{file}: {error}") from error.__cause__
    except MemoryError as error:
        raise InputError(f"{file}: too large for the memory") from error
    # Pillow's decoders raise nearly any kind of error on broken bytes; none is our bug.
    except Exception as error:
        raise InputError(f"{file}: not a readable image ({one_line(error)})") from error


def _opened(stream: BinaryIO) -> Any:
    """Open a still of a size that is read; None for a TIFF that Pillow doesn't know."""
    head = stream.read(4096)
    stream.seek(0)
    try:
        image = Image.open(stream)
    except UnidentifiedImageError as error:
        if head.startswith(_TIFF):
            return None
        if not formats.is_heif(head):
            raise InputError("not a readable image (of no known format)") from error
        if (reader := _heif_reader()) is None:
            raise InputError("HEIF needs another package: pip install pillow-heif") from error
        reader.register_heif_opener()
        stream.seek(0)
        image = Image.open(stream)
    except Image.DecompressionBombError as error:
        raise InputError("its pixels are too many") from error
    _require_still(image)
    if image.format in ("JPEG", "MPO"):
        stream.seek(0)
        if stream.read().count(_SCAN) > MOST_SCANS:  # each costs as much time as a whole image
            raise InputError(f"a JPEG of more than {MOST_SCANS} scans")
    return image


def _decoded(image: Any, stream: BinaryIO) -> DecodedImage:
    """Decode by Pillow what it can, and the rest by other means."""
    if image is None:
        return tiff.read(stream)
    bits = _bits(image, stream)
    if bits > 8 and image.format == "TIFF" and image.mode != "CMYK":
        return tiff.read(stream)
    if bits > 8 and image.format == "PNG" and image.mode in ("RGB", "RGBA"):
        return png.read(image, stream)
    if bits > 8 and image.format == "HEIF":
        return _deep_heif(stream)
    if image.format == "PNG" and image.mode == "L" and "transparency" in image.info:
        # Pillow widens pixels of 2 and 4 bits to 8, but not the grey that is transparent.
        image.info["transparency"] *= {"L;2": 85, "L;4": 17}.get(str(image.tile[0].args), 1)
    image.load()
    decoded = _by_mode(image)
    if bits > 8 and decoded.pixels.dtype == np.uint8:
        decoded = replace(decoded, notes=(f"its {bits} bits a channel were cut to 8",))
    return decoded


def _bits(image: Any, stream: BinaryIO) -> int:
    """Return the bits a channel of an opened file, as far as they matter."""
    if image.format == "TIFF":
        return int(max(image.tag_v2.get(258, (1,))))
    if image.format == "HEIF":
        return int(image.info.get("bit_depth") or 8)
    if image.format == "AVIF":
        stream.seek(0)
        return avif_bits(stream.read(4096))
    layout = str(image.tile[0].args) if image.tile else ""
    return 16 if ";16" in layout or (image.format == "PPM" and "65535" in layout) else 8


def _deep_heif(stream: BinaryIO) -> DecodedImage:
    """Decode HEIF of 10 or 12 bits."""
    stream.seek(0)
    image = _heif_reader().open_heif(stream, convert_hdr_to_8bit=False)
    bits = int(image.info.get("bit_depth") or 16)
    samples, _ = to_16_bits(np.asarray(image) >> (16 - bits), bits)
    samples = samples if samples.ndim == 3 else samples[..., None]
    return split(samples, alpha=samples.shape[2] in (2, 4), premultiplied="a" in image.mode)


def unpack(image: Image.Image) -> DecodedImage:
    """Split a Pillow image of any mode into upright RGB, alpha and metadata."""
    image.load()  # a TIFF is turned upright by it
    return _upright(_by_mode(image), image)


def _require_still(image: Any) -> None:
    formats.require_readable(*image.size)
    # Phones' JPEGs carry a second frame (MPO), scans several pages: the first is meant.
    if image.format in _ANIMATED and getattr(image, "is_animated", False):
        raise InputError("animated images are not supported")
    if image.format == "TIFF":
        bits, signs = image.tag_v2.get(258, (1,)), image.tag_v2.get(339, (1,))
        if (bits[0], signs[0]) == (8, 2):  # which Pillow would take for unsigned
            raise InputError("signed samples of 8 bits are not supported")
    if image.format == "EPS":  # PostScript, for which Pillow would start Ghostscript
        raise InputError("EPS is a program and isn't run")


def _heif_reader() -> Any:
    """Return the module that reads HEIF, or None where there is none."""
    for name in formats.HEIF_READERS:
        if find_spec(name):
            return import_module(name)
    return None


def avif_bits(head: bytes) -> int:
    """Return how many bits a channel of an AVIF image has: its first ``av1C`` says so."""
    at = head.find(b"av1C")
    if at < 0 or at + 6 >= len(head):
        return 8
    flags = head[at + 6]
    return 8 if not flags & 0x40 else 12 if flags & 0x20 else 10


def _by_mode(image: Image.Image) -> DecodedImage:
    """Return the pixels of a Pillow image of any mode."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        values = np.asarray(image)
        samples, notes = to_16_bits(values, 16 if values.dtype.kind == "u" else 32)
        key = image.info.get("transparency")
        if isinstance(key, int):
            samples = np.dstack([samples, np.where(samples == key, 0, 65_535).astype(np.uint16)])
        decoded = split(np.atleast_3d(samples), alpha=samples.ndim == 3)
        return replace(decoded, notes=tuple(notes))
    if image.mode == "CMYK":
        return _of_cmyk(image)
    if image.mode in ("La", "RGBa"):
        image = image.convert(f"{image.mode[:-1]}A")
    if image.mode == "LAB":
        raise InputError("images in Lab aren't supported")
    grey = image.mode in ("1", "L", "LA")
    if image.has_transparency_data:
        return replace(split(np.array(image.convert("RGBA")), alpha=True), grey=grey)
    image = image if image.mode == "RGB" else image.convert("RGB")  # which would copy it
    return DecodedImage(np.array(image), None, grey)


def _of_cmyk(image: Image.Image) -> DecodedImage:
    """Bring inks to sRGB; without a sound profile, as ideal ones."""
    profile = image.info.get("icc_profile")
    note = colour.misfit(profile, "CMYK") if profile else ""
    separation = Separation(profile if profile and not note else None)
    try:
        rgb = separation.to_rgb(image)
    except (ImageCms.PyCMSError, OSError):
        note, separation = "its colour profile is broken and was left out", Separation()
        rgb = separation.to_rgb(image)
    info = {"icc_profile": colour.srgb()} if separation.profile else {}
    return DecodedImage(np.array(rgb), None, False, info, separation, (note,) if note else ())


def _upright(decoded: DecodedImage, image: Any, stream: BinaryIO | None = None) -> DecodedImage:
    """Turn decoded pixels upright, fill what is transparent, and add the metadata."""
    about = metadata.of(image, stream, grey=decoded.grey)
    pixels, alpha = _turned(decoded.pixels, about.orientation), decoded.alpha
    if alpha is not None:
        alpha = _turned(alpha, about.orientation)
        pixels = filled(pixels, alpha)
    info, notes = about.info | decoded.info, (*about.notes, *decoded.notes)
    return replace(decoded, pixels=pixels, alpha=alpha, info=info, notes=notes)


def _turned(array: np.ndarray, orientation: int) -> np.ndarray:
    """Turn an array, ``HW…``, upright."""
    if orientation > 4:
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return np.ascontiguousarray(array)
