"""Colours that a network doesn't know: profiles are kept, CMYK and Lab are brought to sRGB.

RGB and grey numbers stay as they are and so does their profile, which makes them right whatever
it says. Those of CMYK and Lab mean nothing to a network; they are brought to sRGB through their
profile, by relative colorimetric intent with black point compensation, as printers' programs do.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from io import BytesIO

import numpy as np
from PIL import Image, ImageCms

_ROWS = 256  # at a time, so that what is in between stays small


@dataclass(frozen=True)
class Separation:
    """The inks that a picture's RGB came from, and how to get back to them.

    Attributes:
        profile: Of the press; without one, ink takes light away as in an ideal one.
    """

    profile: bytes | None = None

    def to_rgb(self, image: Image.Image) -> Image.Image:
        """Return a CMYK image as sRGB.

        Raises:
            ImageCms.PyCMSError, OSError: littlecms can't use the profile.
        """
        if self.profile is None:
            return image.convert("RGB")
        return _apply(_transform(self.profile, srgb(), "CMYK", "RGB"), image)

    def to_cmyk(self, image: Image.Image) -> Image.Image:
        """Return an sRGB image as CMYK.

        Without a profile, all that three inks have in common becomes black: what was printed
        in black only comes back so.
        """
        if self.profile is not None:
            return _apply(_transform(srgb(), self.profile, "RGB", "CMYK"), image)
        return Image.merge("CMYK", [Image.fromarray(ink) for ink in _inks(np.asarray(image))])


@cache
def srgb() -> bytes:
    """Return a profile of sRGB, the same bytes every time."""
    made = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    made[24:36] = bytes.fromhex("07d0 0001 0001 0000 0000 0000")  # when: 2000-01-01
    return bytes(made)


def space(profile: bytes) -> str:
    """Return what a profile describes (``RGB``, ``GRAY``, ``CMYK``), or ``""`` if it is broken.

    Looks at its header only; see `is_whole`.
    """
    whole = len(profile) > 128 and int.from_bytes(profile[:4]) <= len(profile)
    if not whole or profile[36:40] != b"acsp":
        return ""
    return profile[16:20].decode("ascii", "replace").strip()


def is_whole(profile: bytes) -> bool:
    """Return whether littlecms can open a profile."""
    try:
        ImageCms.ImageCmsProfile(BytesIO(profile))
    except OSError:
        return False
    return True


def from_lab(image: Image.Image) -> Image.Image:
    """Return a Lab image (D50) as sRGB."""
    return _apply(_transform(None, srgb(), "LAB", "RGB"), image)


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Return an image of mode RGB, RGBA, L or LA as sRGB: RGB, or RGBA with the same alpha.

    Raises:
        ImageCms.PyCMSError: littlecms can't use the profile.
    """
    mode = "L" if image.mode[0] == "L" else "RGB"
    made = _apply(_transform(profile, srgb(), mode, "RGB"), image.convert(mode))
    if image.mode.endswith("A"):
        made.putalpha(image.getchannel("A"))
    return made


def _transform(
    given: bytes | None, wanted: bytes, given_mode: str, wanted_mode: str
) -> ImageCms.ImageCmsTransform:
    source = (
        ImageCms.createProfile("LAB") if given is None else ImageCms.ImageCmsProfile(BytesIO(given))
    )
    return ImageCms.buildTransform(
        source,
        ImageCms.ImageCmsProfile(BytesIO(wanted)),
        given_mode,
        wanted_mode,
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )


def _apply(transform: ImageCms.ImageCmsTransform, image: Image.Image) -> Image.Image:
    made = ImageCms.applyTransform(image, transform)
    assert made is not None  # None is for changes in place
    made.info.pop("icc_profile", None)  # Pillow puts another copy of sRGB there
    return made


def _inks(rgb: np.ndarray) -> np.ndarray:
    """Return the inks, ``4HW`` uint8, whose light through each other is ``HW3`` uint8."""
    inks = np.empty((4, *rgb.shape[:2]), dtype=np.uint8)
    for top in range(0, len(rgb), _ROWS):
        light = rgb[top : top + _ROWS].astype(np.uint16)
        white = light.max(axis=2)
        inks[3, top : top + _ROWS] = 255 - white
        share = (white[..., None] - light) * 255 + white[..., None] // 2
        coloured = share // np.maximum(white, 1)[..., None]
        inks[:3, top : top + _ROWS] = np.where(white[..., None] > 0, coloured, 0).transpose(2, 0, 1)
    return inks
