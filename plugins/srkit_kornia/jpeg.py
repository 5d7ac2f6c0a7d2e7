"""JPEG's loss, batched: what encoding and decoding an image leaves of it.

kornia's `jpeg_codec_differentiable` replaces rounding by a polynomial, so that gradients pass:
its coefficients aren't whole numbers, and what a real file loses is partly kept. Nothing here
needs a gradient, so this rounds where a codec does. It follows ITU-T T.81 with the baseline
tables of its annex K, JFIF's colour space, and the scaling of tables by quality, the halving of
chroma and its smooth upsampling that libjpeg made customary.
"""

from __future__ import annotations

import functools
import io
import math
from typing import Literal

import torch
from PIL import Image
from pydantic import Field
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, pad

from srkit_kornia.canvas import Canvas, Frame, Operation, cut
from srkit_kornia.draws import Quality, Weighted, mixed, whole, working

Chroma = Literal["4:2:0", "4:4:4"]

_QUALITY, _CHROMA, _DOWN, _ACROSS = range(1, 5)
_LUMA = (0.299, 0.587, 0.114)
_BLUE = (-0.168735892, -0.331264108, 0.5)
_RED = (0.5, -0.418687589, -0.081312411)
_TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136286, -0.714136286), (1.0, 1.772, 0.0))


@functools.cache
def _constants(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return annex K's tables (luma, chroma; ``288``), and the transform along an axis, ``88``.

    They are copied to a device once: a copy in every batch would make it wait for the host.
    """
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "jpeg", quality=50)  # at which they aren't scaled
    with torch.inference_mode(False), Image.open(file) as image:
        tables = torch.tensor([image.quantization[plane] for plane in (0, 1)])  # type: ignore[attr-defined]
        rows = torch.arange(8, dtype=working(device))
        cosines = torch.cos((2 * rows[None] + 1) * rows[:, None] * math.pi / 16) / 2
        cosines[0] /= math.sqrt(2)
        return tables.view(2, 8, 8).to(device, cosines.dtype), cosines.to(device)


def rounded(values: Tensor) -> Tensor:
    """Round to whole numbers, halves away from zero whatever the last bits say.

    Averages of 8-bit levels often lie halfway; a bare ``round`` would leave the choice to the
    order of the additions before.
    """
    return (values * (1 + 1e-5)).round_()


def _scaled(tables: Tensor, quality: Tensor) -> Tensor:
    """Return the tables for qualities (whole numbers, ``B``), ``B288``, as libjpeg scales them."""
    percent = torch.where(quality < 50, torch.floor(5000 / quality), 200 - 2 * quality)
    scaled = torch.floor((tables * percent[:, None, None, None] + 50) / 100)
    return scaled.clamp(1, 255)


def _lost(plane: Tensor, table: Tensor, cosines: Tensor) -> Tensor:
    """Return planes (``BCHW``, 0 to 255, sides multiples of 8) after quantisation by ``B88``."""
    count, width = len(plane), plane.shape[-1]
    # The rows of a block are transformed where they lie, then its columns.
    rows = cosines @ (plane - 128).to(cosines.dtype).reshape(count, -1, 8, width)
    coefficients = rows.view(count, -1, 8, width // 8, 8) @ cosines.T
    table = table[:, None, :, None, :]
    kept = rounded(coefficients.mul_(1 / table)).mul_(table)
    back = cosines.T @ (kept @ cosines).view(count, -1, 8, width)
    return rounded(back.float() + 128).clamp_(0, 255).view(plane.shape)


def _weighted(shares: tuple[float, float, float], planes: Tensor) -> Tensor:
    """Return a weighted sum of three planes, ``B1HW``, the same to the bit in any batch."""
    first, second, third = planes.unbind(dim=1)
    return (shares[0] * first + shares[1] * second + shares[2] * third)[:, None]


def compressed(pixels: Tensor, quality: Tensor, *, halved: bool = True) -> Tensor:
    """Return images as a JPEG file would give them back: multiples of 1/255.

    Args:
        pixels: ``B3HW`` in [0, 1], any size; rounded to 8 bits first, as a file's input is.
        quality: libjpeg's, whole numbers from 1 to 100, shape ``B``.
        halved: Store chroma at half the size (4:2:0), else at full size (4:4:4).
    """
    tables, cosines = _constants(pixels.device)
    height, width = pixels.shape[-2:]
    block = 16 if halved else 8
    # A codec fills up its last blocks by repeating the border.
    levels = rounded(pixels.clamp(0, 1) * 255)
    levels = pad(levels, (0, -width % block, 0, -height % block), mode="replicate")
    luma = rounded(_weighted(_LUMA, levels))
    chroma = rounded(torch.cat([_weighted(_BLUE, levels), _weighted(_RED, levels)], dim=1) + 128)
    tables = _scaled(tables, quality)
    if halved:
        chroma = rounded(avg_pool2d(chroma, 2))
    luma = _lost(luma, tables[:, 0], cosines)
    chroma = _lost(chroma, tables[:, 1], cosines)
    if halved:
        # Weights 3/4 and 1/4 along each axis, libjpeg's "fancy" upsampling.
        chroma = rounded(interpolate(chroma, scale_factor=2, mode="bilinear"))
    ycc = torch.cat([luma, chroma - 128], dim=1)
    rgb = rounded(torch.cat([_weighted(shares, ycc) for shares in _TO_RGB], dim=1))
    return rgb[..., :height, :width].clamp(0, 255) / 255


class Jpeg(Operation):
    """Compress to JPEG and decode again.

    Attributes:
        quality: libjpeg's quality, a whole number from 1 to 100.
        chroma: ``4:2:0`` (colour at half the size, as most cameras and sites save it), ``4:4:4``,
            or weights of both.
        any_phase: Put the grid of blocks anywhere, as if the face had been cut out of a larger
            JPEG; otherwise it begins at the corner.
    """

    do: Literal["jpeg"] = "jpeg"
    quality: Quality = (30.0, 95.0)
    chroma: Weighted[Chroma] = Field({"4:2:0": 1.0})
    any_phase: bool = False

    def __call__(self, canvas: Canvas, frame: Frame, seeds: Tensor) -> Canvas:
        """Return all images compressed."""
        quality = torch.floor(whole(self.quality, seeds, _QUALITY))
        pixels = canvas.filled()
        if self.any_phase:
            height, width = pixels.shape[-2:]
            phase = torch.stack(
                [whole((0, 15), seeds, each).long() for each in (_DOWN, _ACROSS)], 1
            )
            pixels = cut(pixels, -phase, (height + 15, width + 15))

        def kept(chroma: Chroma) -> Tensor:
            return compressed(pixels, quality, halved=chroma == "4:2:0")

        kept_pixels = mixed(self.chroma, seeds, _CHROMA, kept)
        if self.any_phase:
            kept_pixels = cut(kept_pixels, phase, (height, width))
        return Canvas(kept_pixels, canvas.sizes)
