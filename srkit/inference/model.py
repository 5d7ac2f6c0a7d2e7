"""Model + image -> image: an image of any size and kind through a network, as memory allows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby, product
from numbers import Real
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

import numpy as np
from PIL import Image

from srkit import notebook, registry
from srkit.errors import InputError, OptionError, one_line, ran_out
from srkit.imaging.codec import DecodedImage, unpack
from srkit.imaging.image import canvas
from srkit.inference import arrays, consistency, eager, tiling
from srkit.inference.device import is_tensor, release
from srkit.inference.eager import Run
from srkit.recipe import Recipe

if TYPE_CHECKING:
    from torch import Tensor, nn

# LR pixels: the side of a tile, from the least to the most, is that many times the radius, so that
# margins cost at most half of the time where memory allows.
TILE, TIMES = (256, 512), 9
LEAST_TILE = 2 * tiling.BLEND
UNKNOWN_RADIUS = 16  # LR pixels of context for a generator that states none
# LR pixels of small images computed at once: enough to keep the cores busy, few enough for feature
# maps to stay in their caches.
BATCH_PIXELS = {"cpu": 1 << 14, "cuda": 1 << 18, "mps": 1 << 16}

Progress = Callable[[float], None]
T = TypeVar("T")


@dataclass(frozen=True)
class Settings:
    """How images are upscaled.

    Attributes:
        scale: Wanted scale; the model's own if None. Another is resampled from the model's result
            by Lanczos.
        ensemble: Average over the symmetries that the model states.
        consistent: Back-project, so that the downscaled result equals the input; see
            `srkit.inference.consistency`.
        tile: Side of a tile in LR pixels, without its margins, at least 16; if None, 256 to 512, by
            the model's receptive radius.
    """

    scale: float | None = None
    ensemble: bool = False
    consistent: bool = False
    tile: int | None = None

    def __post_init__(self) -> None:
        for name in ("scale", "tile"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, Real):  # NumPy's are, too
                raise OptionError(f"{name} is a number, not {value!r:.40}")
        if self.scale is not None and not 0 < self.scale <= 64:
            raise OptionError(f"scale must be above 0 and at most 64, not {self.scale:g}")
        if self.consistent and self.scale is not None and self.scale < 1:
            raise OptionError(f"consistent results need a scale of 1 or more, not {self.scale:g}")
        if self.tile is not None and self.tile < 1:
            raise OptionError(f"tile must be 1 or more, not {self.tile}")


@dataclass
class Limits:
    """Largest tile and batch that fit on a model's device; they only shrink."""

    tile: int = 1 << 30  # side in LR pixels
    batch: int = 1 << 30  # tiles at once
    precision: str = "fp32"  # in which the network computes images of 8 bits
    notes: list[str] = field(default_factory=list)  # for the user, not yet shown

    def shrink(self, device: str, count: int, tile: int) -> bool:
        """Halve the batch, or else the tile, that did not fit; return False at the smallest."""
        if (count := min(count, self.batch)) > 1:
            self.batch = count // 2
            rest = f"{self.batch} at a time"
        elif (tile := min(tile, self.tile)) > LEAST_TILE:
            self.tile = max(LEAST_TILE, tile // 2)
            rest = f"tiles of {self.tile} pixels"
        else:
            return False
        self.notes.append(f"out of memory on {device}; going on with {rest}")
        return True


@dataclass(frozen=True)
class Choice:
    """What runs a model, and why; see `srkit.inference.engines.choose`."""

    engine: str
    device: str  # cpu, cuda, cuda:1, mps
    precision: str  # fp32, bf16 or fp16: that of images of 8 bits
    why: str  # one line

    def __str__(self) -> str:
        return f"{self.engine} {self.precision}"


class Graph(Protocol):
    """A network as an ONNX graph without weights, and its traits (`srkit_onnx.graph.Graph`)."""

    @property
    def traits(self) -> Any:
        """Attributes of the generator by name; see `srkit.hookspecs.Generator`."""

    def onnx(self, weights: Mapping[str, np.ndarray]) -> bytes:
        """Return an ONNX file."""


@dataclass(frozen=True, repr=False)
class Model:
    """A generator ready to upscale images, and where it came from.

    Attributes:
        name: Name, file or folder that it was loaded by.
        network: The generator, or what builds it when it is needed.
        scale: Its scale.
        licence: Terms of the weights, as far as known.
        sha256: Checksum of the weights' file; None for a generator without weights.
        recipe: What it was trained by, if known.
        metadata: Other metadata of its file.
        trained_on: Framing to keys of the photos it was trained on (`srkit.data.datasets`), if
            its file has them.
        graph: The network as an ONNX graph, if there is one.
        stored: Reads the weights as arrays, by name; the generator has them if None.
        run: The generator, run by an engine; the generator itself if None.
        choice: The engine, and why it was chosen.
        limits: Largest tile and batch that fit on its device.
    """

    name: str
    network: nn.Module | Callable[[], nn.Module]
    scale: int
    licence: str = "unknown"
    sha256: str | None = None
    recipe: Recipe | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    trained_on: Mapping[str, np.ndarray] = field(default_factory=dict, compare=False, kw_only=True)
    graph: Graph | None = field(default=None, kw_only=True)
    stored: Callable[[], Mapping[str, np.ndarray]] | None = field(default=None, kw_only=True)
    run: Run | None = field(default=None, kw_only=True)
    choice: Choice | None = field(default=None, kw_only=True)
    limits: Limits = field(default_factory=Limits, kw_only=True)

    def __repr__(self) -> str:
        run = f", {self.choice.engine} in {self.choice.precision}" if self.choice else ""
        return f"<srkit.Model {self.name}: x{self.scale}{run}>"

    def _repr_html_(self) -> str:
        facts = [["model", self.name], ["scale", str(self.scale)], ["licence", self.licence]]
        if self.choice:
            facts += [["engine", self.choice.engine], ["precision", self.choice.precision]]
        if self.recipe:
            facts.append(["recipe", self.recipe.name])
        return notebook.table((), [*facts, ["sha256", self.sha256 or "no weights"]])

    @cached_property
    def generator(self) -> nn.Module:
        """The network as a module of torch, in evaluation mode."""
        network: Any = self.network
        return cast("nn.Module", network if hasattr(network, "forward") else network())

    def onnx(self) -> bytes:
        """Return the network with its weights as an ONNX file, for an engine.

        InputError: it has no ONNX graph.
        """
        if self.graph is None:
            raise InputError(f"model '{self.name}' has no ONNX graph")
        return self.graph.onnx(self.weights())

    def weights(self) -> Mapping[str, np.ndarray]:
        """Return the network's weights by their names in torch."""
        if self.stored:
            return self.stored()
        return {name: w.cpu().numpy() for name, w in self.generator.state_dict().items()}

    def trait(self, name: str, default: Any) -> Any:
        """Return an attribute of the generator; see `srkit.hookspecs.Generator`."""
        if self.graph:
            return self.graph.traits[name]
        return getattr(self.generator, name, default)

    @property
    def device(self) -> str:
        """Where it computes."""
        return self.choice.device if self.choice else str(eager.device_of(self.generator))

    @property
    def generates(self) -> bool:
        """Whether its result is learned, rather than interpolated."""
        return self.sha256 is not None

    @property
    def exact_tiles(self) -> bool:
        """Whether tiles give what the whole image would; if not, they approximate it."""
        return self.trait("receptive_radius", None) is not None

    @property
    def context(self) -> int:
        """How many LR pixels around it a part of an image needs; a guess where none is stated."""
        radius = self.trait("receptive_radius", None)
        return UNKNOWN_RADIUS if radius is None else int(radius)

    def size(self, size: tuple[int, int], settings: Settings) -> tuple[int, int]:
        """Return the width and height of the result for an image, at least one pixel each."""
        scale = settings.scale or self.scale
        width, height = (max(1, round(side * scale)) for side in size)
        return width, height

    def batch_size(self, size: tuple[int, int]) -> int:
        """Return how many images of one size (width, height) are best computed together."""
        kind = self.device.partition(":")[0]
        return max(1, BATCH_PIXELS.get(kind, 1 << 16) // (size[0] * size[1]))

    def upscale(
        self,
        image: T,
        *,
        scale: float | None = None,
        ensemble: bool = False,
        consistent: bool = False,
        tile: int | None = None,
    ) -> T:
        """Upscale one image or many; what comes in comes out.

        Args:
            image: A Pillow image of any mode; an array, ``hw``, ``hw1``, ``hw3``, ``hw4`` (RGB,
                RGBA) or ``Bhw3``, of uint8, uint16, or floats up to 1; a tensor, ``3hw`` or
                ``B3hw``, of uint8 or floats up to 1, on any device; or a list of such. What is
                below 0 counts as 0.
            scale: Scale of the result, resampled by Lanczos; the model's own if None.
            ensemble: Average over the symmetries that the model states, such as mirroring.
            consistent: Back-project, so that the downscaled result equals the input.
            tile: Side of a tile in LR pixels, at least 16; if None, 256 to 512, by the model's
                receptive radius.

        Returns:
            The same kind, clamped. Of a Pillow image, alpha and greyness are kept, EXIF orientation
            is applied, and the metadata of its file are in ``info`` as ``icc_profile``,
            ``exif``, ``xmp`` and ``dpi``. Pillow writes the profile by itself; hand it the
            others: ``result.save(file, exif=result.info["exif"])``.

        Raises:
            OptionError: A setting that makes no sense.
            InputError: An array or tensor of another shape or type, not enough memory for the
                smallest tile, or a network whose result is not finite or of another scale.
        """
        settings = Settings(scale, ensemble, consistent, tile)
        return cast(T, self._upscale_any(image, settings))

    def _upscale_any(self, image: Any, settings: Settings) -> Any:
        if is_tensor(image):
            return self._upscale_tensor(image, settings)
        if isinstance(image, list | tuple):
            if any(map(is_tensor, image)):
                return [self._upscale_any(each, settings) for each in image]
            return self._upscale_images(image, settings)
        if isinstance(image, np.ndarray) and image.ndim == 4 and len(image):
            return np.stack(self._upscale_images(list(image), settings))
        return self._upscale_images([image], settings)[0]

    def _upscale_images(self, images: Sequence[Any], settings: Settings) -> list[Any]:
        wrapped = [
            (unpack(each), DecodedImage.to_image)
            if isinstance(each, Image.Image)
            else arrays.wrapped(each)
            for each in images
        ]
        decoded = [image for image, _ in wrapped]
        dense = not any(isinstance(each, Image.Image) for each in images)
        results = self.upscale_decoded(decoded, settings, dense=dense)
        return [back(result) for result, (_, back) in zip(results, wrapped, strict=True)]

    def upscale_decoded(
        self,
        images: Sequence[DecodedImage],
        settings: Settings | None = None,
        progress: Progress = lambda images: None,
        *,
        dense: bool = False,
    ) -> list[DecodedImage]:
        """Upscale decoded images; alpha, greyness, depth and metadata are kept.

        Neighbours of one size are computed together while that pays. ``progress`` is called with
        the number of images done since it was last called, in fractions. ``dense``: see
        `canvas`. It raises as `upscale`.
        """
        settings = settings or Settings()
        results: list[DecodedImage] = []
        for (size, _), alike in groupby(images, lambda p: (p.size, p.pixels.dtype)):
            left = list(alike)
            while left:
                batch = left[: self.batch_size(size)]
                del left[: len(batch)]
                pixels = [image.pixels for image in batch]
                # One alone may be large: no copy of it.
                lr = np.stack(pixels) if len(pixels) > 1 else pixels[0][None]
                whole = (size[0] * self.scale, size[1] * self.scale)
                sr = canvas(len(lr), whole, lr.dtype, dense=dense)
                self._upscale(lr, sr, settings, progress, half=lr.dtype == np.uint8)
                target = self.size(size, settings)
                results += [
                    image.upscaled(arrays.resized(result, target))
                    for image, result in zip(batch, sr, strict=True)
                ]
        return results

    def _upscale_tensor(self, lr: Tensor, settings: Settings, *, half: bool = False) -> Tensor:
        import torch

        whole = lr.dtype == torch.uint8
        if lr.layout != torch.strided:
            raise InputError(f"a tensor is dense, not {lr.layout}")
        if lr.ndim not in (3, 4) or lr.shape[-3] != 3 or not (whole or lr.is_floating_point()):
            raise InputError(
                "a tensor is 3hw or B3hw of floats in [0, 1] or of uint8, "
                f"not {tuple(lr.shape)} {lr.dtype}"
            )
        if lr.ndim == 3:
            return self._upscale_tensor(lr[None], settings, half=half)[0]
        if whole:
            values = self._upscale_tensor(lr.float() / 255, settings, half=True)
            return (values * 255).round().to(torch.uint8)
        arrays.require_range(float(lr.max()))
        sr = self.upscale_values(lr.detach().float().cpu().numpy(), settings, half=half)
        result = torch.from_numpy(sr).to(lr)
        width, height = self.size((lr.shape[-1], lr.shape[-2]), settings)
        if result.shape[-2:] == (height, width):
            return result
        size = (height, width)
        how: dict[str, Any] = {"size": size, "mode": "bicubic", "antialias": True}
        return torch.nn.functional.interpolate(result, **how).clamp(0, 1)

    def upscale_values(
        self, lr: np.ndarray, settings: Settings, *, half: bool = False
    ) -> np.ndarray:
        """Upscale images (``B3hw``, float32 in [0, 1]) by the model's own scale, clamped.

        ``half``: they have 8 bits, and may be computed in half precision, if the model is.
        """
        count, _, height, width = lr.shape
        sr = np.empty((count, 3, height * self.scale, width * self.scale), np.float32)
        self._upscale(lr.transpose(0, 2, 3, 1), sr.transpose(0, 2, 3, 1), settings, half=half)
        return sr

    def _upscale(
        self,
        lr: np.ndarray,
        sr: np.ndarray,
        settings: Settings,
        progress: Progress = lambda images: None,
        *,
        half: bool,
    ) -> None:
        """Upscale tile by tile; where memory runs out, once more in smaller parts.

        ``lr`` (``Bhw3``) and ``sr`` (``BHW3``, written to) are of one type: uint8, uint16 or
        float32. Beside them, memory holds one tile's feature maps and one row of seams. ``half``:
        in half precision, where the device has it.
        """
        count, height, width, _ = lr.shape
        margin = self.context + (consistency.REACH if settings.consistent else 0)
        alignment = int(self.trait("alignment", 1))
        while True:
            wanted = settings.tile or min(max(TILE[0], TIMES * self.context), TILE[1])
            tile, done = min(wanted, self.limits.tile), 0.0
            rows, columns = (
                tiling.spans(side, tile, margin, alignment) for side in (height, width)
            )
            places = product(rows, columns)
            results = (
                self._result(arrays.to_values(lr[:, y.read, x.read]), settings, half)
                for y, x in places
            )
            try:
                for ys, xs, part in tiling.blended(results, rows, columns, self.scale):
                    arrays.to_pixels(part, sr[:, ys, xs])
                    share = part.shape[-2] * part.shape[-1] / (height * width * self.scale**2)
                    progress(count * share)
                    done += count * share
                return
            except (RuntimeError, MemoryError) as error:
                if not ran_out(error):
                    raise
                why = one_line(error)[:80]
            progress(-done)
            release(self.device)
            if not self.limits.shrink(self.device, count, tile):
                raise InputError(
                    f"not enough memory on {self.device}, even with small tiles ({why})"
                )

    def _result(self, lr: np.ndarray, settings: Settings, half: bool) -> np.ndarray:
        most = self.limits.batch
        if len(lr) <= most:
            return self._batch(lr, settings, half)
        parts = (lr[start : start + most] for start in range(0, len(lr), most))
        return np.concatenate([self._batch(part, settings, half) for part in parts])

    def _batch(self, lr: np.ndarray, settings: Settings, half: bool) -> np.ndarray:
        sr = self._forward(lr, half)
        if settings.ensemble:
            views = self._symmetries()
            for turn, mirrored in views[1:]:
                view = np.rot90(lr[..., ::-1] if mirrored else lr, turn, (-2, -1))
                back = self._forward(np.ascontiguousarray(view), half)
                back = np.rot90(back, -turn, (-2, -1))
                sr = sr + (back[..., ::-1] if mirrored else back)
            sr = sr / len(views)
        return consistency.project(sr, lr, self.scale) if settings.consistent else sr

    def _symmetries(self) -> list[tuple[int, bool]]:
        """Return quarter turns and mirrorings under which the network does equally well.

        A network that states nothing has learned from upright images, of which a mirror image is
        one more.
        """
        stated = self.trait("symmetries", ("mirror",))
        quarter_turns = range(4 if "rotation" in stated else 1)
        mirrored = (False, True) if "mirror" in stated else (False,)
        return [(turn, mirror) for mirror in mirrored for turn in quarter_turns]

    def _forward(self, lr: np.ndarray, half: bool) -> np.ndarray:
        """Return the network's result in float32; once more in float32 where it isn't finite."""
        run = self.run or eager.run(self.generator)
        for precision in dict.fromkeys((self.limits.precision if half else "fp32", "fp32")):
            with registry.blamed(*self._part()):
                sr = run(lr, precision)
            self._require_scale(lr, sr)
            # The extremes aren't finite where any value isn't.
            if all(math.isfinite(extreme.reduce(sr, None)) for extreme in (np.minimum, np.maximum)):
                return sr
            if precision != "fp32":
                self.limits.precision = "fp32"
                self.limits.notes.append(
                    f"model '{self.name}' leaves the range of {precision}; "
                    "computing in fp32 from here on"
                )
        raise InputError(f"model '{self.name}' gives values that are not finite for this image")

    def _part(self) -> tuple[str, str]:
        """Return kind and name of what computes, as they are registered."""
        if self.choice and self.choice.engine != "torch":
            return "engines", self.choice.engine
        if "reader" in self.metadata:
            return "readers", str(self.metadata["reader"])
        trained = self.recipe.generator.name if self.recipe else ""
        return "generators", str(self.metadata.get("generator", trained))

    def _require_scale(self, lr: np.ndarray, sr: np.ndarray) -> None:
        height, width = lr.shape[-2:]
        if sr.shape != (*lr.shape[:2], height * self.scale, width * self.scale):
            raise InputError(
                f"model '{self.name}' gives {tuple(sr.shape)} for {tuple(lr.shape)}; "
                f"its scale should be {self.scale}"
            )
