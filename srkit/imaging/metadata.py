"""What a file says beside its pixels, and what of it a new size makes wrong.

Whatever is kept must be true of the new image; what is not kept is named. Colours end as a
profile, XMP has `srkit.imaging.xmp`, and what a format holds stands in `srkit.imaging.formats`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from PIL import Image
from PIL.ExifTags import IFD

from srkit.imaging import colour
from srkit.imaging import xmp as packets

XMP, IPTC = 700, 33_723  # tags of a TIFF
_ORIENTATION, _RESOLUTION = 0x0112, 0x011A
_PREFIX = b"Exif\0\0"
_THUMBNAIL, _THUMBNAIL_LENGTH = 0x0201, 0x0202
_WIDTH, _HEIGHT = 0xA002, 0xA003
# Where in the frame the subject was, and how many pixels the sensor had: not of the new pixels.
_OF_OLD_PIXELS = (0x9214, 0xA214, 0xA20E, 0xA20F, 0xA210, 0x1001, 0x1002)
_GEOTIFF = {0x830E, 0x8480, 0x8482, 0x85D8, 0x87AF, 0x87B0, 0x87B1}  # places by pixels
# A TIFF's tags that say how its bytes lie, or are kept elsewhere; the rest is EXIF.
LAYOUT = frozenset(
    {*range(0x00FE, 0x010B), 0x0111, *range(0x0115, 0x011D), *range(0x0120, 0x012A), 0x012D}
    | {*range(0x013D, 0x0160), *range(0x0200, 0x0215), XMP, IPTC, 0x8649, 0x8773, 0x935C}
)
_BELOW = (IFD.Exif, IFD.GPSInfo, IFD.Interop)  # directories that an entry points to
_BYTES = {1: 1, 3: 2, 4: 4}  # of an unsigned number, by its type
_IPTC_BLOCK = 0x0404  # of the blocks that Photoshop puts into a JPEG

_EXIF_AS_TEXT = "Raw profile type exif"  # in PNGs from before they had a place for it
# Texts of a PNG that are kept elsewhere, or tell of its old pixels.
_OTHER_TEXTS = ("XML:com.adobe.xmp", "Raw profile type", "Thumb::", "exif:")

Order = Literal["little", "big"]
Entry = tuple[int, int, int, bytes]  # tag, type, count, and the value or where it lies
Edit = Callable[[Entry, Order], Entry | None]


@dataclass
class Metadata:
    """What an image's file says beside its pixels.

    Attributes:
        orientation: EXIF's, 1 (upright) to 8.
        info: See `srkit.imaging.image.DecodedImage`; EXIF and XMP say "upright".
        notes: What could not be kept, a line each.
    """

    orientation: int = 1
    info: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def of(image: Any, *, grey: bool = False) -> Metadata:
    """Return what the file of a Pillow image says; what is broken is left out, and noted.

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
    about.info["icc_profile"] = _profile(image, grey, about.notes)
    dpi = _dpi(image)
    about.info["dpi"] = dpi[::-1] if dpi and about.orientation > 4 else dpi
    about.info["iptc"] = _iptc(image)
    about.info["text"], about.info["comment"] = _texts(image)
    about.info = {key: value for key, value in about.info.items() if value}
    about.notes += notes + _left_out(image)
    return about


def fitted(info: dict[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    """Return ``info`` with the sizes that EXIF and XMP state brought up to date.

    Args:
        info: See `srkit.imaging.image.DecodedImage`.
        size: Width and height of the image that it will go with.
    """
    info = dict(info)
    if exif := info.pop("exif", None):
        with suppress(ValueError, struct.error):  # nor is it whole in an image of somebody else's
            info["exif"] = _edited(exif, lambda entry, order: _sized(entry, order, size))
    if "xmp" in info:
        info["xmp"] = packets.fitted(info["xmp"], size)
    return info


def orientation(image: Any) -> int:
    """Return what `of` will say, of an image that isn't loaded yet."""
    stated = None
    with suppress(Exception):  # Pillow's may be any
        stated = _exif(image)[1]
    return stated or packets.orientation(_xmp(image))


def _xmp(image: Any) -> bytes:
    xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    return xmp.encode() if isinstance(xmp, str) else bytes(xmp)


def _profile(image: Any, grey: bool, notes: list[str]) -> Any:
    """Return an image's profile; that of other colour chunks, where it is a PNG."""
    profile, cicp = image.info.get("icc_profile"), image.info.get("cicp")
    if image.format != "PNG" or (not cicp and (profile or "srgb" in image.info)):
        return profile
    gamma, corners = image.info.get("gamma"), image.info.get("chromaticity")
    try:
        return colour.of_png(cicp, gamma, corners, grey)
    except (ValueError, ArithmeticError):
        notes.append("what it says of its colours fits no profile and was left out")
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
    """Return what else comes with an image and isn't read, a line each."""
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
        exif = _exif_of_tags(image)
    return _upright(exif) if exif else (b"", None)


def _exif_of_tags(image: Any) -> bytes:
    """Return EXIF made of the tags that Pillow finds."""
    if image.format not in (None, "TIFF") and _EXIF_AS_TEXT not in image.info:
        return b""
    exif = Image.Exif()
    exif.update(_sound(image.getexif()))  # of a TIFF all tags of its first directory
    return exif.tobytes()


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


def _is_sound(tags: dict[int, Any]) -> bool:
    """Return whether Pillow can write what it has read."""
    exif = Image.Exif()
    exif.update(tags)
    try:
        exif.tobytes()
    except Exception:  # of nearly any kind
        return False
    return True


def _upright(exif: bytes) -> tuple[bytes, int | None]:
    """Take orientation and thumbnail out; return the rest, and the orientation if it has one."""
    orientation = None

    def edit(entry: Entry, order: Order) -> Entry | None:
        nonlocal orientation
        tag, kind, _, value = entry
        if tag == _ORIENTATION:
            number = int.from_bytes(value[: _BYTES.get(kind, 0)], order)
            orientation = number if 1 <= number <= 8 else 1
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
    while data.startswith(_PREFIX):
        del data[: len(_PREFIX)]
    order = {b"II*\0": "little", b"MM\0*": "big"}.get(bytes(data[:4]))
    if order is None:
        raise ValueError("no EXIF")
    tree = _Tree(data, "<" if order == "little" else ">", cast(Order, order))
    (first,) = struct.unpack_from(f"{tree.mark}I", data, 4)
    left, following = tree.edit(first, edit)
    if following:
        tree.drop_thumbnail(following)
    return _PREFIX + bytes(data) if left else b""


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
    def _meet(first: range, second: range) -> bool:
        return first.start < second.stop and second.start < first.stop

    def drop_thumbnail(self, at: int) -> None:
        """Cut or blank the small image that the directory at ``at`` is about."""
        values: dict[int, int] = {}

        def look(entry: Entry, order: Order) -> Entry:
            values[entry[0]] = int.from_bytes(entry[3], order)
            return entry

        try:
            self.edit(at, look)
        except (ValueError, struct.error):
            return
        start, length = values.get(_THUMBNAIL, 0), values.get(_THUMBNAIL_LENGTH, 0)
        rest = self.data[start + length :]
        place = range(start, start + length if rest else len(self.data))
        if start and not any(self._meet(place, other) for other in self.taken):
            self.data[start:] = bytes(length) + rest if rest else b""


def iptc_segment(iptc: bytes) -> bytes:
    """Return the segment of a JPEG in which IPTC lies, as Photoshop writes it."""
    block = b"8BIM" + struct.pack(">HHI", _IPTC_BLOCK, 0, len(iptc)) + iptc + bytes(len(iptc) % 2)
    content = b"Photoshop 3.0\0" + block
    return b"\xff\xed" + struct.pack(">H", len(content) + 2) + content
