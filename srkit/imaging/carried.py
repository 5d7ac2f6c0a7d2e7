"""What a file can carry beside its pixels, and what becomes of it in each format.

Reading, writing and the page "Upscaling" follow this one table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

SOURCES = ("PNG", "JPEG", "TIFF", "WEBP", "AVIF", "HEIF", "GIF", "BMP")
TARGETS = ("PNG", "JPEG", "TIFF", "WEBP", "AVIF", "BMP")
KEPT, CORRECTED, NOTED, REFUSED = "kept", "corrected", "dropped with a note", "refused"

# Namespaces of XMP.
_GOOGLE = "http://ns.google.com/photos/1.0/"
_APPLE = "http://ns.apple.com/"
EXIF = "http://ns.adobe.com/exif/1.0/"
TIFF = "http://ns.adobe.com/tiff/1.0/"
XMP = "http://ns.adobe.com/xap/1.0/"
NOTE = "http://ns.adobe.com/xmp/note/"
IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_PHOTOSHOP = "http://ns.adobe.com/photoshop/1.0/"
_LAYOUT = ("BitsPerSample", "Compression", "PhotometricInterpretation", "SamplesPerPixel")

Properties = tuple[tuple[str, str | None], ...]  # namespaces and a name, or all names of one


@dataclass(frozen=True)
class Item:
    """Something that a file can carry.

    Attributes:
        name: In the page's table.
        sources: Formats that it is read from, or recognised in.
        kept: Formats that keep it as it is.
        corrected: Formats in which it, or what it is for, stays true of the new image. In other
            formats it is left out, with a note.
        refused: Whether files with it aren't read.
        key: Its key in `srkit.imaging.image.DecodedImage.info`, if it has one of its own.
        within: The key of what it is a part of.
        what: What a note calls it.
        xmp: Properties that go with it: they would promise what is gone, or be false.
        turned: Whether these go only where the image is turned.
        parts: Beginnings of the parts of a file that it lies in, by format and name.
    """

    name: str
    sources: str
    kept: str = ""
    corrected: str = ""
    refused: bool = False
    key: str = ""
    within: str = ""
    what: str = ""
    xmp: Properties = ()
    turned: bool = False
    parts: tuple[tuple[str, str, bytes], ...] = ()

    def outcome(self, source: str, target: str) -> str:
        """Return what becomes of it between two formats; "" where it can't come from the first."""
        if source not in self.sources.split():
            return ""
        if self.refused:
            return REFUSED
        if target in self.kept.split():
            return KEPT
        return CORRECTED if target in self.corrected.split() else NOTED

    @property
    def note(self) -> str:
        """What is said where it is left out in reading; "" where nothing is lost."""
        return f"{self.what} left out" if self.what and not self.key else ""


_ALL = " ".join(TARGETS)
_EXIF = "PNG JPEG TIFF WEBP AVIF HEIF"  # formats that hold EXIF, XMP and a profile
_C2PA = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
ITEMS = (
    Item("all of it, without `pillow-heif` or `pi-heif`", "HEIF", refused=True),
    Item("colour profile (ICC)", f"{_EXIF} BMP GIF", _EXIF, "BMP", key="icc_profile"),
    Item("colours by `cICP`, `cHRM`, `gAMA`", "PNG TIFF AVIF HEIF", corrected=_ALL),
    Item("HDR: `cICP` of PQ or HLG, `mDCV`, `cLLI`", "PNG", "PNG", key="hdr", what="HDR colours"),
    Item("EXIF", _EXIF, corrected=_EXIF, key="exif", what="EXIF"),
    Item(
        "maker's note, with its offsets", _EXIF, _EXIF, within="exif", what="its maker's note was"
    ),
    Item("place (GPS)", _EXIF, _EXIF, within="exif"),
    Item("orientation", _EXIF, corrected=_ALL),
    Item(
        "thumbnails",
        _EXIF,
        corrected=_ALL,
        xmp=((XMP, "Thumbnails"), (EXIF, "SubjectArea"), (EXIF, "SubjectLocation")),
    ),
    Item(
        "XMP",
        _EXIF,
        corrected=_EXIF,
        key="xmp",
        what="XMP",
        xmp=(
            ("http://ns.adobe.com/xap/1.0/mm/", "InstanceID"),
            (_PHOTOSHOP, "ICCProfile"),
            (_PHOTOSHOP, "ColorMode"),
            *((TIFF, name) for name in _LAYOUT),
            (NOTE, "HasExtendedXMP"),
        ),
    ),
    Item("extended XMP", "JPEG", corrected=_EXIF, within="xmp", what="its extended XMP was"),
    Item(
        "regions, such as faces",
        _EXIF,
        corrected=_EXIF,
        within="xmp",
        what="its regions were",
        xmp=(
            ("http://www.metadataworkinggroup.com/schemas/regions/", "Regions"),
            ("http://ns.microsoft.com/photo/1.2/", "RegionInfo"),
            (IPTC, "ImageRegion"),
        ),
        turned=True,
    ),
    Item(
        "panorama (GPano)",
        _EXIF,
        what="its panorama's geometry was",
        xmp=((_GOOGLE + "panorama/", None),),
    ),
    Item("IPTC", "JPEG TIFF PNG", "JPEG TIFF PNG", key="iptc", what="IPTC"),
    Item("comment", "JPEG PNG GIF", "JPEG PNG", key="comment", what="comment"),
    Item("text chunks", "PNG", "PNG", key="text", what="PNG text"),
    Item("resolution", "PNG JPEG TIFF BMP", "PNG JPEG TIFF BMP", key="dpi", what="resolution"),
    Item("pages", "TIFF", what="all pages but the first were"),
    Item("frames", "GIF PNG WEBP AVIF", refused=True),
    Item(
        "gain map",
        "JPEG AVIF HEIF",
        what="its gain map was",
        xmp=(("http://ns.adobe.com/hdr-gain-map/1.0/", None), (_APPLE + "HDRGainMap/1.0/", None)),
        parts=(
            ("JPEG", "APP2", b"urn:iso:std:iso:ts:21496"),
            ("AVIF", "tmap", b""),
            ("AVIF", "aux", b"urn:com:apple:photo:2020:aux:hdrgainmap"),
        ),
    ),
    Item(
        "video of a motion photo",
        "JPEG AVIF HEIF",
        what="its video was",
        parts=(("JPEG", "video", b""), ("AVIF", "mpvd", b"")),
    ),
    Item(
        "depth map",
        "JPEG AVIF HEIF",
        what="its depth map was",
        xmp=((_GOOGLE + "depthmap/", None), (_APPLE + "depthData/1.0/", None)),
        parts=(
            ("AVIF", "aux", b"urn:mpeg:mpegB:cicp:systems:auxiliary:depth"),
            ("AVIF", "aux", b"urn:mpeg:hevc:2015:auxid:2"),
        ),
    ),
    Item(
        "further images (MPF), attached files",
        "JPEG HEIF",
        what="all images but the first were",
        xmp=((_GOOGLE + "image/", None), (_GOOGLE + "audio/", None)),
        parts=(("JPEG", "APP2", b"MPF\0"), ("JPEG", "image", b"")),
    ),
    Item(
        "Content Credentials (C2PA)",
        _EXIF,
        what="its Content Credentials (C2PA) were",
        xmp=(("http://purl.org/dc/terms/", "provenance"),),
        parts=(
            ("JPEG", "APP11", b"JP"),
            ("PNG", "caBX", b""),
            ("WEBP", "C2PA", b""),
            ("AVIF", "uuid", _C2PA),
        ),
    ),
    Item("description of an OME or ImageJ stack", "TIFF", what="its description of a stack was"),
    Item("place on a map (GeoTIFF)", "TIFF", what="its place on the map (GeoTIFF) was"),
    Item("Photoshop's layers, paths, settings", "JPEG TIFF", what="Photoshop's data were"),
    Item("unknown parts", f"{_EXIF} GIF", what="parts that srkit doesn't know were"),
    Item("modification time, by `--keep-time`", " ".join(SOURCES), _ALL),
)
BY_NAME = {item.name: item for item in ITEMS}
BY_KEY = {item.key: item for item in ITEMS if item.key}
# What only leads to parts that other items name.
LINKS: Properties = (
    (_GOOGLE + "container/", None),
    (_GOOGLE + "camera/", None),
    ("http://ns.google.com/photos/dd/1.0/device/", None),
)


def holds(target: str, key: str) -> bool:
    """Return whether a format has a place for what has a key of its own."""
    return target in f"{BY_KEY[key].kept} {BY_KEY[key].corrected}".split()


def note(name: str) -> str:
    """Return the note on an item that is left out in reading."""
    return BY_NAME[name].note


def found(format_name: str, part: str, content: bytes) -> Iterator[Item]:
    """Yield the items that lie in a part of a file."""
    for item in ITEMS:
        if any(
            (format_name, part) == (source, name) and content.startswith(start)
            for source, name, start in item.parts
        ):
            yield item


def without_losses(info: dict[str, Any], target: str) -> tuple[dict[str, Any], list[str]]:
    """Return what of ``info`` a format has a place for, and a note for each thing that it hasn't.

    Profiles are in all: where there is no place for one, the colours are brought to sRGB.
    """
    lost = [item for key, item in BY_KEY.items() if info.get(key) and not holds(target, key)]
    gone = {item.key for item in lost}
    notes = [f"{target} holds no {item.what}: it was left out" for item in lost]
    return {key: value for key, value in info.items() if key not in gone}, notes
