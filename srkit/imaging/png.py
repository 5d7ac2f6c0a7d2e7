"""PNG of 16 bits a channel, of which Pillow reads the upper eight and writes none.

See the PNG specification, third edition, sections 5 (chunks) and 9 (filters).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo, putchunk

from srkit.imaging import containers
from srkit.imaging.image import DecodedImage, split

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_BAND = 2**22  # bytes of rows that are filtered and compressed at a time
_LEVEL = 4  # of zlib: a quarter of the time that 6 takes, for files 6 % larger
_MODES = {1: ("L", 0), 2: ("LA", 4), 3: ("RGB", 2), 4: ("RGBA", 6)}  # Pillow's and PNG's
_PAETH = 4  # number of the filter


def read(image: Any, stream: BinaryIO) -> DecodedImage:
    """Decode a PNG of 16 bits that Pillow has opened; it is loaded, for its metadata's sake.

    Pillow takes the upper byte of each sample. Told that the samples have the other order of
    bytes, it takes the lower; so two passes give all of it.
    """
    layout = str(image.tile[0].args)
    if layout.startswith("LA"):  # their four bytes have the place of another layout's channels
        halves = as_if(image, "RGBA").astype(np.uint16)
        samples = halves[..., ::2] << 8 | halves[..., 1::2]
    else:
        upper = as_if(image, layout).astype(np.uint16)
        stream.seek(0)
        with Image.open(stream) as again:
            samples = upper << 8 | as_if(again, layout[:-1] + "L")
    decoded = split(samples, alpha=samples.shape[2] in (2, 4))
    key = image.info.get("transparency")
    if decoded.alpha is None and isinstance(key, tuple):
        shown = (decoded.pixels != np.array(key)).any(axis=2)
        decoded = replace(decoded, alpha=shown.astype(np.uint16) * 65_535)
    return decoded


def as_if(image: Any, layout: str) -> np.ndarray:
    """Decode an image as if its samples lay otherwise; see Pillow's "Writing your own plugin"."""
    (tile,) = image.tile
    args = (layout, *tile.args[1:]) if isinstance(tile.args, tuple) else layout
    image.tile = [tile._replace(args=args)]
    return np.asarray(image)


def chunks(info: dict[str, Any]) -> PngInfo:
    """Return what Pillow takes as ``pnginfo``: texts, XMP and IPTC."""
    result = PngInfo()
    for key, text in info.get("text", {}).items():
        result.add_text(key, text)
    if comment := info.get("comment"):
        result.add_text("Comment", comment.decode("utf-8", "replace"))
    if xmp := info.get("xmp"):
        result.add_itxt("XML:com.adobe.xmp", xmp.decode("utf-8", "replace"))
    if iptc := info.get("iptc"):  # as ImageMagick and ExifTool keep it: there is no chunk for it
        block = containers.iptc_block(iptc)
        text = f"\niptc\n{len(block):8}\n{block.hex()}\n"
        result.add_text("Raw profile type iptc", text, zip=True)
    return result


def write(samples: np.ndarray, out: BinaryIO, info: dict[str, Any]) -> None:
    """Write samples, ``HWC``, of 16 bits, or of 8 where their colours are HDR."""
    height, width, depth = samples.shape
    mode, kind = _MODES[depth]
    step = depth * samples.itemsize
    rows = max(1, _BAND // (step * width))
    deflate = zlib.compressobj(_LEVEL)
    out.write(_SIGNATURE)
    header = struct.pack(">IIBBBBB", width, height, 8 * samples.itemsize, kind, 0, 0, 0)
    putchunk(out, b"IHDR", header)
    for name, data in _of_pillow(mode, info):
        putchunk(out, name, data)
    for key, data in info.get("hdr", {}).items():
        putchunk(out, key.encode(), data)
    above = np.zeros(step * width, np.uint8)
    for top in range(0, height, rows):
        band = samples[top : top + rows].astype(samples.dtype.newbyteorder(">"))
        lines = band.reshape(len(band), -1).view(np.uint8)
        packed = deflate.compress(_filtered(lines, above, step).data)
        above = lines[-1]
        if packed:
            putchunk(out, b"IDAT", packed)
    putchunk(out, b"IDAT", deflate.flush())
    putchunk(out, b"IEND")


def _of_pillow(mode: str, info: dict[str, Any]) -> Iterator[tuple[bytes, bytes]]:
    """Yield the chunks that Pillow writes for metadata: those of an image of one pixel."""
    options = {k: info[k] for k in ("icc_profile", "exif", "dpi") if info.get(k)}
    stream = BytesIO()
    Image.new(mode, (1, 1)).save(stream, "PNG", pnginfo=chunks(info), **options)
    encoded = stream.getvalue()
    at = len(_SIGNATURE)
    while at < len(encoded):
        length, name = struct.unpack_from(">I4s", encoded, at)
        if name not in (b"IHDR", b"IDAT", b"IEND"):
            yield name, encoded[at + 8 : at + 8 + length]
        at += 12 + length


def _filtered(lines: np.ndarray, above: np.ndarray, step: int) -> np.ndarray:
    """Apply the Paeth filter, which packs photographs best, to rows of bytes, ``HB``.

    ``above`` is the row before, ``step`` the bytes of a pixel. The result, ``H(1+B)``, has each
    row's filter before what it leaves.
    """
    up = np.vstack([above[None], lines[:-1]])
    left, corner = np.zeros_like(lines), np.zeros_like(lines)
    left[:, step:], corner[:, step:] = lines[:, :-step], up[:, :-step]
    across, down = up.astype(np.int16) - corner, left.astype(np.int16) - corner
    far_left, far_up, far_corner = np.abs(across), np.abs(down), np.abs(across + down)
    nearest = np.where(far_up <= far_corner, up, corner)
    nearest = np.where((far_left <= far_up) & (far_left <= far_corner), left, nearest)
    return np.insert(lines - nearest, 0, _PAETH, axis=1)
