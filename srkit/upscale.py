"""Model + image -> image: tiles for pictures of any size."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, cast

import torch
from PIL import Image
from torch import Tensor, nn

from srkit import images
from srkit.recipe import Recipe

TILE = 128  # LR pixels: about 2 MB a feature map at x4, and few margins computed twice
BLEND = 8  # LR pixels on each side of a seam over which two tiles fade into each other
UNKNOWN_RADIUS = 16  # LR pixels of context for a generator that states none


@dataclass(frozen=True)
class Model:
    """A generator ready to enlarge pictures, and where it came from.

    Attributes:
        name: As asked for.
        generator: In evaluation mode, on its device.
        scale: Enlargement factor.
        licence: Of the weights, as far as known.
        sha256: Of the weights' file; None for a generator without weights.
        recipe: What it was trained by, if known.
        metadata: The rest of what its file says.
    """

    name: str
    generator: nn.Module
    scale: int
    licence: str = "unknown"
    sha256: str | None = None
    recipe: Recipe | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        tensors = [*self.generator.parameters(), *self.generator.buffers()]
        return tensors[0].device if tensors else torch.device("cpu")

    @property
    def exact_tiles(self) -> bool:
        """Whether tiles give what the whole picture would; if not, they approximate it."""
        return getattr(self.generator, "receptive_radius", None) is not None

    @torch.inference_mode()
    def enlarge(self, lr: Tensor, *, tile: int = TILE) -> Tensor:
        """Enlarge tensors.

        Args:
            lr: ``B3hw`` in [0, 1], on any device.
            tile: Side of a tile in LR pixels, without its margins.

        Returns:
            ``B3HW`` on lr's device, clamped to [0, 1].
        """
        radius = getattr(self.generator, "receptive_radius", None)
        margin = UNKNOWN_RADIUS if radius is None else int(radius)
        height, width = lr.shape[-2:]
        rows, columns = _spans(height, tile, margin), _spans(width, tile, margin)
        if len(rows) == len(columns) == 1:
            return self._forward(lr).to(lr.device).clamp(0, 1)
        sr = lr.new_zeros(*lr.shape[:2], height * self.scale, width * self.scale)
        for row in rows:
            for column in columns:
                part = lr[..., row.read, column.read]
                part = self._forward(part).to(lr.device)
                part = part[..., row.inner(self.scale), column.inner(self.scale)]
                weight = row.ramp(self.scale)[:, None] * column.ramp(self.scale)[None]
                place = (..., row.written(self.scale), column.written(self.scale))
                sr[place] += part * weight.to(lr.device)
        return sr.clamp(0, 1)

    def _forward(self, lr: Tensor) -> Tensor:
        given = lr.to(self.device).contiguous(memory_format=torch.channels_last)
        return cast(Tensor, self.generator(given)).float()

    def upscale(self, image: Image.Image, *, tile: int = TILE) -> Image.Image:
        """Enlarge a picture; alpha and greyness are kept, EXIF orientation is applied.

        Args:
            image: Any mode.
            tile: See `enlarge`.

        Returns:
            The picture; what its file said beyond pixels is in ``info`` as ``icc_profile``,
            ``exif`` and ``dpi``. Pillow writes the profile by itself; hand it the others:
            ``result.save(file, exif=result.info["exif"])``.
        """
        picture = images.unpack(image)
        result = self.upscale_picture(picture, tile=tile)
        result.info.update(**picture.info)
        return result

    def upscale_picture(self, picture: images.Picture, *, tile: int = TILE) -> Image.Image:
        """Enlarge a decoded picture; see `upscale`."""
        sr = self.enlarge(images.to_tensor(picture.rgb), tile=tile)
        return images.pack(images.to_image(sr), picture)


@dataclass(frozen=True)
class _Span:
    """One tile along one axis, in LR pixels: [start, stop) is its own, the rest is margin."""

    start: int
    stop: int
    length: int  # of the whole axis
    margin: int

    @property
    def shown(self) -> tuple[int, int]:
        """Where the tile takes part in the output: its own span and half of each seam."""
        left = 0 if self.start == 0 else self.start - BLEND
        right = self.length if self.stop == self.length else self.stop + BLEND
        return left, right

    @property
    def read(self) -> slice:
        left, right = self.shown
        return slice(max(0, left - self.margin), min(self.length, right + self.margin))

    def inner(self, scale: int) -> slice:
        """Return where ``shown`` lies within what the generator gives for ``read``."""
        left, right = self.shown
        first = self.read.start
        return slice((left - first) * scale, (right - first) * scale)

    def written(self, scale: int) -> slice:
        left, right = self.shown
        return slice(left * scale, right * scale)

    def ramp(self, scale: int) -> Tensor:
        """Return the weights along the axis; those of two neighbours add up to one."""
        left, right = self.shown
        weights = torch.ones((right - left) * scale)
        fade = 2 * BLEND * scale
        rise = (torch.arange(fade) + 0.5) / fade
        if self.start > 0:
            weights[:fade] = rise
        if self.stop < self.length:
            weights[-fade:] = rise.flip(0)
        return weights


def _spans(length: int, tile: int, margin: int) -> list[_Span]:
    """Cut an axis into equal spans of about ``tile`` pixels, or one if that is nearly enough."""
    tile = max(tile, 2 * BLEND)  # no pixel may lie under more than one seam
    if length <= tile + 2 * margin:
        return [_Span(0, length, length, margin)]
    count = min(math.ceil(length / tile), length // (2 * BLEND))
    edges = [round(length * i / count) for i in range(count + 1)]
    return [_Span(start, stop, length, margin) for start, stop in pairwise(edges)]
