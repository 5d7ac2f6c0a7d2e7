"""Files and Pillow images of any mode -> upright RGB and what goes around it."""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from srkit.errors import InputError
from srkit.imaging import alpha as transparency
from srkit.imaging import colour, formats, metadata, png, tiff
from srkit.imaging.colour import Separation
from srkit.imaging.image import DecodedImage, split, to_16_bits

# Refuses decompression bombs before they are decoded, below where Pillow would (178,956,970).
MAX_PIXELS = 150_000_000
UNKNOWN = "not a readable image (of no known format)"
ANIMATED = ("GIF", "PNG", "WEBP", "AVIF")
# PostScript is a program, which Pillow would have Ghostscript run; an image is only data.
PROGRAMS = ("EPS",)
_lock, _quiet = threading.Lock(), 0
_ODD = ("ignore", None, Warning, re.compile(r"PIL\."), 0)
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read(file: Path | str, encoded: bytes | None = None) -> DecodedImage:
    """Decode a file, turned upright by its EXIF orientation.

    What lies under transparency is replaced by colours from around it; see
    `srkit.imaging.alpha.filled`.

    Args:
        file: Where it is, or what to call it if ``encoded`` is given.
        encoded: What is in it, where that is in memory already.

    Raises:
        InputError: Missing, unreadable, truncated, or too large; the message begins with ``file``
            and says the same wherever that lies.
    """
    with _open(file, encoded) as (image, stream):
        return _upright(_decoded(image, stream), image or tiff.tags(stream))


def size_of(file: Path | str, encoded: bytes | None = None) -> tuple[int, int]:
    """Return the width and height that `read` would give, from a file's first bytes.

    Raises:
        InputError: See `read`; what is broken further on is only found there.
    """
    with _open(file, encoded) as (image, stream):
        if image is None:
            return _upright(_decoded(image, stream), tiff.tags(stream)).size
        turned = image.format != "TIFF" and metadata.orientation(image) > 4
        return (image.height, image.width) if turned else (image.width, image.height)


@contextmanager
def _open(file: Path | str, encoded: bytes | None) -> Iterator[tuple[Any, BinaryIO]]:
    """Open a file, and make all that may go wrong with it one line for the user."""
    try:
        with quiet(), Path(file).open("rb") if encoded is None else BytesIO(encoded) as stream:
            yield _opened(stream), stream
    except FileNotFoundError as error:
        raise InputError(f"{file}: no such file") from error
    except InputError as error:
        raise InputError(f"{file}: {error}") from error.__cause__
    except MemoryError as error:
        raise InputError(f"{file}: too large for the memory") from error
    # Pillow's decoders raise nearly any kind of error on broken bytes; none is our bug.
    except Exception as error:
        why = (isinstance(error, OSError) and error.strerror) or error
        why = " ".join(str(why).split()) or type(error).__name__
        raise InputError(f"{file}: not a readable image ({why})") from error


def _opened(stream: BinaryIO) -> Any:
    """Open a still of a size that is read; None for a TIFF that Pillow doesn't know."""
    try:
        image = Image.open(stream)
    except UnidentifiedImageError as error:
        head = _head(stream)
        reader = _heif_reader() if formats.is_heif(head) else None
        if reader is None:
            if head.startswith(_TIFF):
                return None
            missing = "HEIF needs another package: pip install pillow-heif"
            raise InputError(missing if formats.is_heif(head) else UNKNOWN) from error
        reader.register_heif_opener()
        stream.seek(0)
        image = Image.open(stream)
    except Image.DecompressionBombError as error:
        raise InputError("its pixels are too many") from error
    _require_still(image)
    if image.format == "PNG":
        image.info["cicp"] = png.chunk(stream, b"cICP")
    return image


def _decoded(image: Any, stream: BinaryIO) -> DecodedImage:
    """Decode what Pillow can by it, and the rest by what can."""
    if image is None:
        try:
            return tiff.read(stream, MAX_PIXELS)
        except InputError:
            raise
        except Exception as error:  # of nearly any kind, on broken bytes
            raise InputError(UNKNOWN) from error
    if image.format == "TIFF" and tiff.bits(image) > 8 and image.mode != "CMYK":
        return tiff.read(stream, MAX_PIXELS)
    if image.format == "PNG" and png.is_deep(image):
        return png.read(image, stream)
    if image.format == "HEIF" and int(image.info.get("bit_depth") or 8) > 8:
        return _deep_heif(stream)
    bits = _bits(image, stream)
    if image.format == "PNG" and image.mode == "L" and "transparency" in image.info:
        # Pillow widens pixels of 2 and 4 bits to 8, but not the grey that stands for nothing.
        image.info["transparency"] *= {"L;2": 85, "L;4": 17}.get(str(image.tile[0].args), 1)
    image.load()
    decoded = _by_mode(image)
    if image.format == "WEBP" and _is_lossless_webp(stream):
        decoded.info["lossless"] = True
    if bits > 8:
        decoded = replace(decoded, notes=(f"its {bits} bits a channel were cut to 8",))
    return decoded


def _bits(image: Any, stream: BinaryIO) -> int:
    """Return the bits of a channel where Pillow takes eight of them; 8 where it takes all."""
    if image.format == "TIFF":
        return tiff.bits(image)
    if image.format == "AVIF":
        return avif_bits(_head(stream))
    if not image.tile or image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return 8
    args = image.tile[0].args
    layout, *others = args if isinstance(args, tuple) and args else (args,)
    if image.format == "PPM" and others and int(others[0] or 0) > 255:
        return int(others[0]).bit_length()
    return 16 if ";16" in str(layout) else 8


def _deep_heif(stream: BinaryIO) -> DecodedImage:
    """Decode HEIF of 10 or 12 bits."""
    stream.seek(0)
    image = _heif_reader().open_heif(stream, convert_hdr_to_8bit=False)
    bits = int(image.info.get("bit_depth") or 16)
    samples, _ = to_16_bits(np.asarray(image) >> (16 - bits), bits)
    samples = samples if samples.ndim == 3 else samples[..., None]
    return split(samples, alpha=samples.shape[2] in (2, 4), premultiplied="a" in image.mode)


def _is_lossless_webp(stream: BinaryIO) -> bool:
    """Return whether the pixels of a WebP file are those that went in."""
    stream.seek(12)
    while len(head := stream.read(8)) == 8:
        if head[:4] in (b"VP8 ", b"VP8L"):
            return head[:4] == b"VP8L"
        length = int.from_bytes(head[4:], "little")
        stream.seek(length + length % 2, 1)
    return False


def _head(stream: BinaryIO) -> bytes:
    """Return the first bytes, by which one kind of file is told from others."""
    stream.seek(0)
    return stream.read(4096)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Pillow's warnings of odd files from the user, who can do nothing.

    Python's filters are one for all threads, and some decode in parallel: the first in brings
    this one, the last out takes it away, and the others' stay as they are.
    """
    global _quiet
    with _lock:
        if not _quiet:
            cast(list[Any], warnings.filters).insert(0, _ODD)
        _quiet += 1
    try:
        yield
    finally:
        with _lock:
            _quiet -= 1
            if not _quiet:
                with suppress(ValueError):
                    cast(list[Any], warnings.filters).remove(_ODD)


def unpack(image: Image.Image) -> DecodedImage:
    """Split a Pillow image of any mode into what a network can take and what goes around it."""
    image.load()  # a TIFF is turned upright by it
    return _upright(_by_mode(image), image)


def _require_still(image: Image.Image) -> None:
    if not image.width or not image.height:
        raise InputError("not a readable image (it has no pixels)")
    if image.width * image.height > MAX_PIXELS:
        raise InputError(f"{image.width}x{image.height} pixels are too many")
    # Phones' JPEGs carry a second frame (MPO), scans several pages: the first is meant.
    if image.format in ANIMATED and getattr(image, "is_animated", False):
        raise InputError("animated images are not supported")
    if image.format in PROGRAMS:
        raise InputError(f"{image.format} is a program and isn't run")


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
    if image.mode == "LAB":
        raise InputError("images in Lab aren't supported")
    grey = image.mode in ("1", "L", "LA", "La")
    if image.has_transparency_data:
        if image.mode in ("La", "RGBa"):  # multiplied by alpha: Pillow takes that out first
            image = image.convert(image.mode.upper())
        return replace(split(np.array(image.convert("RGBA")), alpha=True), grey=grey)
    return DecodedImage(np.array(image.convert("RGB")), None, grey)


def _of_cmyk(image: Image.Image) -> DecodedImage:
    """Bring inks to sRGB; without a sound profile, as ideal ones."""
    profile = image.info.get("icc_profile")
    note = _misfit(profile, ("CMYK",)) if profile else ""
    separation = Separation(profile if profile and not note else None)
    try:
        rgb = separation.to_rgb(image)
    except (ImageCms.PyCMSError, OSError):
        note, separation = "its colour profile is broken and was left out", Separation()
        rgb = separation.to_rgb(image)
    info = {"icc_profile": colour.srgb()} if separation.profile else {}
    return DecodedImage(np.array(rgb), None, False, info, separation, (note,) if note else ())


def _upright(decoded: DecodedImage, image: Any) -> DecodedImage:
    """Turn decoded pixels upright, and add what their file says beside them.

    What lies under transparency is replaced here, so that no part of srkit sees it.
    """
    about = metadata.of(image, grey=decoded.grey)
    notes = [*about.notes, *decoded.notes]
    profile = about.info.pop("icc_profile", None)
    if profile and decoded.separation is None:
        # A grey image may have a profile of RGB: its channels are equal then, and written so.
        if note := _misfit(profile, ("RGB", "GRAY") if decoded.grey else ("RGB",)):
            notes.append(note)
        else:
            about.info["icc_profile"] = profile
    pixels, alpha = _turned(decoded.pixels, about.orientation), decoded.alpha
    if alpha is not None:
        alpha = _turned(alpha, about.orientation)
        pixels = transparency.filled(pixels, alpha)
    info = about.info | decoded.info
    return replace(decoded, pixels=pixels, alpha=alpha, info=info, notes=tuple(notes))


def _misfit(profile: Any, spaces: tuple[str, ...]) -> str:
    """Return why a profile, of none of these spaces or broken, is left out, or ``""``."""
    space = colour.space(profile) if isinstance(profile, bytes) else ""
    if space in spaces:
        return ""
    why = f"is one of {space}" if space.isalnum() else "is broken"
    return f"its colour profile {why} and was left out"


def _turned(array: np.ndarray, orientation: int) -> np.ndarray:
    """Turn an array, ``HW…``, upright."""
    if orientation > 4:
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return np.ascontiguousarray(array)
