"""What a file says beyond pixels: EXIF, XMP, resolution; what of it a new size makes wrong."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from PIL import Image
from PIL.ExifTags import IFD

EXIF_ORIENTATION = 0x0112
_EXIF = b"Exif\0\0"
_THUMBNAIL, _THUMBNAIL_LENGTH = 0x0201, 0x0202
_WIDTH, _HEIGHT = 0xA002, 0xA003
# Where in the frame the subject was, and how many pixels the sensor had: not of the new pixels.
_OF_OLD_PIXELS = (0x9214, 0xA214, 0xA20E, 0xA20F, 0xA210, 0x1001, 0x1002)
# Of a TIFF's tags, those that say how its bytes lie, or are kept elsewhere; the rest is EXIF.
LAYOUT = frozenset(
    {*range(0x00FE, 0x010B), 0x0111, *range(0x0115, 0x011D), *range(0x0120, 0x012A), 0x012D}
    | {*range(0x013D, 0x0160), *range(0x0200, 0x0215), 0x02BC, 0x83BB, 0x8649, 0x8773, 0x935C}
)

_EXIF_AS_TEXT = "Raw profile type exif"  # in PNGs from before they had a place for it
_PNG_COLOURS = ("gamma", "chromaticity")
_BELOW = (IFD.Exif, IFD.GPSInfo, IFD.Interop)  # directories that an entry points to
_BYTES = {1: 1, 3: 2, 4: 4}  # of an unsigned number, by its type

Order = Literal["little", "big"]
Entry = tuple[int, int, int, bytes]  # tag, type, count, and the value or where it lies
Edit = Callable[[Entry, Order], Entry | None]


@dataclass
class Metadata:
    """What a picture's file says beyond pixels.

    Attributes:
        orientation: EXIF's, 1 (upright) to 8.
        info: What Pillow's ``save`` takes, of ``exif``, ``xmp`` and ``dpi``; EXIF and XMP
            say "upright". Of a PNG also ``gamma`` and ``chromaticity``.
        notes: What could not be kept, a line each.
    """

    orientation: int = 1
    info: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def of(image: Image.Image) -> Metadata:
    """Return what a Pillow image's file says; broken EXIF is left out, and a note says so."""
    found = Metadata()
    stated = None
    try:
        exif = _exif(image)
        if exif:
            exif, stated = _upright(exif)
            if exif:
                found.info["exif"] = exif
    except Exception:  # Pillow's may be any; the pixels are as good as ever
        found.notes.append("its EXIF is broken and was left out")
    xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    if isinstance(xmp, str):
        xmp = xmp.encode()
    if isinstance(xmp, bytes) and xmp:
        if stated is None and (turned := _XMP_ORIENTATION.search(xmp)):
            stated = int(turned[2])
        found.info["xmp"] = _XMP_ORIENTATION.sub(rb"\g<1>1", xmp)
    found.orientation = stated or 1
    # Numbers of a linear PNG look wrong without its gamma; a profile or sRGB goes before it.
    if image.format == "PNG" and not {"icc_profile", "srgb"} & image.info.keys():
        found.info.update({k: image.info[k] for k in _PNG_COLOURS if k in image.info})
    if dpi := _dpi(image.info.get("dpi")):
        found.info["dpi"] = dpi if found.orientation < 5 else dpi[::-1]
    return found


def fitted(info: dict[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    """Return ``info`` with the sizes that EXIF and XMP state brought up to date.

    Args:
        info: See `Metadata`.
        size: Width and height of the picture that it will go with.
    """
    info = dict(info)
    if exif := info.pop("exif", None):
        with suppress(ValueError, struct.error):  # nor is it whole in an image of somebody else's
            info["exif"] = _edited(exif, lambda entry, order: _sized(entry, order, size))
    if xmp := info.get("xmp"):
        for names, value in zip(_XMP_SIZES, size, strict=True):
            xmp = names.sub(rb"\g<1>%d" % value, xmp)
        info["xmp"] = xmp
    return info


def _exif(image: Image.Image) -> bytes:
    """Return a picture's EXIF as bytes, or nothing."""
    exif = image.info.get("exif")
    if image.format != "TIFF" and isinstance(exif, bytes):
        return exif
    if image.format not in (None, "TIFF") and _EXIF_AS_TEXT not in image.info:
        return b""
    tags = image.getexif()  # of a TIFF the first directory, in which EXIF's own tags lie, too
    kept: dict[int, Any] = {tag: tags[tag] for tag in tags if tag not in LAYOUT}
    for below in {IFD.Exif, IFD.GPSInfo} & set(kept):
        kept[below] = {
            tag: value
            for tag, value in tags.get_ifd(below).items()
            if tag != IFD.Interop and _is_sound({below: {tag: _text(value)}})
        }
    made = Image.Exif()
    made.update({t: _text(value) for t, value in kept.items() if _is_sound({t: _text(value)})})
    return made.tobytes()


def _text(value: Any) -> Any:
    """Return text that isn't ASCII as the bytes that it was: Pillow would write '?' for those."""
    if isinstance(value, dict):
        return {tag: _text(inner) for tag, inner in value.items()}
    if isinstance(value, str) and not value.isascii():
        return value.encode("latin-1", "replace")
    return value


def _is_sound(tags: dict[int, Any]) -> bool:
    """Return whether Pillow can write what it has read."""
    made = Image.Exif()
    made.update(tags)
    try:
        made.tobytes()
    except Exception:  # of nearly any kind
        return False
    return True


def _upright(exif: bytes) -> tuple[bytes, int | None]:
    """Take orientation and thumbnail out; return the rest, and the orientation if it has one."""
    orientation = None

    def edit(entry: Entry, order: Order) -> Entry | None:
        nonlocal orientation
        tag, kind, _, value = entry
        if tag == EXIF_ORIENTATION:
            given = int.from_bytes(value[: _BYTES.get(kind, 0)], order)
            orientation = given if 1 <= given <= 8 else 1
            return None
        return None if tag in (_THUMBNAIL, _THUMBNAIL_LENGTH, 0x0100, 0x0101) else entry

    return _edited(exif, edit), orientation


def _sized(entry: Entry, order: Order, size: tuple[int, int]) -> Entry | None:
    tag = entry[0]
    if tag in (_WIDTH, _HEIGHT):
        return (tag, 4, 1, size[tag == _HEIGHT].to_bytes(4, order))
    return None if tag in _OF_OLD_PIXELS else entry


def _edited(exif: bytes, edit: Edit) -> bytes:
    """Change or drop entries of EXIF's directories where they lie, and drop the thumbnail.

    Everything else stays where it is: makers' notes point into EXIF from its beginning, and text
    stays the bytes that it was.

    Args:
        exif: With or without the six bytes that it begins by in a JPEG.
        edit: Given an entry and the order of its bytes.

    Returns:
        EXIF, or nothing if no entry is left.

    Raises:
        ValueError: It isn't EXIF.
        struct.error: It is cut off.
    """
    data = bytearray(exif)
    while data.startswith(_EXIF):
        del data[: len(_EXIF)]
    order = {b"II*\0": "little", b"MM\0*": "big"}.get(bytes(data[:4]))
    if order is None:
        raise ValueError("no EXIF")
    tree = _Tree(data, "<" if order == "little" else ">", cast(Order, order))
    (first,) = struct.unpack_from(f"{tree.mark}I", data, 4)
    left, following = tree.edit(first, edit)
    if following:
        tree.drop_thumbnail(following)
    return _EXIF + bytes(data) if left else b""


@dataclass
class _Tree:
    """EXIF's directories, edited where they lie."""

    data: bytearray
    mark: str  # struct's, of the order
    order: Order
    taken: list[range] = field(default_factory=list)  # bytes of directories

    def edit(self, at: int, edit: Edit) -> tuple[int, int]:
        """Edit the directory at ``at`` and those below; return the entries left, and the next."""
        (count,) = struct.unpack_from(f"{self.mark}H", self.data, at)
        self.take(range(at, at + 6 + 12 * count))
        layout = f"{self.mark}HHI4s"
        kept: list[Entry] = []
        for entry in [struct.unpack_from(layout, self.data, at + 2 + 12 * i) for i in range(count)]:
            changed = edit(entry, self.order)
            if changed and (entry[0] not in _BELOW or self.edit_below(entry, edit)):
                kept.append(changed)
        end = at + 2 + 12 * count
        following = int.from_bytes(self.data[end : end + 4], self.order)
        written = struct.pack(f"{self.mark}H", len(kept))
        written += b"".join(struct.pack(layout, *entry) for entry in kept)
        self.data[at : end + 4] = written.ljust(end + 4 - at, b"\0")  # a next one of 0 is none
        return len(kept), following

    def edit_below(self, entry: Entry, edit: Edit) -> bool:
        """Edit the directory that an entry points to; return whether anything is left of it."""
        at = int.from_bytes(entry[3], self.order)
        try:
            return self.edit(at, edit)[0] > 0
        except (ValueError, struct.error):
            return False

    def take(self, place: range) -> None:
        """Note where a directory lies.

        Raises:
            ValueError: Another one lies there, too: to edit both would break them.
        """
        if any(self._meet(place, other) for other in self.taken):
            raise ValueError("directories overlap")
        self.taken.append(place)

    @staticmethod
    def _meet(one: range, other: range) -> bool:
        return one.start < other.stop and other.start < one.stop

    def drop_thumbnail(self, at: int) -> None:
        """Cut or blank the small picture that the directory at ``at`` is about."""
        found: dict[int, int] = {}

        def look(entry: Entry, order: Order) -> Entry:
            found[entry[0]] = int.from_bytes(entry[3], order)
            return entry

        try:
            self.edit(at, look)
        except (ValueError, struct.error):
            return
        start, length = found.get(_THUMBNAIL, 0), found.get(_THUMBNAIL_LENGTH, 0)
        rest = self.data[start + length :]
        place = range(start, start + length if rest else len(self.data))
        if start and not any(self._meet(place, other) for other in self.taken):
            self.data[start:] = bytes(length) + rest if rest else b""


# As attributes and as elements; what other prefixes stand for is another matter.
_XMP_VALUE = rb"""(?:\s*=\s*["']|\s*>\s*)"""
_XMP_ORIENTATION = re.compile(rb"(tiff:Orientation" + _XMP_VALUE + rb")([2-8])(?=\D)")
_XMP_SIZES = tuple(
    re.compile(rb"((?:tiff:Image%s|exif:Pixel%sDimension)" % names + _XMP_VALUE + rb")\d+")
    for names in ((b"Width", b"X"), (b"Length", b"Y"))
)


def _dpi(given: Any) -> tuple[float, float] | None:
    """Return a resolution, or None where the file has none that makes sense."""
    try:
        x, y = (float(value) for value in given)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return (x, y) if all(math.isfinite(v) and 0.01 <= v <= 65_535 for v in (x, y)) else None
