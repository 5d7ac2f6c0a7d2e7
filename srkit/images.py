"""File <-> tensor: the only place where bytes, ranges, alpha, profiles and EXIF meet."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.nn.functional import interpolate

from srkit.errors import InputError
from srkit.files import atomic

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp"})
EXIF_ORIENTATION = 0x0112
# Description, make, model, software, date, artist, copyright.
TIFF_TAGS = (0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298)
# Refuses decompression bombs before they are decoded, below where Pillow would (178,956,970).
MAX_PIXELS = 150_000_000
ANIMATED = ("GIF", "PNG", "WEBP", "AVIF")
# PostScript is a program, which Pillow would have Ghostscript run; a picture is only data.
PROGRAMS = ("EPS",)

Framing = Literal["square", "squash"]


@dataclass(frozen=True)
class Picture:
    """A decoded picture and what must survive the trip through a network.

    Attributes:
        rgb: Upright, mode RGB.
        alpha: Mode L, or None.
        grey: Whether the file was grey, so that the result is grey again.
        info: What Pillow's ``save`` takes: ``icc_profile``, ``exif``, ``dpi``.
    """

    rgb: Image.Image
    alpha: Image.Image | None = None
    grey: bool = False
    info: dict[str, Any] = field(default_factory=dict)


def read(file: Path | str, encoded: bytes | None = None) -> Picture:
    """Decode a file, turned upright by its EXIF orientation.

    Args:
        file: Where it is, or what to call it if ``encoded`` is given.
        encoded: What is in it, where that is in memory already.

    Raises:
        InputError: Missing, unreadable, truncated, or too large; the message begins with ``file``
            and says the same wherever that lies.
    """
    try:
        with Image.open(file if encoded is None else BytesIO(encoded)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise InputError(f"{file}: {image.width}x{image.height} pixels are too many")
            # Phones' JPEGs carry a second frame (MPO), scans several pages: the first is meant.
            if image.format in ANIMATED and getattr(image, "is_animated", False):
                raise InputError(f"{file}: animated pictures are not supported")
            if image.format in PROGRAMS:
                raise InputError(f"{file}: {image.format} is a program and isn't run")
            image.load()
            return unpack(image)
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{file}: no such file") from error
    except UnidentifiedImageError as error:
        raise InputError(f"{file}: not a readable picture (of no known format)") from error
    # Pillow's decoders raise nearly any kind of error on broken bytes; none is our bug.
    except Exception as error:
        why = (isinstance(error, OSError) and error.strerror) or error
        why = str(why) or type(error).__name__
        raise InputError(f"{file}: not a readable picture ({why})") from error


def unpack(image: Image.Image) -> Picture:
    """Split a Pillow image of any mode into what a network can take and what goes around it."""
    info: dict[str, Any] = {}
    tags = image.getexif()
    upright = ImageOps.exif_transpose(image)
    exif = upright.getexif()
    exif.pop(EXIF_ORIENTATION, None)
    if image.format == "TIFF":
        # A TIFF's tags say as much of how its bytes lie as of the picture; these are the picture's.
        exif.update({tag: tags[tag] for tag in TIFF_TAGS if tag in tags})
    if len(exif):
        info["exif"] = exif.tobytes()
    if "dpi" in image.info:
        info["dpi"] = image.info["dpi"]
    # A profile describes the file's own channels: a CMYK one would be wrong on the RGB result.
    if image.info.get("icc_profile") and image.mode not in ("CMYK", "YCCK"):
        info["icc_profile"] = image.info["icc_profile"]
    if upright.mode.startswith("I;16") or upright.mode in ("I", "F"):
        upright = _to_8_bits(upright)
    grey = upright.mode in ("1", "L", "LA", "La")
    if upright.mode == "P" or "transparency" in upright.info:
        upright = upright.convert("RGBA" if "transparency" in upright.info else "RGB")
    alpha = upright.convert("RGBA").getchannel("A") if upright.has_transparency_data else None
    return Picture(upright.convert("RGB"), alpha, grey, info)


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Bring 16-bit and float greys to 8 bits by their range (Pillow's convert would clip)."""
    values = np.asarray(image, dtype=np.float64)
    top = 65535.0 if image.mode != "F" else 1.0
    return Image.fromarray((values / top * 255).clip(0, 255).round().astype(np.uint8))


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
        framing: ``squash`` takes the whole picture; ``square`` its largest centred square,
            cut at whole pixels (``(long - short) // 2`` off the near side).
        size: Side in pixels.
    """
    if framing == "square":
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


def pack(sr: Image.Image, picture: Picture) -> Image.Image:
    """Put alpha (enlarged by Lanczos) and greyness of the input back on its upscaled RGB."""
    result = sr.convert("L") if picture.grey else sr
    if picture.alpha is not None:
        result.putalpha(picture.alpha.resize(sr.size, Image.Resampling.LANCZOS))
    return result


def write(image: Image.Image, file: Path, info: dict[str, Any] | None = None) -> None:
    """Encode by the file's suffix; the file appears under its name only when it is whole.

    Raises:
        InputError: The suffix is unknown, or the folder can't be written.
    """
    suffix = file.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{file}: can't write '{suffix}', only {', '.join(sorted(SUFFIXES))}")
    if suffix in (".jpg", ".jpeg", ".bmp") and image.mode in ("RGBA", "LA"):
        image = image.convert("L" if image.mode == "LA" else "RGB")
    quality = {"quality": 95} if suffix in (".jpg", ".jpeg", ".webp") else {}
    try:
        with atomic(file) as temporary:
            image.save(temporary, Image.registered_extensions()[suffix], **quality, **(info or {}))
    except (OSError, ValueError) as error:
        raise InputError(f"can't write {file}: {error}") from error


def listed(folder: Path) -> list[Path]:
    """Return the picture files below a folder, sorted by path, but for hidden ones.

    Raises:
        InputError: There is no such folder, no picture in it, or a folder that can't be read.
    """
    if not os.path.isdir(folder):  # noqa: PTH112 - says no where Path.is_dir may not look
        raise InputError(f"{folder}: no such folder")
    found: list[str] = []
    left = [str(folder)]
    while left:
        try:
            with os.scandir(left.pop()) as entries:  # Path.rglob takes ten times as long
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):  # nor could links go round in circles
                        left.append(entry.path)
                    elif _has_suffix(entry.name) and entry.is_file():
                        found.append(entry.path)
        except OSError as error:
            why = error.strerror or error
            raise InputError(f"{error.filename}: can't look into this folder ({why})") from error
    if not found:
        raise InputError(f"{folder}: no pictures in it ({', '.join(sorted(SUFFIXES))})")
    found.sort(key=lambda file: os.path.normcase(file).split(os.sep))  # noqa: PTH206 - as Path
    return [Path(file) for file in found]


def _has_suffix(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES  # noqa: PTH122 - there may be millions
