"""What a file says beyond its pixels: what is kept, what a new size changes, who made it."""

from __future__ import annotations

import io
import itertools
import re
import struct
import zlib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile
from PIL import Image, IptcImagePlugin
from PIL.ExifTags import GPS, IFD, Base
from PIL.PngImagePlugin import PngInfo
from profiles import grey, wide

from srkit.imaging import codec, metadata, tiff
from srkit.imaging.codec import DecodedImage
from srkit.imaging.xmp import COMPOSITE, ENHANCED, SOURCE_TYPES, SRKIT, Origin, stamp

AVIF = ".avif" in codec.SUFFIXES
FORMATS = [".png", ".jpg", ".webp", ".tif", *([".avif"] if AVIF else [])]
DEEP = ["deep.png", "deep.tif"]  # of 16 bits, which other code writes
SUBJECT_AREA = 0x9214
COPYRIGHT = "© Jörg"
MAKERS_NOTE = b"MAKER\0\1\2" + bytes(range(40))
XMP = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
    b' xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:exif="http://ns.adobe.com/exif/1.0/"'
    b' xmlns:dc="http://purl.org/dc/elements/1.1/" xmp:CreatorTool="A camera" xmp:Rating="4"'
    b' tiff:Orientation="%d" tiff:ImageWidth="%d" exif:PixelYDimension="%d">'
    b"<dc:creator><rdf:Seq><rdf:li>J\xc3\xb6rg</rdf:li></rdf:Seq></dc:creator>"
    b'</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)


def thumbnail() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (4, 3), "red").save(stream, "jpeg")
    return stream.getvalue()


class Below(str):
    """The name of a directory, or of the thumbnail, that an entry points to."""


Value = int | bytes | Below


def exif_of_a_camera(orientation: int, order: str = "<", note: bytes = MAKERS_NOTE) -> bytes:
    """EXIF as cameras write it, made by hand: directories, values after them, a thumbnail last."""
    directories: dict[str, list[tuple[int, int, int, Value]]] = {
        "first": [
            (Base.Make, 2, 9, b"A camera\0"),
            (Base.Orientation, 3, 1, orientation),
            (Base.Copyright, 2, 8, COPYRIGHT.encode("latin-1") + b"\0\0"),
            (IFD.Exif, 4, 1, Below("exif")),
            (IFD.GPSInfo, 4, 1, Below("gps")),
        ],
        "exif": [
            (Base.DateTimeOriginal, 2, 20, b"2024:05:06 07:08:09\0"),
            (SUBJECT_AREA, 3, 2, struct.pack(f"{order}2H", 7, 8)),
            (Base.MakerNote, 7, len(note), note),
            (Base.ExifImageWidth, 3, 1, 40),
            (Base.ExifImageHeight, 3, 1, 24),
        ],
        "gps": [
            (GPS.GPSLatitudeRef, 2, 2, b"N\0"),
            (GPS.GPSAltitude, 5, 1, struct.pack(f"{order}2I", 7, 2)),
        ],
        "small": [(0x0201, 4, 1, Below("thumbnail")), (0x0202, 4, 1, len(thumbnail()))],
    }
    places, at = {}, 8
    for name, entries in directories.items():
        places[name] = at
        at += 2 + 12 * len(entries) + 4
    values = b""
    inline: dict[tuple[str, int], bytes] = {}
    for name, entries in directories.items():
        for tag, kind, _, value in entries:
            if isinstance(value, bytes) and len(value) > 4:
                inline[name, tag] = struct.pack(f"{order}I", at + len(values))
                values += value + bytes(len(value) % 2)
            elif isinstance(value, bytes):
                inline[name, tag] = value
            elif isinstance(value, int):
                inline[name, tag] = struct.pack(f"{order}{'H' if kind == 3 else 'I'}", value)
    places["thumbnail"] = at + len(values)
    body = b""
    for name, entries in directories.items():
        body += struct.pack(f"{order}H", len(entries))
        for tag, kind, count, value in entries:
            if isinstance(value, Below):
                inline[name, tag] = struct.pack(f"{order}I", places[value])
            body += struct.pack(f"{order}HHI", tag, kind, count) + inline[name, tag].ljust(4, b"\0")
        body += struct.pack(f"{order}I", places["small"] if name == "first" else 0)
    start = b"II*\0" if order == "<" else b"MM\0*"
    return b"Exif\0\0" + start + struct.pack(f"{order}I", 8) + body + values + thumbnail()


def write(file: Path, *, orientation: int = 1, icc: bytes | None = None, dpi: float = 300) -> None:
    """Write an image of 40x24 with everything in it, by Pillow."""
    xmp = XMP % (orientation, 40, 24)
    options: dict[str, Any] = {"exif": exif_of_a_camera(orientation), "icc_profile": icc or wide()}
    if file.suffix == ".png":
        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp.decode())
    elif file.suffix == ".tif":
        exif = Image.Exif()
        exif.load(options["exif"])
        exif[700] = xmp
        options["exif"] = exif
    else:
        options["xmp"] = xmp
    if file.suffix not in (".webp", ".avif"):
        options["dpi"] = (dpi, dpi)
    image = np.full((24, 40, 3), 90, np.uint8)
    image[:12, :20] = 200  # the upper left one is the brighter quarter
    Image.fromarray(image).save(file, **options)


def canonical(xmp: bytes) -> str:
    """A packet's content, however it is written."""
    return ElementTree.canonicalize(xmp.split(b"?>", 1)[-1].rsplit(b"<?", 1)[0].decode())


def doubled(file: Path, out: Path, origin: Origin | None = None) -> DecodedImage:
    """Read, double and write; in 16 bits for files that are called so."""
    image = codec.read(file)
    pixels = image.pixels.repeat(2, 0).repeat(2, 1)
    image = image.upscaled(pixels)
    if out.stem == "deep":
        image = DecodedImage(pixels.astype(np.uint16) * 257, info=image.info)
    codec.save(image, out, origin=origin)
    return image


def found(file: Path) -> tuple[Image.Exif, dict[str, Any]]:
    """What Pillow finds in a file."""
    with Image.open(file) as image:
        if file.suffix != ".tif":  # its tags are read without its pixels
            image.load()
        exif = image.getexif()
        for below in (IFD.Exif, IFD.GPSInfo):
            exif.get_ifd(below)  # while the file is open
        return exif, image.info


def turns(file: Path) -> bool:
    """Whether a file's EXIF has an orientation, whatever XMP says."""
    if file.suffix == ".tif":
        with tifffile.TiffFile(file) as given:
            return Base.Orientation in given.pages[0].tags
    exif = Image.Exif()
    exif.load(found(file)[1]["exif"])
    return Base.Orientation in exif


# Reading and writing don't depend on each other.
PATHS = [*itertools.product(FORMATS, [".png"]), *itertools.product([".jpg"], FORMATS[1:] + DEEP)]


@pytest.mark.parametrize(("given", "out"), PATHS)
def test_everything_goes_from_any_format_to_any(tmp_path: Path, given: str, out: str) -> None:
    write(tmp_path / f"a{given}")
    wanted = tmp_path / (out if out in DEEP else f"b{out}")
    assert doubled(tmp_path / f"a{given}", wanted).notes == ()
    exif, info = found(wanted)
    assert info["icc_profile"] == wide()
    assert exif[Base.Make] == "A camera"
    if given not in (".tif", ".avif"):  # where Pillow has written '?' already
        assert exif[Base.Copyright].rstrip("\0") == COPYRIGHT
    assert not turns(wanted)
    inner, place = exif.get_ifd(IFD.Exif), exif.get_ifd(IFD.GPSInfo)
    assert inner[Base.DateTimeOriginal] == "2024:05:06 07:08:09"
    assert inner[Base.MakerNote] == MAKERS_NOTE
    assert (inner[Base.ExifImageWidth], inner[Base.ExifImageHeight]) == (80, 48)
    assert SUBJECT_AREA not in inner
    assert (place[GPS.GPSLatitudeRef], place[GPS.GPSAltitude]) == ("N", 3.5)
    assert canonical(info["xmp"]) == canonical(XMP % (1, 80, 48))
    if not {given, out} & {".webp", ".avif"}:  # which have no place for it
        assert info["dpi"] == pytest.approx((300, 300), abs=0.1)


@pytest.mark.parametrize("given", [*DEEP, "grey.tif"])
@pytest.mark.parametrize("out", ["out.png", "out.tif", "out.jpg"])
def test_everything_goes_from_16_bits(tmp_path: Path, given: str, out: str) -> None:
    """Grey with alpha is a TIFF that Pillow doesn't know: of EXIF its own tags stay."""
    write(tmp_path / "a.jpg")
    info = codec.read(tmp_path / "a.jpg").info
    pixels = np.arange(24 * 40 * 3, dtype=np.uint16).reshape(24, 40, 3) * 20
    image = DecodedImage(pixels, info=info)
    if given == "grey.tif":
        info["icc_profile"] = grey()
        image = DecodedImage(pixels, pixels[..., 0], True, info)
    codec.save(image, tmp_path / given)
    read = codec.read(tmp_path / given)
    assert read.pixels.dtype == np.uint16
    codec.save(read.upscaled(read.pixels.repeat(2, 0).repeat(2, 1)), tmp_path / out)
    if (given, out) == ("grey.tif", "out.tif"):  # nor does Pillow know this one
        kept, exif = codec.read(tmp_path / out).info, Image.Exif()
        exif.load(kept["exif"])
    else:
        exif, kept = found(tmp_path / out)
    assert exif[Base.Make] == "A camera"
    assert exif[Base.Copyright].rstrip("\0") == COPYRIGHT
    assert kept["icc_profile"] == info["icc_profile"]
    assert canonical(kept["xmp"]) == canonical(XMP % (1, 80, 48))
    assert kept["dpi"] == pytest.approx((300, 300), abs=0.1)
    if given != "grey.tif":
        assert exif.get_ifd(IFD.Exif)[Base.MakerNote] == MAKERS_NOTE
        assert exif.get_ifd(IFD.Exif)[Base.ExifImageWidth] == 80


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_stays_where_it_lies_and_its_thumbnail_goes(order: str) -> None:
    """Makers' notes point into EXIF from its beginning."""
    given = exif_of_a_camera(6, order)
    image = Image.new("RGB", (40, 24))
    image.info["exif"] = given
    about = metadata.of(image)
    kept = about.info["exif"]
    assert about.orientation == 6
    assert thumbnail() in given
    assert thumbnail()[:20] not in kept
    assert kept.index(MAKERS_NOTE) == given.index(MAKERS_NOTE)
    assert len(kept) == len(given) - len(thumbnail())
    exif = Image.Exif()
    exif.load(kept)
    assert exif.get_ifd(IFD.IFD1) == {}
    assert exif[Base.Make] == "A camera"
    fit = metadata.fitted(about.info, (160, 96))["exif"]
    exif.load(fit)
    assert exif.get_ifd(IFD.Exif)[Base.ExifImageWidth] == 160
    assert exif.get_ifd(IFD.Exif)[Base.ExifImageHeight] == 96


@pytest.mark.parametrize(
    ("given", "orientation"),
    [
        *itertools.product([".jpg"], [*range(10), 65_535]),
        *itertools.product([suffix for suffix in FORMATS if suffix != ".jpg"], [2, 6]),
    ],
)
def test_an_image_is_turned_once(tmp_path: Path, given: str, orientation: int) -> None:
    """Told by EXIF and by XMP; once it is upright, neither may say otherwise."""
    write(tmp_path / f"a{given}", orientation=orientation)
    image = codec.read(tmp_path / f"a{given}")
    turned = orientation in range(5, 9)
    assert image.size == ((24, 40) if turned else (40, 24))
    corner = {2: (1, 0), 3: (1, 1), 4: (0, 1), 6: (1, 0), 7: (1, 1), 8: (0, 1)}
    x, y = corner.get(orientation, (0, 0))
    assert image.pixels[-4 if y else 4, -4 if x else 4, 0] > 150
    assert (image.pixels[..., 0] > 150).mean() == pytest.approx(0.25, abs=0.03)
    doubled(tmp_path / f"a{given}", tmp_path / f"b{given}")
    info = found(tmp_path / f"b{given}")[1]
    assert not turns(tmp_path / f"b{given}")
    width, height = image.size
    kept = XMP % (1, 2 * width, 2 * height)
    assert canonical(info["xmp"]) == canonical(kept)


@pytest.mark.parametrize("orientation", [2, 3, 6, 7])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bits_are_turned_like_8(tmp_path: Path, orientation: int, suffix: str) -> None:
    values = np.arange(6 * 4 * 3, dtype=np.uint16).reshape(6, 4, 3) * 700 + 3
    small = Image.fromarray((values >> 8).astype(np.uint8))
    exif = Image.Exif()
    exif[Base.Orientation] = orientation
    small.save(tmp_path / "small.png", exif=exif)
    file = tmp_path / f"deep{suffix}"
    if suffix == ".png":
        codec.save(DecodedImage(values), file)
        content = file.read_bytes()
        chunk = b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
        chunk = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        file.write_bytes(content[:33] + chunk + content[33:])
    else:
        tags = [(Base.Orientation, "H", 1, orientation, True)]
        tifffile.imwrite(file, values, photometric="rgb", extratags=tags, metadata=None)
    turned = codec.read(file).pixels
    assert turned.dtype == np.uint16
    assert (turned >> 8 == codec.read(tmp_path / "small.png").pixels).all()


def test_only_xmp_says_how_to_turn_it(tmp_path: Path) -> None:
    Image.new("RGB", (40, 24)).save(tmp_path / "a.jpg", xmp=XMP % (8, 40, 24))
    assert codec.read(tmp_path / "a.jpg").size == (24, 40)
    exif = Image.Exif()
    exif[Base.Orientation] = 1  # goes before
    Image.new("RGB", (40, 24)).save(tmp_path / "a.jpg", xmp=XMP % (8, 40, 24), exif=exif)
    assert codec.read(tmp_path / "a.jpg").size == (40, 24)


def test_resolution_turns_with_the_image(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[Base.Orientation] = 6
    Image.new("RGB", (4, 2)).save(tmp_path / "a.png", dpi=(200, 100), exif=exif)
    assert codec.read(tmp_path / "a.png").info["dpi"] == pytest.approx((100, 200), abs=0.1)


@pytest.mark.parametrize("dpi", [(0, 0), (float("nan"), 1), (1e9, 1e9), (-1, 5), (), "many", None])
def test_a_resolution_that_makes_no_sense_is_none(tmp_path: Path, dpi: Any) -> None:
    image = Image.new("RGB", (4, 2))
    image.info["dpi"] = dpi
    decoded = codec.unpack(image)
    assert "dpi" not in decoded.info
    codec.save(decoded, tmp_path / "a.tif")


@pytest.mark.parametrize("damage", ["cut", "order", "count", "offset", "loop", "kind"])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".avif"][: 2 + AVIF])
def test_broken_exif_does_not_stop_an_image(tmp_path: Path, damage: str, suffix: str) -> None:
    exif = bytearray(exif_of_a_camera(1))
    first = 6 + 8
    if damage == "cut":
        del exif[first + 20 :]
    elif damage == "order":
        exif[6:8] = b"XX"
    elif damage == "count":
        exif[first : first + 2] = b"\xff\xff"
    elif damage == "offset":
        exif[10:14] = b"\xff\xff\xff\x7f"
    elif damage == "loop":  # the directory below is the one above
        exif[first + 2 + 3 * 12 + 8 : first + 2 + 4 * 12] = struct.pack("<I", 8)
    else:
        exif[first + 4] = 0
    Image.new("RGB", (4, 2), "red").save(tmp_path / "a.jpg", exif=bytes(exif), quality=100)
    image = doubled(tmp_path / "a.jpg", tmp_path / f"b{suffix}")
    broken = damage in ("cut", "order", "count", "offset")
    assert image.notes == (("its EXIF is broken and was left out",) if broken else ())
    assert image.pixels[0, 0, 0] > 250
    assert found(tmp_path / f"b{suffix}")[1] is not None


def test_exif_that_a_jpeg_has_no_room_for_is_noted(tmp_path: Path) -> None:
    exif = exif_of_a_camera(1, note=bytes(70_000))
    Image.new("RGB", (4, 2)).save(tmp_path / "a.png", exif=exif)
    image = codec.read(tmp_path / "a.png")
    (lost,) = codec.save(image, tmp_path / "b.jpg")
    assert lost.startswith("JPEG holds no EXIF of 70")
    assert codec.save(image, tmp_path / "c.png") == []
    assert len(found(tmp_path / "c.png")[0].get_ifd(IFD.Exif)[Base.MakerNote]) == 70_000


def test_exif_that_old_pngs_keep_as_text_is_read(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[Base.Orientation], exif[Base.Make] = 6, "A camera"
    content = exif.tobytes()
    text = PngInfo()
    text.add_text("Raw profile type exif", f"\nexif\n{len(content):8}\n{content.hex()}\n")
    Image.new("RGB", (4, 2)).save(tmp_path / "a.png", pnginfo=text)
    image = doubled(tmp_path / "a.png", tmp_path / "b.jpg")
    assert image.size == (4, 8)
    assert found(tmp_path / "b.jpg")[0][Base.Make] == "A camera"


def test_a_new_size_is_written_even_where_none_was_asked(tmp_path: Path) -> None:
    """`write` takes an image of any size with the info of another."""
    write(tmp_path / "a.jpg")
    info = codec.read(tmp_path / "a.jpg").info
    codec.write(Image.new("RGB", (10, 6)), tmp_path / "b.jpg", info)
    inner = found(tmp_path / "b.jpg")[0].get_ifd(IFD.Exif)
    assert (inner[Base.ExifImageWidth], inner[Base.ExifImageHeight]) == (10, 6)


# --- what else a file says ----------------------------------------------------------------------

CAPTION = b"\x1c\x02x\0\x0aJ. Collins"


def photoshop(block: bytes) -> bytes:
    """A segment of a JPEG with a block of Photoshop's."""
    content = b"Photoshop 3.0\0" + b"8BIM" + struct.pack(">HHI", 0x0404, 0, len(block)) + block
    return b"\xff\xed" + struct.pack(">H", len(content) + 2) + content


def described_by(file: Path) -> dict[str, Any]:
    """IPTC, comment and texts of a file, by Pillow."""
    with Image.open(file) as image:
        image.load()
        iptc = IptcImagePlugin.getiptcinfo(image) or {}
        texts = dict(getattr(image, "text", {}))
        if raw := texts.pop("Raw profile type iptc", ""):  # as ImageMagick keeps it
            block = bytes.fromhex(raw.split("\n", 3)[3])
            iptc = {(2, 120): block[block.index(CAPTION) + 5 :].rstrip(b"\0")}
        comment = image.info.get("comment", texts.pop("Comment", b""))
        comment = comment if isinstance(comment, bytes) else comment.encode()
        texts.pop("XML:com.adobe.xmp", None)
        return {"iptc": iptc.get((2, 120)), "comment": comment, "text": texts}


@pytest.mark.parametrize("out", [*FORMATS, *DEEP, ".bmp"])
@pytest.mark.parametrize("given", [".png", ".jpg", ".tif"])
def test_iptc_comments_and_texts_are_kept_or_noted(tmp_path: Path, given: str, out: str) -> None:
    image, texts = Image.new("RGB", (4, 2)), PngInfo()
    texts.add_text("parameters", "a portrait\nSteps: 20")
    texts.add_itxt("Title", "Größe ✓")
    texts.add_text("Comment", "box 3")
    texts.add_text("Thumb::Image::Width", "4")
    options: dict[str, dict[str, Any]] = {
        ".png": {"pnginfo": texts},
        ".jpg": {"comment": b"box 3", "extra": photoshop(CAPTION)},
        ".tif": {"tiffinfo": {33_723: CAPTION}},
    }
    image.save(tmp_path / f"a{given}", **options[given])
    wanted = tmp_path / (out if out in DEEP else f"b{out}")
    decoded = codec.read(tmp_path / f"a{given}")
    if out in DEEP:
        decoded = DecodedImage(decoded.pixels.astype(np.uint16), info=decoded.info)
    lost = codec.save(decoded, wanted)
    name = {".jpg": "JPEG", ".tif": "TIFF"}.get(wanted.suffix, wanted.suffix[1:].upper())
    found = described_by(wanted)
    brought: dict[str, tuple[str, Any]] = {}
    if given == ".png":
        brought["text"] = ("PNG text", {"parameters": "a portrait\nSteps: 20", "Title": "Größe ✓"})
    if given in (".png", ".jpg"):
        brought["comment"] = ("comment", b"box 3")
    if given in (".jpg", ".tif"):
        brought["iptc"] = ("IPTC", CAPTION[5:])
    kept = {".png": {"text", "comment", "iptc"}, ".jpg": {"comment", "iptc"}, ".tif": {"iptc"}}
    for key, (what, value) in brought.items():
        holds = key in kept.get(wanted.suffix, ())
        assert (f"{name} holds no {what}: it was left out" in lost) != holds
        assert (found[key] == value) == holds


def test_no_resolution_is_invented(tmp_path: Path) -> None:
    """Where a file has none, Pillow says 1, or 72 if it has EXIF."""
    exif = Image.Exif()
    exif[Base.Make] = "A camera"
    for name in ("a.tif", "a.jpg", "a.png"):
        Image.new("RGB", (4, 2)).save(tmp_path / name, exif=exif)
        assert "dpi" not in codec.read(tmp_path / name).info
    Image.new("P", (4, 2)).save(tmp_path / "a.tif", dpi=(200, 100))
    assert codec.read(tmp_path / "a.tif").info["dpi"] == (200, 100)


def test_pages_and_places_that_are_left_out_are_noted(tmp_path: Path) -> None:
    pages = [Image.new("RGB", (4, 2), colour) for colour in ("red", "blue")]
    for name in ("8.tif", "16.tif"):
        if name == "8.tif":
            pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
        else:
            values = np.zeros((2, 2, 4, 3), np.uint16)
            tifffile.imwrite(tmp_path / name, values, photometric="rgb", metadata=None)
        assert codec.read(tmp_path / name).notes == ("all pages but the first were left out",)
    scale = [(33_550, "d", 3, (1.0, 1.0, 0.0), True)]
    tifffile.imwrite(tmp_path / "map.tif", np.zeros((2, 4, 3), np.uint8), extratags=scale)
    image = codec.read(tmp_path / "map.tif")
    assert image.notes == ("its place on the map (GeoTIFF) was left out",)
    codec.save(image, tmp_path / "b.tif")
    with tifffile.TiffFile(tmp_path / "b.tif") as written:
        assert 33_550 not in written.pages[0].tags


GAIN_MAP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:Container="http://ns.google.com/photos/1.0/container/"'
    b' xmlns:Item="http://ns.google.com/photos/1.0/container/item/"'
    b' xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/"'
    b' xmlns:xmp="http://ns.adobe.com/xap/1.0/" hdrgm:Version="1.0"%b>'
    b"<Container:Directory><rdf:Seq>"
    b'<rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="GainMap"/></rdf:li>'
    b"</rdf:Seq></Container:Directory></rdf:Description></rdf:RDF></x:xmpmeta>"
)


@pytest.mark.parametrize("rating", [b"", b' xmp:Rating="4"'])
def test_a_gain_map_is_dropped_with_its_promise(tmp_path: Path, rating: bytes) -> None:
    pages = [Image.new("RGB", (4, 2), colour) for colour in ("red", "blue")]
    pages[0].save(
        tmp_path / "a.jpg", "MPO", save_all=True, append_images=pages[1:], xmp=GAIN_MAP % rating
    )
    image = codec.read(tmp_path / "a.jpg")
    assert set(image.notes) == {
        "its gain map was left out",
        "all images but the first were left out",
    }
    codec.save(image, tmp_path / "b.jpg")
    info = found(tmp_path / "b.jpg")[1]
    assert ("xmp" in info) == bool(rating)
    assert not {"GainMap", "Version"} & {*re.findall(r"\w+", str(info.get("xmp")))}
    if rating:
        assert values(info["xmp"], "xmp:Rating") == ["4"]


REGIONS = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description'
    b' xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/"'
    b' xmlns:stDim="http://ns.adobe.com/xap/1.0/sType/Dimensions#"><mwg-rs:Regions'
    b' rdf:parseType="Resource"><mwg-rs:AppliedToDimensions stDim:w="40" stDim:h="24"'
    b' stDim:unit="pixel"/></mwg-rs:Regions></rdf:Description></rdf:RDF></x:xmpmeta>'
)


@pytest.mark.parametrize("orientation", [1, 6])
def test_regions_of_faces_stay_where_they_are_true(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[Base.Orientation] = orientation
    Image.new("RGB", (40, 24)).save(tmp_path / "a.jpg", exif=exif, xmp=REGIONS)
    image = doubled(tmp_path / "a.jpg", tmp_path / "b.jpg")
    if orientation == 1:
        new = REGIONS.replace(b'"40"', b'"80"').replace(b'"24"', b'"48"')
        assert canonical(found(tmp_path / "b.jpg")[1]["xmp"]) == canonical(new)
    else:
        assert image.notes == ("its regions were left out",)
        assert "xmp" not in image.info


# --- who made it --------------------------------------------------------------------------------

ORIGIN = Origin("faces", "ab" * 32, "1.2.3", True)
NAMES = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "iptc": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "srkit": SRKIT,
    "dc": "http://purl.org/dc/elements/1.1/",
}


def values(xmp: bytes, name: str) -> list[str]:
    """All values of a property, as element or attribute, by another parser."""
    root = ElementTree.fromstring(xmp.strip(b"\0 "))
    prefix, local = name.split(":")
    key = f"{{{NAMES[prefix]}}}{local}"
    values = [e.text or "" for e in root.iter(key)]
    return values + [e.attrib[key] for e in root.iter() if key in e.attrib]


@pytest.mark.parametrize(
    ("out", "generated", "given"),
    [*((out, True, True) for out in FORMATS + DEEP), (".png", False, True), (".jpg", True, False)],
)
def test_a_result_states_its_provenance(
    tmp_path: Path, out: str, generated: bool, given: bool
) -> None:
    if given:
        write(tmp_path / "a.jpg")
    else:
        Image.new("RGB", (40, 24)).save(tmp_path / "a.jpg")
    wanted = tmp_path / (out if out in DEEP else f"b{out}")
    origin = Origin("faces", "ab" * 32 if generated else None, "1.2.3", generated, "torch fp32")
    doubled(tmp_path / "a.jpg", wanted, origin)
    xmp = found(wanted)[1]["xmp"]
    assert values(xmp, "iptc:DigitalSourceType") == [COMPOSITE if generated else ENHANCED]
    assert values(xmp, "xmp:CreatorTool") == ["srkit 1.2.3"]
    assert values(xmp, "srkit:Model") == ["faces"]
    assert values(xmp, "srkit:Engine") == ["torch fp32"]
    assert values(xmp, "srkit:SHA256") == (["ab" * 32] if generated else [])
    if given:
        assert values(xmp, "xmp:Rating") == ["4"]
        assert values(xmp, "rdf:li") == ["Jörg"]
        assert b'tiff:ImageWidth="80"' in xmp


def test_a_second_stamp_takes_the_first_ones_place() -> None:
    twice = stamp(stamp(XMP % (1, 2, 3), ORIGIN), Origin("bicubic", None, "2", False))
    assert values(twice, "xmp:CreatorTool") == ["srkit 2"]
    assert values(twice, "srkit:Model") == ["bicubic"]
    assert values(twice, "srkit:SHA256") == []
    assert twice.count(b"<rdf:Description") == 2
    assert stamp(None, ORIGIN) == stamp(None, ORIGIN)


@pytest.mark.parametrize(
    ("before", "generated", "after"),
    [
        ("digitalCapture", True, COMPOSITE),
        ("digitalCapture", False, ENHANCED),
        ("compositeWithTrainedAlgorithmicMedia", False, COMPOSITE),
        ("trainedAlgorithmicMedia", True, SOURCE_TYPES + "trainedAlgorithmicMedia"),
        ("trainedAlgorithmicMedia", False, SOURCE_TYPES + "trainedAlgorithmicMedia"),
    ],
)
def test_no_result_is_called_less_artificial_than_its_input(
    before: str, generated: bool, after: str
) -> None:
    before_it = stamp(XMP % (1, 2, 3), ORIGIN).replace(
        COMPOSITE.encode(), (SOURCE_TYPES + before).encode()
    )
    result = stamp(before_it, Origin("x", None, "1", generated))
    assert values(result, "iptc:DigitalSourceType") == [after]


ENTITIES = b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>'


@pytest.mark.parametrize(
    "xmp",
    [
        b"",
        b"\0",
        b"no XML",
        b"<a>",
        b"<a/>",
        ENTITIES + XMP.replace(b"A camera", b"&b;") % (1, 2, 3),
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>',
        b"<a>" * 200_000 + b"</a>" * 200_000,
        b'<?xml version="1.0" encoding="klingon"?><a/>',
        bytes(range(256)),
    ],
    ids=lambda xmp: xmp[:12].decode("latin-1"),
)
def test_a_packet_that_is_not_xmp_is_replaced(xmp: bytes) -> None:
    assert stamp(xmp, ORIGIN) == stamp(None, ORIGIN)


def test_an_entity_is_never_expanded() -> None:
    bomb = b'<!DOCTYPE z [<!ENTITY a0 "ha">'
    bomb += b"".join(b'<!ENTITY a%d "%s">' % (i, b"&a%d;" % (i - 1) * 10) for i in range(1, 12))
    assert stamp(bomb + b"]><z>&a11;</z>", ORIGIN) == stamp(None, ORIGIN)


def test_a_models_name_can_be_any_text() -> None:
    xmp = stamp(None, Origin("<a> & \x01\udc80 ü", None, "1", True))
    assert values(xmp, "srkit:Model") == ["<a> & ?? ü"]


def test_a_packet_too_long_for_a_jpeg_makes_way_for_who_made_it(tmp_path: Path) -> None:
    long = (XMP % (1, 40, 24)).replace(b"J", b"J" * 70_000)
    image = Image.new("RGB", (4, 2))
    image.info["xmp"] = long
    decoded = codec.unpack(image)
    codec.save(decoded, tmp_path / "a.jpg", origin=ORIGIN)
    assert found(tmp_path / "a.jpg")[1]["xmp"] == stamp(None, ORIGIN)
    (lost,) = codec.save(decoded, tmp_path / "b.jpg")
    assert lost.startswith("JPEG holds no XMP of 7")
    assert codec.save(decoded, tmp_path / "a.png", origin=ORIGIN) == []
    assert values(found(tmp_path / "a.png")[1]["xmp"], "xmp:Rating") == ["4"]


def test_a_bmp_has_no_place_for_any_of_it(tmp_path: Path) -> None:
    write(tmp_path / "a.png")
    doubled(tmp_path / "a.png", tmp_path / "b.bmp", ORIGIN)
    with Image.open(tmp_path / "b.bmp") as written:
        assert written.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        assert not {"xmp", "exif", "icc_profile"} & written.info.keys()


def test_a_tiff_beyond_4_gb_keeps_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiff, "_CLASSIC", 0)
    write(tmp_path / "a.jpg")
    image = codec.read(tmp_path / "a.jpg")
    assert codec.save(image, tmp_path / "b.tif") == []
    with tifffile.TiffFile(tmp_path / "b.tif") as written:
        assert written.is_bigtiff
        assert (written.pages[0].asarray() == image.pixels).all()
    exif = found(tmp_path / "b.tif")[0]
    assert exif[Base.Make] == "A camera"
    assert exif.get_ifd(IFD.Exif)[Base.MakerNote] == MAKERS_NOTE
