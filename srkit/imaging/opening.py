"""Files and Pillow images of any mode -> pictures: upright RGB and what goes around it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms, ImageFile, UnidentifiedImageError

from srkit.errors import InputError
from srkit.imaging import colour, deep, formats, metadata
from srkit.imaging.colour import Separation
from srkit.imaging.deep import Samples
from srkit.imaging.metadata import Metadata
from srkit.imaging.picture import Picture

# Refuses decompression bombs before they are decoded, below where Pillow would (178,956,970).
MAX_PIXELS = 150_000_000
UNKNOWN = "not a readable picture (of no known format)"
ANIMATED = ("GIF", "PNG", "WEBP", "AVIF")
# PostScript is a program, which Pillow would have Ghostscript run; a picture is only data.
PROGRAMS = ("EPS",)
_HEAD = 4096  # bytes
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PROFILE, _XMP, _RESOLUTION = 34_675, 700, 282
_OWN_TAGS = (_PROFILE, _XMP, 270, 271, 272, 274, 305, 306, 315, 33_432)  # and what EXIF has of it
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Source:
    """Where a picture is: in a file, or in memory and called like one."""

    file: Path | str
    encoded: bytes | None = None

    def opened(self) -> Any:
        """Return what Pillow and tifffile open; of a file its name, so that Pillow may map it."""
        return self.file if self.encoded is None else BytesIO(self.encoded)

    def content(self) -> bytes:
        """Return all of it."""
        return Path(self.file).read_bytes() if self.encoded is None else self.encoded

    def head(self) -> bytes:
        """Return the first bytes, by which one kind of file is told from others."""
        if self.encoded is not None:
            return self.encoded[:_HEAD]
        with Path(self.file).open("rb") as given:
            return given.read(_HEAD)


def decoded(source: Source) -> Picture:
    """Decode a picture; see `srkit.imaging.codec.read`, which makes its errors the user's.

    Raises:
        InputError: It is of a kind, or a size, that isn't read; without the file's name.
        Exception: Pillow's, of any kind.
    """
    image = opened(source)
    if image is None:
        return _of_tiff(source)
    with image:
        if not deep.is_deep(image):
            return _shallow(image, source)
        if image.format == "TIFF":
            samples = deep.tiff(source.opened(), MAX_PIXELS)
        elif image.format == "HEIF":
            samples = deep.heif(source.content(), _heif_reader())
        else:
            image.load()  # for what stands behind the pixels, and to see that all is there
            samples = deep.png(source.opened(), image.info.get("transparency"))
        return _arranged(samples, metadata.of(image), image.info.get("icc_profile"))


def opened(source: Source) -> ImageFile.ImageFile | None:
    """Open a still of a size that is read; None for a TIFF that Pillow doesn't know.

    Raises:
        InputError: It is something else; without the file's name.
    """
    try:
        image = Image.open(source.opened())
    except UnidentifiedImageError as error:
        head = source.head()
        reader = _heif_reader() if formats.is_heif(head) else None
        if reader is None:
            if head.startswith(_TIFF):
                return None
            raise InputError(formats.refusal(source.file, head) or UNKNOWN) from error
        reader.register_heif_opener()
        image = Image.open(source.opened())
    except Image.DecompressionBombError as error:
        raise InputError("its pixels are too many") from error
    try:
        _require_still(image)
    except InputError:
        image.close()
        raise
    return image


def size_of(source: Source) -> tuple[int, int]:
    """Return a picture's width and height, upright, without decoding it.

    Raises:
        InputError, Exception: See `decoded`.
    """
    image = opened(source)
    if image is None:
        return _of_tiff(source).size
    with image:
        turned = image.format != "TIFF" and metadata.of(image).orientation > 4
        return (image.height, image.width) if turned else image.size


def unpacked(image: Image.Image) -> Picture:
    """Split a Pillow image of any mode; one that is upright RGB already becomes a part of it."""
    about = metadata.of(image)
    profile = image.info.get("icc_profile")
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        samples = deep.grey(image)
        key = image.info.get("transparency")
        if isinstance(key, int):
            samples.alpha = np.where(samples.pixels[..., 0] == key, 0, deep.WHITE).astype(np.uint16)
        return _arranged(samples, about, profile)
    grey = image.mode in ("1", "L", "LA", "La")
    if about.orientation in _TURNS:
        image = image.transpose(_TURNS[about.orientation])
    if image.mode == "CMYK":
        return _of_cmyk(image, about, profile)
    if image.mode == "LAB":
        return Picture(
            colour.from_lab(image), None, grey, about.info | {"icc_profile": colour.srgb()}
        )
    info = about.info | _profile(profile, grey, about.notes)
    alpha = None
    if image.has_transparency_data:
        if image.mode in ("La", "RGBa"):  # multiplied by alpha: Pillow takes that out first
            image = image.convert(image.mode.upper())
        image = image.convert("RGBA")
        alpha = np.array(image.getchannel("A"))
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    return Picture(rgb, alpha, grey, info, notes=tuple(about.notes))


def _shallow(image: ImageFile.ImageFile, source: Source) -> Picture:
    """Decode what Pillow can, and note what it can't."""
    bits = deep.bits_lost(image)
    if image.format == "PNG" and image.mode == "L" and "transparency" in image.info:
        # Pillow widens pixels of 2 and 4 bits to 8, but not the grey that stands for nothing.
        image.info["transparency"] *= {"L;2": 85, "L;4": 17}.get(str(image.tile[0].args), 1)
    image.load()
    picture = unpacked(image)
    if image.format == "AVIF":
        bits = deep.avif_bits(source.head())
    if image.format == "WEBP" and formats.is_lossless_webp(source.content()):
        picture.info["lossless"] = True
    if bits > 8:
        note = f"its {bits} bits a channel were cut to 8"
        picture = replace(picture, notes=(*picture.notes, note))
    return picture


def _require_still(image: ImageFile.ImageFile) -> None:
    if not image.width or not image.height:
        raise InputError("not a readable picture (it has no pixels)")
    if image.width * image.height > MAX_PIXELS:
        raise InputError(f"{image.width}x{image.height} pixels are too many")
    # Phones' JPEGs carry a second frame (MPO), scans several pages: the first is meant.
    if image.format in ANIMATED and getattr(image, "is_animated", False):
        raise InputError("animated pictures are not supported")
    if image.format in PROGRAMS:
        raise InputError(f"{image.format} is a program and isn't run")
    if image.format == "MPEG":
        raise InputError("video is not supported")


def _heif_reader() -> Any:
    """Return the module that reads HEIF, or None where there is none."""
    for name in formats.HEIF_READERS:
        if find_spec(name):
            return import_module(name)
    return None


def _of_tiff(source: Source) -> Picture:
    """Decode a TIFF of a kind that Pillow doesn't know, such as grey of 16 bits with alpha."""
    import tifffile

    try:
        samples = deep.tiff(source.opened(), MAX_PIXELS)
        with tifffile.TiffFile(source.opened()) as file:
            page: Any = file.pages[0]
            tags = {code: page.tags[code].value for code in _OWN_TAGS if code in page.tags}
            dpi = page.get_resolution("INCH") if _RESOLUTION in page.tags else None
    except InputError:
        raise
    except Exception as error:  # of nearly any kind, on broken bytes
        raise InputError(UNKNOWN) from error
    bare = Image.new("L", (1, 1))
    bare.getexif().update({t: v for t, v in tags.items() if t not in (_PROFILE, _XMP)})
    bare.info.update(xmp=tags.get(_XMP), dpi=dpi)
    return _arranged(samples, metadata.of(bare), tags.get(_PROFILE))


def _arranged(samples: Samples, about: Metadata, profile: Any) -> Picture:
    """Make a picture of decoded pixels: turn them upright and put what goes around them there."""
    info = about.info | _profile(profile, samples.grey, about.notes)
    if samples.note:
        about.notes.append(samples.note)
    turned = [_turned(each, about.orientation) for each in (samples.pixels, samples.alpha)]
    assert turned[0] is not None
    return Picture(turned[0], turned[1], samples.grey, info, notes=tuple(about.notes))


def _turned(array: np.ndarray | None, orientation: int) -> np.ndarray | None:
    """Turn an array, ``HW…``, as `_TURNS` turn images."""
    if array is None or orientation == 1:
        return array
    if orientation > 4:
        array = array.swapaxes(0, 1)
    rows, columns = slice(None, None, -1), slice(None)
    if orientation in (3, 4, 7, 8):
        array = array[rows]
    if orientation in (2, 3, 6, 7):
        array = array[columns, rows]
    return np.ascontiguousarray(array)


def _profile(profile: Any, grey: bool, notes: list[str]) -> dict[str, Any]:
    """Return a profile of light as ``info``, if it is sound; note if not.

    A grey picture may have one of RGB: its channels are equal then, and are written so.
    """
    kept = _of_spaces(profile, ("RGB", "GRAY") if grey else ("RGB",), notes)
    return {"icc_profile": kept} if kept else {}


def _of_spaces(profile: Any, spaces: tuple[str, ...], notes: list[str]) -> bytes | None:
    """Return a profile, if it is of one of these spaces; note if it is of another or broken."""
    if not isinstance(profile, bytes) or not profile:
        return None
    space = colour.space(profile)
    if space in spaces:
        return profile
    why = f"is one of {space}" if space.isalnum() else "is broken"
    notes.append(f"its colour profile {why} and was left out")
    return None


def _of_cmyk(image: Image.Image, about: Metadata, profile: Any) -> Picture:
    """Bring inks to sRGB; without a sound profile, as ideal ones."""
    separation = Separation(_of_spaces(profile, ("CMYK",), about.notes))
    try:
        rgb = separation.to_rgb(image)
    except (ImageCms.PyCMSError, OSError):
        about.notes.append("its colour profile is broken and was left out")
        separation = Separation()
        rgb = separation.to_rgb(image)
    info = about.info | ({"icc_profile": colour.srgb()} if separation.profile else {})
    return Picture(rgb, None, False, info, separation, tuple(about.notes))
