"""The parts of a file by its container: chunks, segments and boxes, and what follows the image."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

Part = tuple[str, bytes]  # its name, and what is in it, but for pixels

IPTC_BLOCK = 0x0404  # of the blocks that Photoshop puts into a file
_MARKER = re.compile(rb"\xff([^\0\xd0-\xd7\xff])")  # not those within compressed data
_VIDEO = re.compile(rb"ftyp(mp4|isom|iso\d|qt  |M4V |avc1|MSNV)|MotionPhoto_Data")
_AUXILIARY = re.compile(rb"auxC\0{4}(urn:[ -~]+)")  # images that belong to another
_ALPHA = {b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", b"urn:mpeg:hevc:2015:auxid:1"}
_LONGEST = 2**24  # bytes of a part that are read
_PIXELS = ("IDAT", "fdAT", "VP8 ", "VP8L", "ALPH", "ANMF", "mdat")
# Parts that are read, or that say how pixels lie; what is in others is left out, and named.
_READ = {
    "PNG": "IHDR PLTE IDAT IEND tRNS cHRM gAMA iCCP sBIT sRGB cICP mDCV cLLI mDCv cLLi tEXt zTXt "
    "iTXt pHYs eXIf tIME iDOT",
    "JPEG": "APP0 APP14 COM",
    "WEBP": "VP8 VP8L VP8X ALPH ICCP EXIF XMP",
    "AVIF": "ftyp meta mdat free skip",
    "GIF": "NETSCAPE2.0 ICCRGBG1012",
}
_SEGMENTS = (b"Exif\0", b"http://ns.adobe.com/", b"ICC_PROFILE\0", b"MPF\0", b"Photoshop 3.0\0")


def of(stream: BinaryIO, format_name: str) -> list[Part]:
    """Return the parts of a file of a format; none of one that isn't known.

    A file that ends early has the parts until there.
    """
    walk = {"PNG": _chunks, "JPEG": _segments, "WEBP": _riff, "AVIF": _boxes, "GIF": _gif}
    stream.seek(0)
    return list(walk[format_name](stream)) if format_name in walk else []


def is_read(format_name: str, part: Part) -> bool:
    """Return whether all that is in a part is read, or is of no matter."""
    name, content = part
    return name.strip() in _READ[format_name].split() or (
        format_name == "JPEG" and content.startswith(_SEGMENTS)
    )


def _chunks(stream: BinaryIO) -> Iterator[Part]:
    """Yield those of a PNG (third edition, section 5.3)."""
    stream.seek(8)
    while len(head := stream.read(8)) == 8:
        yield from _content(stream, head[4:], int.from_bytes(head[:4]), 4)
        if head[4:] == b"IEND":
            break
    if stream.read(_LONGEST).strip(b"\0"):
        yield "trailer", b""


def _riff(stream: BinaryIO) -> Iterator[Part]:
    """Yield those of a WebP (RFC 9649, section 2.3)."""
    stream.seek(12)
    while len(head := stream.read(8)) == 8:
        length = int.from_bytes(head[4:], "little")
        yield from _content(stream, head[:4], length, length % 2)


def _boxes(stream: BinaryIO) -> Iterator[Part]:
    """Yield those of a file of ISO's base media format (ISO/IEC 14496-12, section 4.2)."""
    while len(head := stream.read(8)) == 8:
        length = int.from_bytes(head[:4]) - 8
        if length == -7:
            length = int.from_bytes(stream.read(8)) - 16
        for name, content in _content(stream, head[4:], length if length > 0 else _LONGEST, 0):
            yield name, content
            if name == "meta" and b"tmap" in content:
                yield "tmap", b""
            for kind in set(_AUXILIARY.findall(content) if name == "meta" else ()) - _ALPHA:
                yield "aux", kind


def _gif(stream: BinaryIO) -> Iterator[Part]:
    """Yield what applications have put into a GIF (89a, section 26), and what follows it."""
    stream.seek(10)
    _skip_palette(stream, 2)
    while (kind := stream.read(1)) in (b"!", b","):
        label = stream.read(1) if kind == b"!" else b""
        if not label:
            stream.seek(8, 1)
            _skip_palette(stream, 1)
        content = b"".join(iter(lambda: stream.read(ord(stream.read(1) or b"\0")), b""))
        if label == b"\xff":
            yield content[:11].decode("latin-1"), content[11:]
    if stream.read(_LONGEST).strip(b"\0"):
        yield "trailer", b""


def _skip_palette(stream: BinaryIO, more: int) -> None:
    """Skip flags, further bytes, and the palette that the flags may announce."""
    flags = ord(stream.read(1) or b"\0")
    stream.seek(more + (3 << (flags & 7) + 1 if flags & 128 else 0), 1)


def _content(stream: BinaryIO, name: bytes, length: int, more: int) -> Iterator[Part]:
    text = name.decode("latin-1")
    start = stream.tell()
    yield text, b"" if text in _PIXELS else stream.read(min(length, _LONGEST))
    stream.seek(start + length + more)


def _segments(stream: BinaryIO) -> Iterator[Part]:
    """Yield those of a JPEG (ITU-T T.81, annex B), and what follows it."""
    content, at = stream.read(), 2
    while marker := _MARKER.search(content, at):
        at, code = marker.end(), marker[1][0]
        if code == 0xD9:
            yield from _trailer(content[at:])
            return
        length = int.from_bytes(content[at : at + 2])
        if code == 0xFE or code >> 4 == 0xE:
            yield "COM" if code == 0xFE else f"APP{code - 0xE0}", content[at + 2 : at + length]
        at += length


def _trailer(rest: bytes) -> Iterator[Part]:
    """Yield what phones put behind a JPEG: other images, a video, something else."""
    if rest.strip(b"\0\r\n"):
        image, video = b"\xff\xd8\xff" in rest, bool(_VIDEO.search(rest))
        for kind in ["image"] * image + ["video"] * video or ["trailer"]:
            yield kind, b""


def cicp(content: bytes) -> bytes | None:
    """Return what the ``meta`` box of an AVIF says of its colours, as PNG's ``cICP`` would."""
    at = content.find(b"colrnclx")
    numbers = content[at + 8 : at + 15]
    if at < 0 or len(numbers) < 7:
        return None
    return bytes([numbers[1], numbers[3], 0, 1])  # decoded to RGB of the full range


def raw_profile(text: str) -> bytes:
    """Return what ImageMagick keeps in a text of a PNG as hexadecimal digits."""
    try:
        return bytes.fromhex("".join(text.split()[2:]))
    except ValueError:
        return b""


def photoshop(content: bytes) -> dict[int, bytes]:
    """Return the blocks that Photoshop puts into a file, by their numbers."""
    content, blocks, at = content.removeprefix(b"Photoshop 3.0\0"), {}, 0
    while content[at : at + 4] == b"8BIM" and at + 7 <= len(content):
        number = int.from_bytes(content[at + 4 : at + 6])
        at += 6 + (content[at + 6] + 2) // 2 * 2  # its name and its length, in pairs of bytes
        length = int.from_bytes(content[at : at + 4])
        blocks[number] = content[at + 4 : at + 4 + length]
        at += 4 + length + length % 2
    return blocks


def iptc_block(iptc: bytes) -> bytes:
    """Return IPTC as a block of Photoshop's."""
    head = b"8BIM" + IPTC_BLOCK.to_bytes(2) + bytes(2) + len(iptc).to_bytes(4)
    return head + iptc + bytes(len(iptc) % 2)
