"""Files that carry what files can carry beside their pixels, made for tests."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from profiles import wide
from test_metadata import CAPTION, GAIN_MAP, REGIONS, XMP, exif_of_a_camera, photoshop

SIZE = (40, 24)
SUFFIXES = {"PNG": ".png", "JPEG": ".jpg", "TIFF": ".tif", "WEBP": ".webp", "AVIF": ".avif"}
SUFFIXES |= {"BMP": ".bmp", "GIF": ".gif", "HEIF": ".heic"}
C2PA = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
GUID = b"0123456789ABCDEF0123456789ABCDEF"


def packet(properties: bytes) -> bytes:
    """An XMP packet of a description with attributes."""
    return (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" ' + properties
    ) + b"/></rdf:RDF></x:xmpmeta>"


PANORAMA = packet(
    b'xmp:Rating="4" xmlns:GPano="http://ns.google.com/photos/1.0/panorama/"'
    b' GPano:FullPanoWidthPixels="40"'
)
DEPTH = packet(b'xmlns:GDepth="http://ns.google.com/photos/1.0/depthmap/" GDepth:Near="1"')
MANIFEST = packet(b'xmlns:dcterms="http://purl.org/dc/terms/" dcterms:provenance="self#jumbf=c2pa"')
EXTENDED = packet(
    b'xmlns:xmpNote="http://ns.adobe.com/xmp/note/" xmpNote:HasExtendedXMP="%s"' % GUID
)
EXTENSION = packet(b'xmp:Label="extended"')


@dataclass
class Contents:
    """What to put into a file, whatever its format.

    Attributes:
        options: What Pillow takes when it writes.
        tags: Of a TIFF, as Pillow takes them.
        chunks: Of a PNG or a WebP; boxes of an AVIF; segments of a JPEG by their marker.
        tail: Bytes behind the image.
    """

    options: dict[str, Any] = field(default_factory=dict)
    tags: dict[int, Any] = field(default_factory=dict)
    chunks: list[tuple[bytes, bytes]] = field(default_factory=list)
    tail: bytes = b""


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def png_chunk(name: bytes, content: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + check


def pixels(colour: tuple[int, int, int] = (200, 100, 50)) -> Image.Image:
    return Image.new("RGB", SIZE, colour)


def _heif() -> Any:
    return pytest.importorskip("pillow_heif", reason="its wheels are under the GPL: no dependency")


def encoded(source: str, contents: Contents, image: Image.Image | None = None) -> bytes:
    """Return a file of a format with some contents."""
    stream, options = io.BytesIO(), dict(contents.options)
    if source == "PNG":
        options["pnginfo"] = options.get("pnginfo") or PngInfo()
        if xmp := options.pop("xmp", None):
            options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp.decode())
    elif source == "TIFF":
        exif = Image.Exif()
        if content := options.pop("exif", None):
            exif.load(content)
        for tag, value in contents.tags.items():
            exif[tag] = value
        if xmp := options.pop("xmp", None):
            exif[700] = xmp
        options["exif"] = exif
    elif source == "JPEG":
        options["extra"] = b"".join(
            segment(name[0], content) for name, content in contents.chunks
        ) + options.pop("extra", b"")
    elif source == "HEIF":
        _heif().register_heif_opener()
    (image or pixels()).save(stream, source, **options)
    content = stream.getvalue()
    if source == "PNG":
        chunks = b"".join(png_chunk(*each) for each in contents.chunks)
        content = content[:33] + chunks + content[33:]
    elif source in ("AVIF", "HEIF"):
        for name, box in contents.chunks:
            content += struct.pack(">I", len(box) + 8) + name + box
    elif source == "WEBP":
        for name, chunk in contents.chunks:
            content += name + struct.pack("<I", len(chunk)) + chunk + bytes(len(chunk) % 2)
        content = content[:4] + struct.pack("<I", len(content) - 8) + content[8:]
    return content + contents.tail


def _texts(**texts: str) -> Contents:
    info = PngInfo()
    for key, text in texts.items():
        info.add_text(key, text)
    return Contents({"pnginfo": info})


def _profile(source: str) -> bytes:
    if source == "GIF":
        return _application(b"ICCRGBG1012", wide())
    if source != "BMP":
        return encoded(source, Contents({"icc_profile": wide()}))
    rows = np.asarray(pixels())[::-1, :, ::-1].tobytes()
    head = struct.pack("<IiiHHIIiiII", 124, *SIZE, 1, 24, 0, len(rows), 0, 0, 0, 0)
    head = head.ljust(56, b"\0") + b"DEBM"  # the profile is embedded
    head = head.ljust(112, b"\0") + struct.pack("<II", 124 + len(rows), len(wide())) + bytes(4)
    start = 14 + 124
    size = start + len(rows) + len(wide())
    return b"BM" + struct.pack("<IHHI", size, 0, 0, start) + head + rows + wide()


def _application(name: bytes, content: bytes) -> bytes:
    """A GIF with what an application puts there, and then the usual loop."""
    image = encoded("GIF", Contents())
    start = 13 + 3 * 2 ** ((image[10] & 7) + 1)  # behind the palette
    pieces = [content[at : at + 255] for at in range(0, len(content), 255)]
    blocks = b"".join(bytes([len(piece)]) + piece for piece in pieces)
    loop = b"\x21\xff\x0bNETSCAPE2.0\x03\1\0\0\0"
    return image[:start] + b"\x21\xff\x0b" + name + blocks + b"\0" + loop + image[start:]


def _depth(source: str) -> bytes:
    if source == "JPEG":
        return encoded(source, Contents({"xmp": DEPTH}))
    kind = b"auxC\0\0\0\0urn:mpeg:mpegB:cicp:systems:auxiliary:depth\0"
    box = struct.pack(">I", len(kind) + 4) + kind
    content = bytearray(encoded(source, Contents()))
    at = content.index(b"ipco") - 4
    at += struct.unpack_from(">I", content, at)[0]
    for place in range(content.index(b"iloc") + 4, content.index(b"iloc") + 40):
        (offset,) = struct.unpack_from(">I", content, place)
        if content.index(b"mdat") < offset < len(content):  # of the pixels, which move
            struct.pack_into(">I", content, place, offset + len(box))
    for name in (b"ipco", b"iprp", b"meta"):
        (size,) = struct.unpack_from(">I", content, content.index(name) - 4)
        struct.pack_into(">I", content, content.index(name) - 4, size + len(box))
    content[at:at] = box
    return bytes(content)


def _chunk_colours(source: str) -> bytes:
    """Colours of Display P3 without a profile."""
    if source == "PNG":
        return encoded(source, Contents(chunks=[(b"cICP", bytes([12, 13, 0, 1]))]))
    if source == "TIFF":
        corners = {318: (0.3127, 0.329), 319: (0.68, 0.32, 0.265, 0.69, 0.15, 0.06)}
        return encoded(source, Contents(tags=corners))
    content = encoded(source, Contents())
    at = content.index(b"colrnclx") + 8
    return content[:at] + struct.pack(">HH", 12, 13) + content[at + 4 :]


def _comment(source: str) -> bytes:
    if source == "PNG":
        return encoded(source, _texts(Comment="box 3"))
    return encoded(source, Contents({"comment": b"box 3"}))


def _iptc(source: str) -> bytes:
    if source == "PNG":
        block = photoshop(CAPTION)[18:]
        text = f"\niptc\n{len(block):8}\n{block.hex()}\n"
        return encoded(source, _texts(**{"Raw profile type iptc": text}))
    if source == "TIFF":
        return encoded(source, Contents(tags={33_723: CAPTION}))
    return encoded(source, Contents({"extra": photoshop(CAPTION)}))


def _extended(source: str) -> bytes:
    name = b"http://ns.adobe.com/xmp/extension/\0" + GUID
    half = len(EXTENSION) // 2
    pieces = [
        name + struct.pack(">II", len(EXTENSION), at) + EXTENSION[at : at + half + 1]
        for at in (half + 1, 0)
    ]
    return encoded(source, Contents({"xmp": EXTENDED}, chunks=[(b"\xe1", p) for p in pieces]))


def _frames(source: str) -> bytes:
    stream = io.BytesIO()
    more = [pixels((0, 0, 200)), pixels((0, 200, 0))]
    pixels().save(stream, source, save_all=True, append_images=more)
    return stream.getvalue()


def _further(source: str) -> bytes:
    stream = io.BytesIO()
    if source == "HEIF":
        heif = _heif().from_pillow(pixels())
        heif.add_from_pillow(pixels((0, 0, 200)))
        heif.save(stream)
        return stream.getvalue()
    pixels().save(stream, "MPO", save_all=True, append_images=[pixels((0, 0, 200))])
    return stream.getvalue()


def _gain_map(source: str) -> bytes:
    if source == "JPEG":
        return encoded(source, Contents({"xmp": GAIN_MAP % b""}, chunks=[(b"\xe2", ISO_GAIN_MAP)]))
    return encoded(source, Contents(chunks=[(b"meta", bytes(4) + b"tmap")]))


ISO_GAIN_MAP = b"urn:iso:std:iso:ts:21496:-1\0" + bytes(4)
VIDEO = struct.pack(">I", 24) + b"ftypmp42" + bytes(12) + struct.pack(">I", 8) + b"mdat"


def _video(source: str) -> bytes:
    if source == "JPEG":
        return encoded(source, Contents(tail=VIDEO))
    return encoded(source, Contents(chunks=[(b"mpvd", VIDEO)]))


def _credentials(source: str) -> bytes:
    lies = {
        "JPEG": [(b"\xeb", b"JP\0\1\0\0\0\1")],
        "PNG": [(b"caBX", b"jumb")],
        "WEBP": [(b"C2PA", b"jumb")],
        "AVIF": [(b"uuid", C2PA + b"jumb")],
        "HEIF": [(b"uuid", C2PA + b"jumb")],
    }
    tags = {52_545: b"jumb"} if source == "TIFF" else {}
    return encoded(source, Contents({"xmp": MANIFEST}, tags, lies.get(source, [])))


def _unknown(source: str) -> bytes:
    lies = {"JPEG": b"\xe5", "PNG": b"prVt", "WEBP": b"QQQQ", "AVIF": b"qqqq", "HEIF": b"qqqq"}
    if source == "TIFF":
        return encoded(source, Contents(tags={65_000: 7}))
    if source == "GIF":
        return _application(b"XMP DataXMP", b"abc")
    return encoded(source, Contents(chunks=[(lies[source], b"unknown")]))


def _tiff(description: str | None = None, channels: int = 3, **options: Any) -> bytes:
    stream = io.BytesIO()
    options |= {"metadata": None, "photometric": "rgb"}
    values = np.asarray(pixels())
    values = np.pad(values, ((0, 0), (0, 0), (0, channels - values.shape[2])))
    tifffile.imwrite(stream, values, description=description, **options)
    return stream.getvalue()


def _exif(source: str, orientation: int = 1) -> bytes:
    return encoded(source, Contents({"exif": exif_of_a_camera(orientation)}))


def _xmp(xmp: bytes) -> Callable[[str], bytes]:
    return lambda source: encoded(source, Contents({"xmp": xmp}))


def _blocks(source: str) -> bytes:
    block = b"8BIM" + struct.pack(">HHI", 2000, 0, 4) + b"path"
    if source == "TIFF":
        return encoded(source, Contents(tags={34_377: block}))
    return encoded(source, Contents(chunks=[(b"\xed", b"Photoshop 3.0\0" + block)]))


# By the names of the table: a file of a format that carries it.
MAKERS: dict[str, Callable[[str], bytes]] = {
    "colour profile (ICC)": _profile,
    "colours by `cICP`, `cHRM`, `gAMA`": _chunk_colours,
    "HDR: `cICP` of PQ or HLG, `mDCV`, `cLLI`": lambda source: encoded(
        source,
        Contents(
            chunks=[(b"cICP", bytes([9, 16, 0, 1])), (b"mDCV", bytes(24)), (b"cLLI", bytes(8))]
        ),
    ),
    "EXIF": _exif,
    "maker's note, with its offsets": _exif,
    "place (GPS)": _exif,
    "orientation": lambda source: _exif(source, 6),
    "thumbnails": _exif,
    "XMP": _xmp(XMP % (1, 40, 24)),
    "extended XMP": _extended,
    "regions, such as faces": _xmp(REGIONS),
    "panorama (GPano)": _xmp(PANORAMA),
    "IPTC": _iptc,
    "comment": _comment,
    "text chunks": lambda source: encoded(source, _texts(parameters="a face\nSteps: 20")),
    "resolution": lambda source: encoded(source, Contents({"dpi": (300, 150)})),
    "pages": _frames,
    "frames": _frames,
    "gain map": _gain_map,
    "video of a motion photo": _video,
    "depth map": _depth,
    "further images (MPF), attached files": _further,
    "Content Credentials (C2PA)": _credentials,
    "description of an OME or ImageJ stack": lambda source: _tiff("ImageJ=1.53\nimages=1\n"),
    "further channels": lambda source: _tiff(channels=5, extrasamples=["unspecified"] * 2),
    "place on a map (GeoTIFF)": lambda source: _tiff(
        extratags=[(33_550, "d", 3, (1.0, 1.0, 0.0), True)]
    ),
    "Photoshop's layers, paths, settings": _blocks,
    "unknown parts": _unknown,
}
