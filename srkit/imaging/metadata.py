"""Metadata of image files, and what of it a new size makes wrong.

Whatever is kept must be true of the new image; what is not kept is named. `srkit.imaging.carried`
lists what there is, and what formats hold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from srkit.imaging import carried, colour, containers, exif
from srkit.imaging import xmp as packets

# Tags of a TIFF.
XMP, IPTC, _PHOTOSHOP, _PROFILE = 700, 33_723, 34_377, 34_675
_DESCRIPTION, _UNIT, _WHITE, _PRIMARIES, _EXTRA = 270, 296, 318, 319, 338
_SHAPE = (b'{"shape"', b"shape=")  # of the old pixels, by tifffile
_OWN = frozenset(  # tags of a TIFF that are EXIF
    {269, 270, 271, 272, 274, 282, 283, 285, 286, 287, 296, 305, 306, 315, 316, 33_432}
    | {exif.EXIF, exif.GPS, 0x4746, 0x4749, *range(0x9C9B, 0x9CA0), 0xC4A5}
)
# Blocks of Photoshop's that are kept elsewhere, or tell of the old image: IPTC and its sum, XMP,
# EXIF, profile, resolution, thumbnails, version.
_BLOCKS = {containers.IPTC_BLOCK, 0x03ED, 0x0409, 0x040C, 0x040F}
_BLOCKS |= {0x0421, 0x0422, 0x0423, 0x0424, 0x0425}
# Texts of a PNG that are kept elsewhere, or tell of its old pixels.
_TEXTS = ("tEXt", "zTXt", "iTXt")
_OTHER_TEXTS = ("XML:com.adobe.xmp", "Raw profile type", "Thumb::", "exif:")
_EXTENSION = b"http://ns.adobe.com/xmp/extension/\0"
_ADOBE_RGB = (0.3127, 0.329, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
_HDR = ("cICP", "mDCV", "cLLI")


@dataclass
class Metadata:
    """Metadata of an image file.

    Attributes:
        orientation: By which its pixels are still to be turned, EXIF's, 1 (upright) to 8.
        info: See `srkit.imaging.image.DecodedImage`; EXIF and XMP state that it is upright.
        notes: What could not be kept, a line each.
    """

    orientation: int = 1
    info: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def left_out(self, name: str) -> None:
        """Note an item that is left out."""
        self.notes.append(carried.BY_NAME[name].note)

    def unknown(self, names: Sequence[str]) -> None:
        """Note parts that are left out because nothing here knows them."""
        if names := [name for name in dict.fromkeys(names) if name]:
            note = carried.BY_NAME["unknown parts"].note
            self.notes.append(f"{note}: {', '.join(names)}")


def of(image: Any, stream: BinaryIO | None = None, *, grey: bool = False) -> Metadata:
    """Return the metadata of an image; what is broken is left out, and noted.

    The image is loaded, since some formats keep metadata behind the pixels; it is None for a TIFF
    that Pillow doesn't know. ``stream`` is its file, ``grey`` whether its channels are equal.
    """
    about, contents = Metadata(), list[containers.Part]()
    if stream and (image is None or image.format == "TIFF"):
        stated = _read_tiff(about, stream, grey)
    else:
        stated = _exif_of(about, image)
        family = {"MPO": "JPEG", "HEIF": "AVIF"}.get(image.format, image.format or "")
        contents = containers.of(stream, family) if stream else []
        _read_parts(about, contents, family)
        if image.format == "HEIF" and getattr(image, "n_frames", 1) > 1:
            about.left_out("further images (MPF), attached files")
        about.info["lossless"] = family == "WEBP" and "VP8L" in dict(contents)
        _read_info(about, image, contents)
        _read_colours(about, image, dict(contents), stream, grey)
    _upright(about, image, stated, contents)
    if image is not None and image.mode == "CMYK":
        about.info["icc_profile"] = None  # see `srkit.imaging.colour.Separation`
    elif (profile := about.info.get("icc_profile")) and (
        note := colour.misfit(profile, "RGB", *["GRAY"] * grey)
    ):  # a grey image may have one of RGB: its channels are equal then, and written so
        about.notes.append(note)
        about.info["icc_profile"] = None
    about.info = {key: value for key, value in about.info.items() if value}
    about.notes = list(dict.fromkeys(about.notes))
    return about


def _upright(
    about: Metadata, image: Any, stated: int | None, contents: Sequence[containers.Part]
) -> None:
    """Bring XMP and resolution to the upright image; XMP may say how it is turned."""
    xmp = about.info.get("xmp") or b""
    turn = stated or packets.orientation(xmp)
    # Pillow turns a TIFF as soon as it is loaded.
    loaded = image is not None and image.format == "TIFF" and not image.tile
    about.orientation = 1 if loaded else turn
    if xmp:
        extended = [c.removeprefix(_EXTENSION) for _, c in contents if c.startswith(_EXTENSION)]
        try:
            about.info["xmp"], lost = packets.upright(xmp, turn > 1, extended)
            about.notes += [item.note for item in lost if item.note]
        except ValueError:
            about.info["xmp"] = None
            about.notes.append("its XMP is broken and was left out")
    if (dpi := about.info.get("dpi")) and turn > 4:
        about.info["dpi"] = dpi[::-1]


def fitted(info: dict[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    """Return ``info`` with the sizes in EXIF and XMP brought to a new width and height."""
    info = dict(info)
    if content := info.pop("exif", None):
        with suppress(ValueError):  # nor is it whole in an image of somebody else's
            info["exif"], _ = exif.edited(content, size)
    if "xmp" in info:
        info["xmp"] = packets.fitted(info["xmp"], size)
    return info


def orientation(image: Any) -> int:
    """Return the orientation, 1 (upright) to 8, of an image that isn't loaded yet."""
    return _exif_of(Metadata(), image) or packets.orientation(_xmp(image))


def _xmp(image: Any) -> bytes:
    xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    return xmp.encode() if isinstance(xmp, str) else bytes(xmp)


def _exif_of(about: Metadata, image: Any) -> int | None:
    """Take over a Pillow image's EXIF, upright; return the orientation that it had."""
    content, stated = image.info.get("exif"), None
    old = image.info.get("Raw profile type exif")  # of PNGs from before they had a place for it
    try:
        if old and not content:
            content = containers.raw_profile(old)
        elif image.format in (None, "TIFF") and not isinstance(content, bytes):
            content = image.getexif().tobytes() if image.getexif() else b""
        if isinstance(content, bytes) and content:
            about.info["exif"], stated = exif.edited(content)
    except Exception:  # Pillow's may be any; the pixels are as good as ever
        about.notes.append("its EXIF is broken and was left out")
    return stated


def _read_parts(about: Metadata, contents: Sequence[containers.Part], family: str) -> None:
    """Note what lies in parts of a file that aren't read."""
    unread = []
    for name, content in contents:
        items = list(carried.found(family, name, content))
        about.notes += [item.note for item in items]
        if not items and not containers.is_read(family, (name, content)):
            unread.append(name)
    about.unknown(unread)
    if family not in (*carried.SOURCES, ""):
        about.notes.append(f"of {family}, only pixels, profile and resolution are read for sure")


def _read_info(about: Metadata, image: Any, contents: Sequence[containers.Part]) -> None:
    """Take over what Pillow finds beside EXIF and colours."""
    info = image.info
    about.info["xmp"] = _xmp(image)
    about.info["dpi"] = _dpi(about, image)
    blocks = info.get("photoshop")
    about.info["iptc"] = _read_blocks(about, blocks if isinstance(blocks, dict) else {})
    texts = dict(image.text) if image.format == "PNG" else {}
    keys = [content.partition(b"\0")[0] for name, content in contents if name in _TEXTS]
    if len(set(keys)) < len(keys):
        about.notes.append("of PNG texts of one name, all but the last were left out")
    for name in ("iptc", "8bim"):
        raw = containers.raw_profile(texts.get(f"Raw profile type {name}", ""))
        if raw and not about.info["iptc"]:
            about.info["iptc"] = containers.photoshop(raw).get(containers.IPTC_BLOCK, raw)
    texts = {key: text for key, text in texts.items() if not key.startswith(_OTHER_TEXTS)}
    comments = [content for name, content in contents if name == "COM"]
    comment = texts.pop("Comment", None) or b"\n".join(comments) or info.get("comment")
    about.info["comment"] = comment.encode() if isinstance(comment, str) else comment
    about.info["text"] = texts


def _read_colours(
    about: Metadata, image: Any, by_name: dict[str, bytes], stream: BinaryIO | None, grey: bool
) -> None:
    """Take over the profile, or make one of what else a file says of its colours."""
    info = image.info
    hdr = {name: by_name[name] for name in _HDR if name in by_name}
    profile, cicp = info.get("icc_profile"), hdr.pop("cICP", None) or info.get("cicp")
    if image.format in ("AVIF", "HEIF") and not profile:
        cicp = containers.cicp(by_name.get("meta", b""))
    elif image.format == "GIF":
        profile = by_name.get("ICCRGBG1012")
    elif image.format == "BMP" and stream:
        profile = _bmp_profile(stream)
    elif image.format in ("JPEG", "MPO") and not profile and _is_adobe_rgb(about.info.get("exif")):
        profile = colour.of_png(None, 256 / 563, _ADOBE_RGB, grey)
    if cicp or (image.format == "PNG" and not (profile or "srgb" in info)):
        gamma, corners = info.get("gamma"), info.get("chromaticity")
        try:
            profile = colour.of_png(cicp, gamma, corners, grey) or (None if cicp else profile)
        except (ValueError, ArithmeticError):
            if cicp and image.format == "PNG":
                hdr["cICP"], profile = cicp, None
            else:
                about.notes.append("what it says of its colours fits no profile and was left out")
    about.info["icc_profile"], about.info["hdr"] = profile, hdr


def _is_adobe_rgb(content: bytes | None) -> bool:
    """Return whether EXIF says so by the name of DCF's rules, as cameras do (DCF 2.0, 5.3)."""
    try:
        rules = exif.parsed(content or b"").find(1, exif.INTEROP)
    except ValueError:
        return False
    return rules is not None and rules.value.startswith(b"R03")


def _bmp_profile(stream: BinaryIO) -> bytes | None:
    """Return the profile that a BMP of version 5 embeds."""
    stream.seek(0)
    head = stream.read(138)
    if head[70:74] != b"DEBM":  # "MBED", as a number of four bytes
        return None
    stream.seek(14 + int.from_bytes(head[126:130], "little"))
    return stream.read(int.from_bytes(head[130:134], "little"))


def _read_blocks(about: Metadata, blocks: dict[int, Any]) -> Any:
    """Return IPTC from the blocks of Photoshop's, and note what else there is."""
    if set(blocks) - _BLOCKS:
        about.left_out("Photoshop's layers, paths, settings")
    return blocks.get(containers.IPTC_BLOCK)


def _dpi(about: Metadata, image: Any) -> tuple[float, float] | None:
    """Return the resolution that a file states, or None where it makes no sense."""
    info, unit = image.info, image.info.get("jfif_unit", 0)
    shape = info.get("aspect") or (info.get("jfif_density") if unit == 0 else None)
    if shape and shape[0] != shape[1]:
        about.notes.append("the shape of its pixels, which are no squares, was left out")
    if image.format in ("JPEG", "MPO") and unit not in (1, 2):
        try:
            if not exif.parsed(about.info.get("exif", b"")).find(exif.X_RESOLUTION):
                return None  # Pillow says 72
        except ValueError:
            return None
    return _sound(info.get("dpi"))


def _sound(dpi: Any) -> tuple[float, float] | None:
    """Return a resolution as two numbers, or None where it makes no sense."""
    try:
        x, y = (float(value) for value in dpi)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return (x, y) if all(math.isfinite(v) and 0.01 <= v <= 65_535 for v in (x, y)) else None


def _read_tiff(about: Metadata, stream: BinaryIO, grey: bool) -> int | None:
    """Take over what the first page of a TIFF says; return the orientation that it states."""
    page = exif.Directories(stream)
    values = {entry.tag: entry.value for entry in page.below[0]}
    numbers = page.numbers
    about.info |= {"xmp": values.get(XMP), "icc_profile": values.get(_PROFILE)}
    iptc = _read_blocks(about, containers.photoshop(values.get(_PHOTOSHOP, b"")))
    about.info["iptc"] = values.get(IPTC) or iptc
    unit = {2.0: 1.0, 3.0: 2.54}.get(next(iter(numbers(_UNIT)), 2.0), 0.0)
    pair = numbers(exif.X_RESOLUTION)[:1] + numbers(exif.Y_RESOLUTION)[:1]
    about.info["dpi"] = _sound([value * unit for value in pair])
    if not about.info["icc_profile"] and len(numbers(_WHITE) + numbers(_PRIMARIES)) == 8:
        corners = numbers(_WHITE) + numbers(_PRIMARIES)
        with suppress(ValueError, ArithmeticError):
            about.info["icc_profile"] = colour.of_png(None, 1 / 2.2, corners, grey)
    extra = numbers(_EXTRA)  # beside the colours; 0: no alpha
    if page.following:
        about.left_out("pages")
    if extra[1:] or extra == (0,):
        about.left_out("further channels")
    items = {tag: [*carried.found("TIFF", f"{tag}", v.lstrip())] for tag, v in values.items()}
    about.notes += [item.note for each in items.values() for item in each]
    kept = {tag for tag in _OWN & {*values} if not items[tag]}
    if values.get(_DESCRIPTION, b"").lstrip().startswith(_SHAPE):
        kept.remove(_DESCRIPTION)
    known = _OWN | exif.LAYOUT | exif.ELSEWHERE
    about.unknown([f"tag {tag}" for tag in sorted(items) if not items[tag] and tag not in known])
    page.below[0] = [entry for entry in page.below[0] if entry.tag in kept]
    stated = page.edit()
    about.info["exif"], moved = exif.of_tiff(page)
    if moved:
        about.left_out("maker's note, with its offsets")
    return stated
