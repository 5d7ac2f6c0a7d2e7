"""File <-> image <-> tensor: what the rest of srkit uses of this package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from io import BufferedWriter, BytesIO, FileIO, UnsupportedOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np
from PIL import Image, ImageCms

from srkit.errors import InputError, one_line
from srkit.files import atomic
from srkit.imaging import carried, colour, containers, formats, metadata, png, tiff, xmp
from srkit.imaging.decode import read as read
from srkit.imaging.decode import size_of as size_of
from srkit.imaging.decode import thumbnail as thumbnail
from srkit.imaging.decode import unpack as unpack
from srkit.imaging.formats import SUFFIXES as SUFFIXES
from srkit.imaging.formats import WRITABLE as WRITABLE
from srkit.imaging.formats import listed as listed
from srkit.imaging.image import DecodedImage as DecodedImage
from srkit.imaging.xmp import Origin as Origin

if TYPE_CHECKING:
    from torch import Tensor

Framing = Literal["square", "squash", "jitter"]

_XMP_MARKER = formats.MARKER - 29  # less the name that it begins by
# 4:4:4, since a network draws colours as sharp as brightness.
_QUALITY: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"quality": 95},
    "AVIF": {"quality": 90, "subsampling": "4:4:4"},
}


def save(image: DecodedImage, file: Path, *, origin: Origin | None = None) -> list[str]:
    """Encode by the file's suffix; the file appears under its name only when it is whole.

    PNG and TIFF hold 16 bits, JPEG and TIFF bring CMYK back to its inks.

    Args:
        image: What to write.
        file: Where to; its folder is made if there is none.
        origin: Provenance to embed in XMP; BMP has no place for it.

    Returns:
        A note for each thing that the format has no place for.

    Raises:
        InputError: It doesn't hold this size, or no such; or the disk is full, or the memory.
    """
    formats.require_encodable(file, image.size)
    with _errors_of(file), atomic(file) as temporary, _Whole(FileIO(temporary, "w")) as out:
        return _encode(image, out, formats.format_of(file), origin)


def encode(
    image: DecodedImage, file: Path, *, origin: Origin | None = None
) -> tuple[bytes, list[str]]:
    """Return the bytes that `save` would write to such a file, and its notes; raises as it does."""
    with _errors_of(file), BytesIO() as out:
        lost = _encode(image, out, formats.format_of(file), origin)
        return out.getvalue(), lost


@contextmanager
def _errors_of(file: Path) -> Iterator[None]:
    try:
        yield
    except MemoryError as error:
        raise InputError(f"can't write {file}: too large for the memory") from error
    except (OSError, ValueError) as error:
        raise InputError(f"can't write {file}: {one_line(error)}") from error


def _encode(decoded: DecodedImage, out: BinaryIO, name: str, origin: Origin | None) -> list[str]:
    """Write an image in a format; return a note for each loss."""
    info = metadata.fitted(decoded.info, decoded.size)
    if origin and carried.holds(name, "xmp"):
        info["xmp"] = xmp.stamp(info.get("xmp"), origin)
        if name == "JPEG" and len(info["xmp"]) > _XMP_MARKER:
            info["xmp"] = xmp.stamp(None, origin)
    info, lost = _losses(decoded, name, info)
    inks = None
    if decoded.separation and name in formats.INKS:
        opaque = DecodedImage(decoded.pixels, decoded.alpha).to_8_bit_image(opaque=True)
        inks = decoded.separation.to_cmyk(opaque)
        info["icc_profile"] = decoded.separation.profile
    elif colour.misfit(info.get("icc_profile"), "RGB", *["GRAY"] * decoded.grey):
        info.pop("icc_profile", None)
    if name == "TIFF":
        samples = decoded.samples() if inks is None else np.asarray(inks)
        tiff.write(samples, out, info, cmyk=inks is not None)
    elif name == "PNG" and (decoded.pixels.dtype == np.uint16 or info.get("hdr")):
        png.write(decoded.samples(), out, info)
    else:
        image = inks or decoded.to_8_bit_image(opaque=name in formats.OPAQUE)
        _write_by_pillow(image, out, name, info)
    return lost


def _losses(
    image: DecodedImage, name: str, info: dict[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Return what of ``info`` a format can hold, and a note for each thing that it can't."""
    lost = []
    if image.pixels.dtype == np.uint16 and name not in formats.DEEP:
        lost.append(f"{name} holds 8 bits a channel: its 16 were rounded")
    alpha = image.alpha
    if alpha is not None and name in formats.OPAQUE and alpha.min() < np.iinfo(alpha.dtype).max:
        lost.append(f"{name} holds no transparency: it lies on white now")
    if image.separation and name not in formats.INKS:
        lost.append(f"{name} holds no CMYK: it is sRGB now")
    kept, notes = carried.without_losses(info, name)
    for key in ("exif", "xmp", "iptc", "comment") if name == "JPEG" else ():
        most = _XMP_MARKER if key == "xmp" else formats.MARKER - 40
        if len(kept.get(key) or b"") > most:
            notes.append(f"JPEG holds no {carried.BY_KEY[key].what} of {len(kept.pop(key))} bytes")
    return kept, lost + notes


def _write_by_pillow(image: Image.Image, out: BinaryIO, name: str, info: dict[str, Any]) -> None:
    image = _in_srgb_where_needed(image, name, info)
    keys = ("icc_profile", "dpi", "exif", "xmp", "comment", "lossless")
    options = _QUALITY.get(name, {}) | {key: info[key] for key in keys if info.get(key)}
    if name == "PNG":
        options["pnginfo"] = png.chunks(info)
        options.pop("xmp", None)  # among these chunks
    if name == "JPEG" and info.get("iptc"):
        content = b"Photoshop 3.0\0" + containers.iptc_block(info["iptc"])
        options["extra"] = b"\xff\xed" + (len(content) + 2).to_bytes(2) + content
    image.save(out, name, **options)


class _Whole(BufferedWriter):
    """A file without a number: Pillow's own writing by number overlooks that a disk is full."""

    def fileno(self) -> int:
        raise UnsupportedOperation


def _in_srgb_where_needed(image: Image.Image, name: str, info: dict[str, Any]) -> Image.Image:
    """Convert an image to sRGB where its format can't hold its profile.

    BMP as Pillow writes it holds none; WebP and AVIF hold only those of RGB.
    """
    profile = info.get("icc_profile")
    nowhere = name in carried.BY_KEY["icc_profile"].corrected.split()
    if not profile or not (nowhere or (name in ("WEBP", "AVIF") and image.mode[0] == "L")):
        return image
    with suppress(ImageCms.PyCMSError):
        image = colour.to_srgb(image, profile)
    info["icc_profile"] = None if nowhere else colour.srgb()
    return image


def write(image: Image.Image, file: Path, info: dict[str, Any] | None = None) -> list[str]:
    """Write an upright Pillow image of any mode as `save` does; ``info`` as in `DecodedImage`."""
    return save(replace(unpack(image), info=info or {}), file)


def to_tensor(image: Image.Image) -> Tensor:
    """Return an RGB image as float32 in [0, 1], shape ``13hw``."""
    import torch

    array = np.asarray(image.convert("RGB"))
    return torch.from_numpy(array.copy()).permute(2, 0, 1)[None].float() / 255


def to_uint8(images: Tensor) -> Tensor:
    """Round images in [0, 1] to 8 bits, shape unchanged; values beyond are clamped."""
    import torch

    return images.clamp(0, 1).mul(255).round().to(torch.uint8)


def to_image(image: Tensor) -> Image.Image:
    """Return one image, ``3HW`` or ``13HW`` in [0, 1], as an RGB image."""
    if image.ndim == 4:
        (image,) = image
    return Image.fromarray(to_uint8(image).permute(1, 2, 0).contiguous().cpu().numpy())


def frame(image: Image.Image, framing: Framing, size: int) -> Image.Image:
    """Bring an RGB image to ``size`` x ``size`` pixels by Pillow's bicubic.

    ``squash`` takes the whole image; ``square`` (and ``jitter``, which crops it later) its largest
    centred square, cut at whole pixels (``(long - short) // 2`` off the near side).
    """
    if framing != "squash":
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
    return image.resize((size, size), Image.Resampling.BICUBIC)


def bicubic(lr: Tensor, scale: int) -> Tensor:
    """Upscale by bicubic interpolation with Pillow's kernel, the baseline of every model.

    torch's own bicubic upscales with a = -0.75, Pillow with -0.5; with ``antialias=True`` torch
    uses Pillow's, at any factor, which is what most tables call bicubic.

    Args:
        lr: ``B3hw``.
        scale: Upscaling factor.

    Returns:
        ``B3HW``, H = scale * h; edges may overshoot [0, 1].
    """
    import torch
    from torch.nn.functional import interpolate

    if torch.compiler.is_exporting():
        return _by_convolution(lr, scale)
    size = (lr.shape[-2] * scale, lr.shape[-1] * scale)
    return interpolate(lr, size=size, mode="bicubic", align_corners=False, antialias=True)


def _by_convolution(lr: Tensor, scale: int) -> Tensor:
    """Return what `bicubic` does by operators that every reader of ONNX understands alike.

    ONNX's antialiased Resize is computed otherwise by some. At the borders the kernel is cut, and
    made up for.
    """
    import torch
    from torch.nn.functional import conv2d, pixel_shuffle

    away = np.abs(np.arange(-2, 3) - ((np.arange(scale) + 0.5) / scale - 0.5)[:, None])
    near, far = 1.5 * away**3 - 2.5 * away**2 + 1, -0.5 * away**3 + 2.5 * away**2 - 4 * away + 2
    taps = np.where(away < 1, near, np.where(away < 2, far, 0))
    kernels = np.einsum("ai,bj->abij", taps, taps).reshape(-1, 1, 5, 5).astype(np.float32)
    kernel = torch.tensor(kernels.tolist())
    channels = lr.shape[1]
    sums = conv2d(lr, kernel.repeat(channels, 1, 1, 1), padding=2, groups=channels)
    whole = conv2d(torch.ones_like(lr[:1, :1]), kernel, padding=2)
    return pixel_shuffle(sums, scale) / pixel_shuffle(whole, scale)
