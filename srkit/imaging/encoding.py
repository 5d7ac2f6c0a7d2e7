"""Pictures -> files of each format: what it holds, how well, and what of it is lost."""

from __future__ import annotations

from contextlib import suppress
from io import BufferedWriter, FileIO, UnsupportedOperation
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from srkit.imaging import colour, metadata, png, provenance, tiff
from srkit.imaging.picture import Picture
from srkit.imaging.provenance import Origin

MARKER = 65_533  # bytes that a segment of a JPEG holds
XMP_MARKER = MARKER - 29  # less the name that it begins by
SRGB_GAMMA = 0.45455

# 4:4:4, since a network draws colours as sharp as brightness.
_QUALITY: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"quality": 95},
    "AVIF": {"quality": 90, "subsampling": "4:4:4"},
}
_OPAQUE = ("JPEG", "BMP")  # as far as Pillow writes them
_INKS = ("JPEG", "TIFF")
_DEEP = ("PNG", "TIFF")


def encode(picture: Picture, file: Path, name: str, origin: Origin | None) -> list[str]:
    """Write a picture.

    Args:
        picture: Of a size that the format holds; see `srkit.imaging.formats.require_writable`.
        file: Where to; its suffix doesn't matter.
        name: The format, as Pillow calls it.
        origin: What made it, to be said in its XMP where the format has a place for that.

    Returns:
        What the format has no place for, a line each.

    Raises:
        OSError, ValueError: It can't be written.
    """
    info = _profiled(picture, metadata.fitted(picture.info, picture.size))
    if origin:
        info["xmp"] = provenance.stamp(info.get("xmp"), origin)
        if name == "JPEG" and len(info["xmp"]) > XMP_MARKER:
            info["xmp"] = provenance.stamp(None, origin)
    lost = _losses(picture, name, info)
    if name == "TIFF":
        inks = np.asarray(_inks(picture)) if picture.separation else None
        lost += tiff.write(picture, file, info, inks)
    elif name == "PNG" and picture.pixels.dtype == np.uint16:
        png.write(picture, file, info)
    else:
        _by_pillow(picture, file, name, info)
    return lost


def _profiled(picture: Picture, info: dict[str, Any]) -> dict[str, Any]:
    """Leave out a profile that is broken or of other channels than the picture has."""
    profile = info.pop("icc_profile", None)
    spaces = ("RGB", "GRAY") if picture.grey else ("RGB",)
    if profile and colour.space(profile) in spaces and colour.is_whole(profile):
        info["icc_profile"] = profile
    return info


def _losses(picture: Picture, name: str, info: dict[str, Any]) -> list[str]:
    """Return what a format has no place for, and take it out of ``info``."""
    lost = []
    if picture.pixels.dtype == np.uint16 and name not in _DEEP:
        lost.append(f"{name} holds 8 bits a channel: its 16 were rounded")
    if picture.alpha is not None and name in _OPAQUE and not _is_opaque(picture.alpha):
        lost.append(f"{name} holds no transparency: it lies on white now")
    if picture.separation and name not in _INKS:
        lost.append(f"{name} holds no CMYK: it is sRGB now")
    gamma = info.get("gamma", SRGB_GAMMA)
    if name != "PNG" and abs(gamma - SRGB_GAMMA) > 0.01:
        lost.append(f"{name} holds no gamma: that of the PNG, {gamma:g}, was left out")
    if name == "JPEG":
        for what, most in (("exif", MARKER), ("xmp", XMP_MARKER)):
            if len(info.get(what, b"")) > most:
                lost.append(f"JPEG holds no {what.upper()} of {len(info.pop(what))} bytes")
    return lost


def _by_pillow(picture: Picture, file: Path, name: str, info: dict[str, Any]) -> None:
    if picture.separation and name in _INKS:
        image = _inks(picture)
        info["icc_profile"] = picture.separation.profile
    else:
        image = picture.to_8_bit_image(opaque=name in _OPAQUE)
        image = _in_srgb_where_needed(image, name, info)
    options: dict[str, Any] = {k: info[k] for k in ("icc_profile", "dpi") if info.get(k)}
    if name == "PNG":
        options["pnginfo"] = png.chunks(info)
    elif info.get("xmp"):
        options["xmp"] = info["xmp"]
    if info.get("exif") and (name != "AVIF" or _is_sound(info["exif"])):
        options["exif"] = info["exif"]
    if name == "WEBP" and info.get("lossless"):
        options["lossless"] = True
    with _Whole(FileIO(file, "w")) as out:
        image.save(out, name, **_QUALITY.get(name, {}), **options)


class _Whole(BufferedWriter):
    """A file that takes all it is given or fails.

    Given a file's number, Pillow has the system write, and overlooks that a disk which is nearly
    full takes less than it was given.
    """

    def fileno(self) -> int:
        raise UnsupportedOperation


def _in_srgb_where_needed(image: Image.Image, name: str, info: dict[str, Any]) -> Image.Image:
    """Bring an image to sRGB where its format holds no such profile: without, colours are others.

    BMP as Pillow writes it holds none, WebP and AVIF as their readers give it back only RGB's.
    """
    profile = info.get("icc_profile")
    if not profile or not (name == "BMP" or (name in ("WEBP", "AVIF") and image.mode[0] == "L")):
        return image
    with suppress(ImageCms.PyCMSError):
        image = colour.to_srgb(image, profile)
    info["icc_profile"] = None if name == "BMP" else colour.srgb()
    return image


def _inks(picture: Picture) -> Image.Image:
    """Return a picture as CMYK."""
    assert picture.separation
    opaque = Picture(picture.pixels, picture.alpha).to_8_bit_image(opaque=True)
    return picture.separation.to_cmyk(opaque)


def _is_opaque(alpha: np.ndarray) -> bool:
    return int(alpha.min()) == np.iinfo(alpha.dtype).max


def _is_sound(exif: bytes) -> bool:
    """Return whether Pillow's AVIF writer, which looks for the orientation, can read EXIF."""
    try:
        Image.Exif().load(exif)
    except Exception:  # of nearly any kind
        return False
    return True
