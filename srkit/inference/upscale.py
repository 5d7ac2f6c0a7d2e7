"""Model + image -> image: pictures of any size and kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from srkit.errors import InputError, OptionError
from srkit.imaging.codec import Picture, unpack
from srkit.inference import arrays, folding, winograd
from srkit.inference.model import Limits, Network, Settings
from srkit.recipe import Recipe

PRECISIONS = {
    "auto": None,
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
}
# LR pixels of small pictures computed at once: enough to keep the cores busy, few enough for
# feature maps to stay in their caches.
SMALL = 1 << 10  # larger ones fill a CPU's cache alone: one for each thread
AT_ONCE = {"cpu": 1 << 14, "cuda": 1 << 18, "mps": 1 << 16}


@dataclass(frozen=True)
class Model(Network):
    """A generator ready to enlarge pictures, and where it came from.

    Attributes:
        licence: Of the weights, as far as known.
        sha256: Of the weights' file; None for a generator without weights.
        recipe: What it was trained by, if known.
        metadata: The rest of what its file says.
    """

    licence: str = "unknown"
    sha256: str | None = None
    recipe: Recipe | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def generates(self) -> bool:
        """Whether it draws what it has learned, rather than interpolate."""
        return self.sha256 is not None

    def upscale_picture(
        self,
        picture: Picture,
        settings: Settings | None = None,
        progress: Callable[[int], None] = lambda pixels: None,
    ) -> Picture:
        """Enlarge a decoded picture; alpha, greyness, depth and metadata are kept.

        Raises:
            InputError: As `enlarge`.
        """
        settings = settings or Settings()
        sr = self.enlarge_pixels(picture.pixels, settings, progress)
        return picture.upscaled(arrays.resized(sr, wanted_size(picture.size, self, settings)))

    def upscale_pictures(
        self, pictures: Sequence[Picture], settings: Settings | None = None
    ) -> list[Picture]:
        """Enlarge several; neighbours of one size are computed together while that pays."""
        settings = settings or Settings()
        found: list[Picture] = []
        for (size, _), same in groupby(pictures, lambda p: (p.size, p.pixels.dtype)):
            its = list(same)
            step = self.at_once(size)
            for first in range(0, len(its), step):
                some = its[first : first + step]
                if len(some) == 1:
                    found.append(self.upscale_picture(some[0], settings))
                    continue
                stack = self.enlarge_pixels(np.stack([p.pixels for p in some]), settings)
                wanted = wanted_size(size, self, settings)
                found += [
                    picture.upscaled(arrays.resized(sr, wanted))
                    for picture, sr in zip(some, stack, strict=True)
                ]
        return found

    def at_once(self, size: tuple[int, int]) -> int:
        """Return how many pictures of one size (width, height) are best computed together."""
        pixels = size[0] * size[1]
        if self.device.type == "cpu" and pixels > SMALL:
            return max(1, self.threads)
        return max(1, AT_ONCE.get(self.device.type, 1 << 16) // pixels)

    @overload
    def upscale(self, image: Image.Image, **how: Any) -> Image.Image: ...
    @overload
    def upscale(self, image: np.ndarray, **how: Any) -> np.ndarray: ...
    @overload
    def upscale(self, image: Tensor, **how: Any) -> Tensor: ...
    @overload
    def upscale(self, image: Sequence[Any], **how: Any) -> list[Any]: ...

    def upscale(self, image: Any, **how: Any) -> Any:
        """Enlarge one image or many; what comes in comes out.

        Args:
            image: A Pillow image of any mode; an array, ``hw``, ``hw1``, ``hw3`` or ``hw4``
                (RGB, RGBA), of uint8, uint16, or floats in [0, 1]; a tensor, ``3hw`` or ``B3hw``
                in [0, 1]; or a list of such.
            **how: The fields of `Settings`.

        Returns:
            The same kind. Of a Pillow image, alpha and greyness are kept, EXIF orientation is
            applied, and what its file said beyond pixels is in ``info`` as ``icc_profile``,
            ``exif``, ``xmp`` and ``dpi``. Pillow writes the profile by itself; hand it the
            others: ``result.save(file, exif=result.info["exif"])``.

        Raises:
            OptionError: A setting that makes no sense.
            InputError: An array or tensor of another shape or type; and as `enlarge`.
        """
        try:
            settings = Settings(**how)
        except TypeError as error:
            known = ", ".join(Settings.__dataclass_fields__)
            raise OptionError(f"upscale takes {known}: {error}") from error
        if isinstance(image, Tensor):
            return self._upscale_tensor(image, settings)
        if not isinstance(image, list | tuple):
            return self.upscale([image], **how)[0]
        if any(isinstance(one, Tensor) for one in image):
            return [self.upscale(one, **how) for one in image]
        wrapped = [
            (unpack(one), Picture.to_image) if isinstance(one, Image.Image) else arrays.wrapped(one)
            for one in image
        ]
        made = self.upscale_pictures([picture for picture, _ in wrapped], settings)
        return [back(picture) for picture, (_, back) in zip(made, wrapped, strict=True)]

    def _upscale_tensor(self, lr: Tensor, settings: Settings) -> Tensor:
        if lr.ndim not in (3, 4) or lr.shape[-3] != 3 or not lr.is_floating_point():
            raise InputError(
                f"a tensor is 3hw or B3hw of floats in [0, 1], not {tuple(lr.shape)} {lr.dtype}"
            )
        stack = lr if lr.ndim == 4 else lr[None]
        sr = self.enlarge(stack, settings=settings)
        width, height = wanted_size((lr.shape[-1], lr.shape[-2]), self, settings)
        sr = arrays.resized_tensor(sr, (height, width))
        return sr if lr.ndim == 4 else sr[0]


def prepared(model: Model, device: torch.device, precision: str = "auto") -> Model:
    """Bring a model to a device and make it fast there.

    Batch normalisation is folded into convolutions, weights go to channels_last. A CPU also gets
    a copy with Winograd's convolutions. Where the device computes in half precision, 8-bit
    pictures will be: in fp16, whose steps near 1 are an eighth of bf16's.

    Args:
        model: Its generator is folded into a copy, or moved itself.
        device: From `srkit.inference.device.device_named`.
        precision: ``auto``, ``fp32``, ``fp16`` or ``bf16``.

    Raises:
        OptionError: Half precision on a device that hasn't got it, or never gets it: the CPU.
    """
    generator = folding.folded(model.generator.eval().requires_grad_(False))
    generator.to(device).to(memory_format=torch.channels_last)
    if precision not in PRECISIONS:
        raise OptionError(f"precision is one of {', '.join(PRECISIONS)}, not '{precision}'")
    dtype = PRECISIONS[precision] or (torch.float16 if device.type == "cuda" else torch.float32)
    if dtype != torch.float32 and device.type == "cpu":
        raise OptionError(f"precision {precision} is for GPUs; on a CPU it is slower and coarser")
    quick = winograd.quick(generator) if device.type == "cpu" else None
    return replace(model, generator=generator, quick=quick, limits=Limits(dtype=dtype))


def wanted_size(size: tuple[int, int], model: Model, settings: Settings) -> tuple[int, int]:
    """Return the width and height of a result, at least one pixel each."""
    scale = settings.scale or model.scale
    width, height = (max(1, round(side * scale)) for side in size)
    return width, height
