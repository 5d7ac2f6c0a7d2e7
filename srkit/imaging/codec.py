"""File <-> tensor: the only place where bytes, ranges, alpha, profiles and EXIF meet.

Each of them has a file of its own, of which this one is the front.
"""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from srkit.errors import InputError
from srkit.files import atomic
from srkit.imaging import encoding, formats, opening
from srkit.imaging.formats import SUFFIXES, WRITABLE, listed, require_writable
from srkit.imaging.metadata import EXIF_ORIENTATION
from srkit.imaging.opening import MAX_PIXELS
from srkit.imaging.picture import Picture
from srkit.imaging.provenance import Origin

__all__ = [
    "EXIF_ORIENTATION",
    "MAX_PIXELS",
    "SUFFIXES",
    "WRITABLE",
    "Framing",
    "Origin",
    "Picture",
    "bicubic",
    "frame",
    "listed",
    "quiet",
    "read",
    "require_writable",
    "save",
    "size_of",
    "to_image",
    "to_tensor",
    "to_uint8",
    "unpack",
    "write",
]

_ODD = ("ignore", None, Warning, re.compile(r"PIL\."), 0)
_lock, _reading = threading.Lock(), 0

Found = TypeVar("Found")
Framing = Literal["square", "squash", "jitter"]


def read(file: Path | str, encoded: bytes | None = None) -> Picture:
    """Decode a file, turned upright by its EXIF orientation.

    Args:
        file: Where it is, or what to call it if ``encoded`` is given.
        encoded: What is in it, where that is in memory already.

    Raises:
        InputError: Missing, unreadable, truncated, or too large; the message begins with ``file``
            and says the same wherever that lies.
    """
    return _said(opening.decoded, file, encoded)


def size_of(file: Path | str, encoded: bytes | None = None) -> tuple[int, int]:
    """Return the width and height that `read` would give, from a file's first bytes.

    Raises:
        InputError: See `read`; what is broken further on is only found there.
    """
    return _said(opening.size_of, file, encoded)


def _said(
    find: Callable[[opening.Source], Found], file: Path | str, encoded: bytes | None
) -> Found:
    """Find something out about a file; make all that may go wrong one line for the user."""
    try:
        with quiet():
            return find(opening.Source(file, encoded))
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
        raise InputError(f"{file}: not a readable picture ({why})") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Pillow's warnings of odd files and of large ones from the user, who can do nothing.

    Python's filters are one for all threads, and some decode in parallel: the first in brings
    this one, the last out takes it away, and the others' stay as they are.
    """
    global _reading
    with _lock:
        if not _reading:
            cast(list[Any], warnings.filters).insert(0, _ODD)
        _reading += 1
    try:
        yield
    finally:
        with _lock:
            _reading -= 1
            if not _reading:
                with suppress(ValueError):
                    cast(list[Any], warnings.filters).remove(_ODD)


def unpack(image: Image.Image) -> Picture:
    """Split a Pillow image of any mode into what a network can take and what goes around it."""
    image.load()  # a TIFF is turned upright by it
    picture = opening.unpacked(image)
    return replace(picture, pixels=image.copy()) if picture.rgb is image else picture


def save(picture: Picture, file: Path, *, origin: Origin | None = None) -> list[str]:
    """Encode by the file's suffix; the file appears under its name only when it is whole.

    PNG and TIFF hold 16 bits, JPEG and TIFF bring CMYK back to its inks.

    Args:
        picture: What to write.
        file: Where to; its folder is made if there is none.
        origin: What made the pixels, to be said in XMP; BMP has no place for it.

    Returns:
        What the format has no place for, a line each.

    Raises:
        InputError: See `require_writable`; or the disk is full, or the memory.
    """
    require_writable(file, picture.size)
    try:
        with quiet(), atomic(file) as temporary:
            return encoding.encode(picture, temporary, formats.format_of(file), origin)
    except MemoryError as error:
        raise InputError(f"can't write {file}: too large for the memory") from error
    except (OSError, ValueError) as error:
        why = (isinstance(error, OSError) and error.strerror) or error
        raise InputError(f"can't write {file}: {why}") from error


def write(image: Image.Image, file: Path, info: dict[str, Any] | None = None) -> None:
    """Write an image as `save` does.

    Args:
        image: Upright.
        file: Where to.
        info: See `Picture`; of the image's own ``info``, only a profile is written.

    Raises:
        InputError: See `save`.
    """
    bare = image.copy()
    bare.info = {k: v for k, v in image.info.items() if k in ("icc_profile", "transparency")}
    picture = unpack(bare)
    save(replace(picture, info=picture.info | (info or {})), file)


def to_tensor(image: Image.Image) -> Tensor:
    """Return an RGB image as float32 in [0, 1], shape ``13hw``."""
    array = np.asarray(image.convert("RGB"))
    return torch.from_numpy(array.copy()).permute(2, 0, 1)[None].float() / 255


def to_uint8(pictures: Tensor) -> Tensor:
    """Round pictures in [0, 1] to 8 bits, shape unchanged; values beyond are clamped."""
    return pictures.clamp(0, 1).mul(255).round().to(torch.uint8)


def to_image(picture: Tensor) -> Image.Image:
    """Return one picture, ``3HW`` or ``13HW`` in [0, 1], as an RGB image."""
    if picture.ndim == 4:
        (picture,) = picture
    return Image.fromarray(to_uint8(picture).permute(1, 2, 0).contiguous().cpu().numpy())


def frame(image: Image.Image, framing: Framing, size: int) -> Image.Image:
    """Bring an RGB image to ``size`` x ``size`` by Pillow's bicubic.

    Args:
        image: Any shape.
        framing: ``squash`` takes the whole image; ``square`` (and ``jitter``, which crops it
            later) its largest centred square, cut at whole pixels (``(long - short) // 2`` off
            the near side).
        size: Side in pixels.
    """
    if framing != "squash":
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
    return image.resize((size, size), Image.Resampling.BICUBIC)


def bicubic(lr: Tensor, scale: int) -> Tensor:
    """Enlarge by bicubic interpolation with Pillow's kernel: what every model is held against.

    torch's own bicubic enlarges with a = -0.75, Pillow with -0.5; with ``antialias=True`` torch
    uses Pillow's, at any factor, which is what most tables call bicubic.

    Args:
        lr: ``B3hw``.
        scale: Enlargement factor.

    Returns:
        ``B3HW``, H = scale * h; edges may overshoot [0, 1].
    """
    size = (lr.shape[-2] * scale, lr.shape[-1] * scale)
    return interpolate(lr, size=size, mode="bicubic", align_corners=False, antialias=True)
