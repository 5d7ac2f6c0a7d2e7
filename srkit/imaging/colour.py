"""Colour profiles and CMYK.

RGB and grey values stay as they are, and so does their profile. CMYK is converted to sRGB through
its profile, by relative colorimetric intent with black point compensation, as printers' programs
do. A PNG's other colour chunks become a profile, which every format and program knows.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, ImageCms

_ROWS = 256  # at a time, so that what is in between stays small
_D50 = np.array([0.9642, 1, 0.8249])  # the white of profiles
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
_SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
_BT709_CURVE = (1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)
_D65 = (0.3127, 0.329)
_SRGB_CORNERS = (*_D65, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
# cICP's numbers (ITU-T H.273): x and y of white, red, green and blue; the curve.
_PRIMARIES = {
    1: _SRGB_CORNERS,
    5: (*_D65, 0.64, 0.33, 0.29, 0.6, 0.15, 0.06),
    6: (*_D65, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07),
    9: (*_D65, 0.708, 0.292, 0.17, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),
    12: (*_D65, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),
}
_CURVES = {
    **dict.fromkeys((1, 6, 14, 15), _BT709_CURVE),
    4: (2.2, 1.0, 0.0, 0.0, 0.0),
    5: (2.8, 1.0, 0.0, 0.0, 0.0),
    8: (1.0, 1.0, 0.0, 0.0, 0.0),
    13: _SRGB_CURVE,
}


@dataclass(frozen=True)
class Separation:
    """The inks that an image's RGB came from, and how to get back to them.

    Without a press's ``profile``, ink takes light away as in an ideal one.
    """

    profile: bytes | None = None

    def to_rgb(self, image: Image.Image) -> Image.Image:
        """Return a CMYK image as sRGB; littlecms raises what it can't do."""
        if self.profile is None:
            return image.convert("RGB")
        return _converted(image, self.profile, srgb(), "RGB")

    def to_cmyk(self, image: Image.Image) -> Image.Image:
        """Return an sRGB image as CMYK.

        Without a profile, all that three inks have in common becomes black: what was printed
        in black only comes back so.
        """
        if self.profile is not None:
            return _converted(image, srgb(), self.profile, "CMYK")
        return Image.merge("CMYK", [Image.fromarray(ink) for ink in _inks(np.asarray(image))])


@cache
def srgb() -> bytes:
    """Return a profile of sRGB, the same bytes every time."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = bytes.fromhex("07d0 0001 0001 0000 0000 0000")  # when: 2000-01-01
    return bytes(profile)


def space(profile: bytes) -> str:
    """Return the colour space of a profile (``RGB``, ``GRAY``, ``CMYK``), or ``""`` if broken."""
    try:
        stated = ImageCms.ImageCmsProfile(BytesIO(profile)).profile.xcolor_space.strip()
    except (OSError, ValueError):
        return ""
    return stated if stated.isalnum() else ""


def misfit(profile: Any, *spaces: str) -> str:
    """Return a note on a profile that is broken or of none of some spaces, or ``""``."""
    actual = space(profile) if isinstance(profile, bytes) else ""
    if actual in spaces:
        return ""
    why = f"is one of {actual}" if actual else "is broken"
    return f"its colour profile {why} and was left out"


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Return an image of mode RGB, RGBA, L or LA as sRGB: RGB, or RGBA with the same alpha."""
    result = _converted(image.convert(image.mode.rstrip("A")), profile, srgb(), "RGB")
    if image.mode.endswith("A"):
        result.putalpha(image.getchannel("A"))
    return result


def of_png(
    cicp: bytes | None, gamma: float | None, corners: tuple[float, ...] | None, grey: bool
) -> bytes | None:
    """Return the profile of what the chunks of a PNG say, or None for sRGB.

    ``cicp`` (``cICP``) goes before the others. Without ``gamma`` (``gAMA``) values lie on sRGB's
    curve; ``corners`` (``cHRM``) are x and y of white, red, green and blue, sRGB's if None.
    ValueError: no profile says that (HDR, or numbers that make no sense).
    """
    curve = _SRGB_CURVE
    if cicp:
        primaries, transfer, matrix, full = cicp[:4].ljust(4, b"\0")
        if primaries not in _PRIMARIES or transfer not in _CURVES or (matrix, full) != (0, 1):
            raise ValueError("cICP")
        corners, curve = _PRIMARIES[primaries], _CURVES[transfer]
    corners = corners or _SRGB_CORNERS
    usual = grey or np.allclose(corners, _SRGB_CORNERS, atol=0.002)
    if not cicp and gamma is not None and not (usual and abs(gamma - 0.45455) < 0.01):
        curve = (1 / gamma, 1.0, 0.0, 0.0, 0.0)
    return None if usual and curve == _SRGB_CURVE else _profile(corners, curve, grey)


def _profile(corners: tuple[float, ...], curve: tuple[float, ...], grey: bool) -> bytes:
    """Return a profile (ICC.1:2022, version 4) of three primaries and a curve, or of a curve."""
    white, *primaries = (
        np.array([x / y, 1, (1 - x - y) / y])
        for x, y in zip(corners[::2], corners[1::2], strict=True)
    )
    response = _BRADFORD @ white
    adapted = np.linalg.inv(_BRADFORD) @ np.diag(_BRADFORD @ _D50 / response) @ _BRADFORD
    light = np.array(primaries).T
    light = adapted @ (light * np.linalg.solve(light, white))
    text = "PNG".encode("utf-16-be")
    name = b"mluc" + struct.pack(">4x2I4s2I", 1, 12, b"enUS", len(text), 28) + text
    lines = {b"desc": name, b"cprt": name, b"wtpt": _numbers(b"XYZ ", _D50)}
    shape = _numbers(b"para", curve, b"\0\3\0\0")
    if grey:
        lines[b"kTRC"] = shape
    else:
        lines[b"chad"] = _numbers(b"sf32", adapted.ravel())
        for column, colour in enumerate((b"r", b"g", b"b")):
            lines[colour + b"XYZ"] = _numbers(b"XYZ ", light[:, column])
            lines[colour + b"TRC"] = shape
    table, body = struct.pack(">I", len(lines)), b""
    for key, content in lines.items():
        start = 132 + 12 * len(lines) + len(body)
        table += key + struct.pack(">2I", start, len(content))
        body += content + bytes(-len(content) % 4)
    head = bytearray(srgb()[:128])
    head[:4] = struct.pack(">I", len(head) + len(table) + len(body))
    head[16:20] = b"GRAY" if grey else b"RGB "
    return bytes(head) + table + body


def _numbers(kind: bytes, values: Sequence[float] | np.ndarray, before: bytes = b"") -> bytes:
    """Return an ICC element of numbers with 16 bits behind the point."""
    whole = np.rint(np.asarray(values) * 65_536)
    if not (np.abs(whole) < 2**31).all():
        raise ValueError("numbers that no profile holds")
    return kind + bytes(4) + before + bytes(whole.astype(">i4").data)


def _converted(image: Image.Image, source: bytes, target: bytes, mode: str) -> Image.Image:
    """Return an image in another profile and mode."""
    transform = ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(BytesIO(source)),
        ImageCms.ImageCmsProfile(BytesIO(target)),
        image.mode,
        mode,
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    result = ImageCms.applyTransform(image, transform)
    assert result is not None  # None is for changes in place
    result.info.pop("icc_profile", None)  # Pillow puts another copy of sRGB there
    return result


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
