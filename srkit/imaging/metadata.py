"""Metadata of image files, and what of it a new size makes wrong.

Whatever is kept must be true of the new image; what is not kept is named. Colours end as a
profile, XMP has `srkit.imaging.xmp`, and `srkit.imaging.formats` lists what a format holds.
"""

from __future__ import annotations

import math
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, cast

from PIL import Image
from PIL.ExifTags import IFD

from srkit.imaging import colour
from srkit.imaging import xmp as packets

XMP, IPTC = 700, 33_723  # tags of a TIFF
_ORIENTATION, _RESOLUTION = 0x0112, 0x011A
_PREFIX = b"Exif\0\0"
_THUMBNAIL, _THUMBNAIL_LENGTH = 0x0201, 0x0202
_WIDTH, _HEIGHT = 0xA002, 0xA003
# Sizes of the old pixels, the thumbnail, where the subject was, the sensor's resolution.
_STALE = {0x0100, 0x0101, _THUMBNAIL, _THUMBNAIL_LENGTH, 0x1001, 0x1002}
_STALE |= {0x9214, 0xA20E, 0xA20F, 0xA210, 0xA214}
_GEOTIFF = {0x830E, 0x8480, 0x8482, 0x85D8, 0x87AF, 0x87B0, 0x87B1}  # places by pixels
# A TIFF's tags that say how its bytes lie, or are kept elsewhere; the rest is EXIF.
LAYOUT = frozenset(
    {*range(0x00FE, 0x010B), 0x0111, *range(0x0115, 0x011D), *range(0x0120, 0x012A), 0x012D}
    | {*range(0x013D, 0x0160), *range(0x0200, 0x0215), XMP, IPTC, 0x8649, 0x8773, 0x935C}
)
_BELOW = (IFD.Exif, IFD.GPSInfo, IFD.Interop)  # directories that an entry points to
_BYTES = {1: 1, 3: 2, 4: 4}  # of an unsigned number, by its type
Entry = tuple[int, int, int, bytes]  # tag, type, count, and the value or its offset
_IPTC_BLOCK = 0x0404  # of the blocks that Photoshop puts into a JPEG

_EXIF_AS_TEXT = "Raw profile type exif"  # in PNGs from before they had a place for it
# Texts of a PNG that are kept elsewhere, or tell of its old pixels.
_OTHER_TEXTS = ("XML:com.adobe.xmp", "Raw profile type", "Thumb::", "exif:")


@dataclass
class Metadata:
    """Metadata of an image file.

    Attributes:
        orientation: EXIF's, 1 (upright) to 8.
        info: See `srkit.imaging.image.DecodedImage`; EXIF and XMP state that it is upright.
        notes: What could not be kept, a line each.
    """

    orientation: int = 1
    info: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def of(image: Any, *, grey: bool = False) -> Metadata:
    """Return the metadata of a Pillow image; what is broken is left out, and noted.

    Args:
        image: Loaded, since some formats keep metadata behind the pixels.
        grey: Whether its channels are equal.
    """
    about = Metadata()
    stated = None
    try:
        exif, stated = _exif(image)
        about.info["exif"] = exif
    except Exception:  # Pillow's may be any; the pixels are as good as ever
        about.notes.append("its EXIF is broken and was left out")
    xmp = _xmp(image)
    about.orientation = stated or packets.orientation(xmp)
    about.info["xmp"], notes = packets.upright(xmp, about.orientation > 1)
    if image.mode != "CMYK":
        about.info["icc_profile"] = _profile(image, grey, about.notes)
    dpi = _dpi(image)
    about.info["dpi"] = dpi[::-1] if dpi and about.orientation > 4 else dpi
    about.info["iptc"] = _iptc(image)
    about.info["text"], about.info["comment"] = _texts(image)
    about.info = {key: value for key, value in about.info.items() if value}
    about.notes += notes + _left_out(image)
    return about


def fitted(info: dict[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    """Return ``info`` with the sizes in EXIF and XMP brought up to date.

    Args:
        info: See `srkit.imaging.image.DecodedImage`.
        size: Width and height of the new image.
    """
    info = dict(info)
    if exif := info.pop("exif", None):
        with suppress(ValueError, struct.error):  # nor is it whole in an image of somebody else's
            info["exif"], _ = edited_exif(exif, size)
    if "xmp" in info:
        info["xmp"] = packets.fitted(info["xmp"], size)
    return info


def orientation(image: Any) -> int:
    """Return the orientation, 1 (upright) to 8, of an image that isn't loaded yet."""
    stated = None
    with suppress(Exception):  # Pillow's may be any
        stated = _exif(image)[1]
    return stated or packets.orientation(_xmp(image))


def _xmp(image: Any) -> bytes:
    xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    return xmp.encode() if isinstance(xmp, str) else bytes(xmp)


def _profile(image: Any, grey: bool, notes: list[str]) -> Any:
    """Return an image's profile, or that of a PNG's colour chunks; None if it has none."""
    profile, cicp = image.info.get("icc_profile"), image.info.get("cicp")
    if image.format == "PNG" and (cicp or not (profile or "srgb" in image.info)):
        gamma, corners = image.info.get("gamma"), image.info.get("chromaticity")
        try:
            profile = colour.of_png(cicp, gamma, corners, grey)
        except (ValueError, ArithmeticError):
            notes.append("what it says of its colours fits no profile and was left out")
    # A grey image may have a profile of RGB: its channels are equal then, and written so.
    if profile and (note := colour.misfit(profile, "RGB", *["GRAY"] * grey)):
        notes.append(note)
        return None
    return profile


def _dpi(image: Any) -> tuple[float, float] | None:
    """Return the resolution that a file states, or None where it makes no sense."""
    if image.format == "TIFF" and _RESOLUTION not in image.tag_v2:
        return None  # Pillow says 1
    if image.format in ("JPEG", "MPO") and image.info.get("jfif_unit", 0) not in (1, 2):
        with suppress(Exception):  # Pillow's may be any
            if _RESOLUTION not in image.getexif():
                return None  # Pillow says 72
    try:
        x, y = (float(value) for value in image.info.get("dpi"))
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return (x, y) if all(math.isfinite(v) and 0.01 <= v <= 65_535 for v in (x, y)) else None


def _iptc(image: Any) -> bytes | None:
    if image.format == "TIFF":
        return cast(bytes | None, image.tag_v2._tagdata.get(IPTC))  # its type is often wrong
    blocks = image.info.get("photoshop")
    return blocks.get(_IPTC_BLOCK) if isinstance(blocks, dict) else None


def _texts(image: Any) -> tuple[dict[str, str], bytes | None]:
    """Return a PNG's texts by their keys, and a file's comment."""
    comment = image.info.get("comment")
    entries = image.text if image.format == "PNG" else {}
    texts = {key: text for key, text in entries.items() if not key.startswith(_OTHER_TEXTS)}
    if "Comment" in texts:
        comment = texts.pop("Comment")
    return texts, comment.encode("utf-8", "replace") if isinstance(comment, str) else comment


def _left_out(image: Any) -> list[str]:
    """Return a note for each part of a file that isn't read."""
    notes = []
    if image.format == "TIFF":
        if _GEOTIFF & {*image.tag_v2}:
            notes.append("its place on the map (GeoTIFF) was left out")
        if image.tag_v2.next:
            notes.append("all pages but the first were left out")
    elif (
        image.format == "MPO"
        or "mp" in image.info
        or (image.format == "HEIF" and getattr(image, "n_frames", 1) > 1)
    ):
        notes.append("all images but the first were left out")
    segments = {name for name, _ in getattr(image, "applist", [])}
    chunks = {each[0] for each in getattr(image, "private_chunks", [])}
    if "APP11" in segments or b"caBX" in chunks:
        notes.append("its Content Credentials (C2PA) were left out")
    return notes


def _exif(image: Any) -> tuple[bytes, int | None]:
    """Return an image's EXIF, upright, and the orientation that it had."""
    exif = image.info.get("exif")
    if image.format == "TIFF" or not isinstance(exif, bytes):
        exif = b""
        if image.format in (None, "TIFF") or _EXIF_AS_TEXT in image.info:
            exif = _encoded(_sound(image.getexif()))  # of a TIFF: all tags of its first page
    return edited_exif(exif) if exif else (b"", None)


def tags_of(exif: bytes) -> dict[int, Any]:
    """Return EXIF's tags as a TIFF has them; none of what is broken."""
    tags = Image.Exif()
    with suppress(Exception):  # Pillow's may be any
        tags.load(exif)
        return _sound(tags)
    return {}


def _sound(tags: Image.Exif) -> dict[int, Any]:
    """Return the tags that are metadata and that Pillow can write."""
    kept: dict[int, Any] = {tag: tags[tag] for tag in tags if tag not in LAYOUT | _GEOTIFF}
    for below in {IFD.Exif, IFD.GPSInfo} & set(kept):
        kept[below] = {
            tag: value
            for tag, value in tags.get_ifd(below).items()
            if tag != IFD.Interop and _is_sound({below: {tag: _text(value)}})
        }
    return {t: _text(value) for t, value in kept.items() if _is_sound({t: _text(value)})}


def _text(value: Any) -> Any:
    """Return text that isn't ASCII as the bytes that it was: Pillow would write '?' for those."""
    if isinstance(value, dict):
        return {tag: _text(inner) for tag, inner in value.items()}
    if isinstance(value, str) and not value.isascii():
        return value.encode("latin-1", "replace")
    return value


def _encoded(tags: dict[int, Any]) -> bytes:
    exif = Image.Exif()
    exif.update(tags)
    return exif.tobytes()


def _is_sound(tags: dict[int, Any]) -> bool:
    """Return whether Pillow can write what it has read."""
    try:
        _encoded(tags)
    except Exception:  # of nearly any kind
        return False
    return True


def edited_exif(exif: bytes, size: tuple[int, int] | None = None) -> tuple[bytes, int | None]:
    """Remove from EXIF what is wrong for a new, upright image, and set that image's size.

    Everything else stays where it is: maker notes use offsets from the beginning of EXIF, and
    text stays the same bytes.

    Args:
        exif: With or without the six bytes that it begins with in a JPEG.
        size: Width and height of the new image, if they are known.

    Returns:
        EXIF, or nothing if no entry is left; and the orientation that it stated, if any.

    Raises:
        ValueError: It isn't EXIF.
        struct.error: It is cut off.
    """
    data = bytearray(exif)
    while data.startswith(_PREFIX):
        del data[: len(_PREFIX)]
    directories = _Directories(data, size)
    (first,) = struct.unpack_from(f"{directories.order}I", data, 4)
    left, thumbnail = directories.edit(first)
    if thumbnail:
        directories.drop_thumbnail(thumbnail)
    return (_PREFIX + bytes(data) if left else b""), directories.orientation


class _Directories:
    """EXIF's directories, edited where they lie."""

    def __init__(self, data: bytearray, size: tuple[int, int] | None) -> None:
        order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(data[:4]))
        if order is None:
            raise ValueError("no EXIF")
        self.data, self.size, self.order = data, size, order
        self.orientation: int | None = None
        self.taken: set[int] = set()  # bytes of directories that were read

    def number(self, value: bytes | bytearray) -> int:
        """Return the number that some bytes are."""
        return int.from_bytes(value, "little" if self.order == "<" else "big")

    def read(self, at: int) -> tuple[list[Entry], int]:
        """Return the entries of the directory at ``at``, and where the next one is.

        Raises:
            ValueError: Another directory overlaps it: to edit both would break them.
        """
        (count,) = struct.unpack_from(f"{self.order}H", self.data, at)
        end = at + 2 + 12 * count
        layout = struct.Struct(f"{self.order}HHI4s")
        entries = [layout.unpack_from(self.data, place) for place in range(at + 2, end, 12)]
        if not self.taken.isdisjoint(range(at, end + 4)):
            raise ValueError("directories overlap")
        self.taken.update(range(at, end + 4))
        return entries, self.number(self.data[end : end + 4])

    def edit(self, at: int) -> tuple[int, int]:
        """Edit a directory and those below; return the number of entries left, and the next."""
        entries, following = self.read(at)
        kept = [changed for entry in entries if (changed := self.changed(entry))]
        written = struct.pack(f"{self.order}H", len(kept))
        written += b"".join(struct.pack(f"{self.order}HHI4s", *entry) for entry in kept)
        length = 2 + 12 * len(entries) + 4
        self.data[at : at + length] = written.ljust(length, b"\0")  # a next one of 0 is none
        return len(kept), following

    def changed(self, entry: Entry) -> Entry | None:
        """Return what becomes of an entry; None if it is left out."""
        tag, kind, _, value = entry
        if tag == _ORIENTATION:
            number = self.number(value[: _BYTES.get(kind, 0)])
            self.orientation = number if 1 <= number <= 8 else 1
            return None
        if tag in (_WIDTH, _HEIGHT) and self.size:
            return tag, 4, 1, struct.pack(f"{self.order}I", self.size[tag == _HEIGHT])
        if tag in _BELOW:
            try:
                return entry if self.edit(self.number(value))[0] else None
            except (ValueError, struct.error):
                return None
        return None if tag in _STALE else entry

    def drop_thumbnail(self, at: int) -> None:
        """Cut or blank the small image of the directory at ``at``."""
        try:
            entries, _ = self.read(at)
        except (ValueError, struct.error):
            return
        values = {tag: self.number(value) for tag, _, _, value in entries}
        start, length = values.get(_THUMBNAIL, 0), values.get(_THUMBNAIL_LENGTH, 0)
        rest = self.data[start + length :]
        end = start + length if rest else len(self.data)
        if start and self.taken.isdisjoint(range(start, end)):
            self.data[start:] = bytes(length) + rest if rest else b""


def iptc_segment(iptc: bytes) -> bytes:
    """Return the segment of a JPEG in which IPTC lies, as Photoshop writes it."""
    block = b"8BIM" + struct.pack(">HHI", _IPTC_BLOCK, 0, len(iptc)) + iptc + bytes(len(iptc) % 2)
    content = b"Photoshop 3.0\0" + block
    return b"\xff\xed" + struct.pack(">H", len(content) + 2) + content
