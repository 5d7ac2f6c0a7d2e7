"""Metrics of whether sr shows the person of hr, and eyes, nose and mouth where hr has them.

Papers on face restoration call them IDS, Deg and LMD (Wang et al., GFP-GAN, 2021; Gu et al., VQFR,
2022; Zhou et al., CodeFormer, 2022). Theirs are by ArcFace, whose weights are for non-commercial
use and not shipped, and some by other crops: numbers can be compared within one judge alone.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from srkit import registry
from srkit.faces import align
from srkit.hookspecs import Face
from srkit.imaging import codec

COPY = 160  # smaller images are searched in a copy whose shorter side is that long
PIXELS = 1 << 20  # larger ones in a reduced copy
MIN_SIZE, CONFIDENCE = 20, 0.9  # pixels of a face in the copy; the detector's probability
CROP, LEAST = 160, 60  # side in pixels of a crop; of it, a face has about three quarters
MEMORY = 2048  # images of which faces, and crops of which embeddings, are remembered

Pixels = NDArray[np.uint8]
T = TypeVar("T")


class Memory:
    """What was computed of images lately: each metric is given the same hr for every method."""

    def __init__(self) -> None:
        self.values: dict[bytes, Any] = {}

    def __call__(
        self, images: Sequence[Pixels], compute: Callable[[list[Pixels]], Sequence[T]]
    ) -> list[T]:
        """Return a value of each image (``HW3``); ``compute`` gives those not remembered."""
        keys = [hashlib.sha256(f"{i.shape} ".encode() + i.tobytes()).digest() for i in images]
        new = {k: i for k, i in zip(keys, images, strict=True) if k not in self.values}
        if len(self.values) + len(new) > MEMORY:
            new, self.values = dict(zip(keys, images, strict=True)), {}
        if new:
            self.values |= zip(new, compute(list(new.values())), strict=True)
        return [self.values[key] for key in keys]


class Finder:
    """Finds the face of an image of any size, and landmarks in its crop."""

    def __init__(self) -> None:
        self.on_images = align.detector(min_size=MIN_SIZE, confidence=CONFIDENCE, max_pixels=PIXELS)
        # Whatever the probability: that a crop of hr has a face is known.
        self.on_crops = align.detector(min_size=LEAST, confidence=0.0)
        self.name = self.on_images.name
        self.faces, self.points = Memory(), Memory()

    def crops(self, sr: Tensor, hr: Tensor) -> list[tuple[Pixels, Pixels, float] | None]:
        """Return the crops of sr and hr (``SS3``), and their side in pixels of hr.

        They are at one place, that of hr's largest face, by `srkit.faces.align.crop`; None where hr
        has no face.
        """
        if sr.shape != hr.shape:
            raise ValueError(f"sr {tuple(sr.shape)} and hr {tuple(hr.shape)} differ in shape")
        a, b = (
            list(codec.to_uint8(i.detach()).permute(0, 2, 3, 1).cpu().numpy()) for i in (sr, hr)
        )
        boxes = self.faces(b, lambda new: [self._box(image) for image in new])
        return [_crops(*each) if each[2] else None for each in zip(a, b, boxes, strict=True)]

    def landmarks(self, crops: Sequence[Pixels]) -> list[Any]:
        """Return five landmarks of each crop, ``52``, in sides of it; None where there are none."""

        def search(new: list[Pixels]) -> list[Any]:
            results = [self.on_crops.faces(Image.fromarray(crop)) for crop in new]
            return [np.array(faces[0].landmarks) / CROP if faces else None for faces in results]

        return self.points(crops, search)

    def _box(self, image: Pixels) -> tuple[float, ...] | None:
        """Return the largest face's box in pixels of the image."""
        height, width = image.shape[:2]
        larger = max(1.0, COPY / min(height, width))
        size = round(width * larger), round(height * larger)
        copy = Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)
        x, y = width / size[0], height / size[1]
        boxes = [face.box for face in self.on_images.faces(copy)]
        return next(((a * x, b * y, c * x, d * y) for a, b, c, d in boxes), None)


def _crops(sr: Pixels, hr: Pixels, box: Any) -> tuple[Pixels, Pixels, float]:
    side = round(max(box[2] - box[0], box[3] - box[1]) * align.MARGIN)  # as `align.crop` rounds it
    a, b = (
        np.asarray(align.crop(Image.fromarray(i), Face(box, 1.0), CROP), np.uint8) for i in (sr, hr)
    )
    return a, b, float(max(1, side))


class Judge:
    """An embedder with what it has embedded."""

    def __init__(self, name: str, weights: str) -> None:
        options = {"weights": weights} if weights else {}
        self.embedder = registry.build("embedders", name, **options)
        self.memory = Memory()

    def __call__(self, crops: Sequence[Pixels], device: torch.device) -> Tensor:
        """Return unit embeddings, ``BD``, of crops (``SS3``)."""

        def embed(new: list[Pixels]) -> Sequence[Tensor]:
            stacked = torch.from_numpy(np.stack(new)).permute(0, 3, 1, 2)
            return list(self.embedder(stacked.to(device).float() / 255).double().cpu())

        return torch.stack(self.memory(crops, embed))


# One of each for all metrics that are in use.
_finders: WeakValueDictionary[str, Finder] = WeakValueDictionary()
_judges: WeakValueDictionary[tuple[str, str], Judge] = WeakValueDictionary()


def _finder() -> Finder:
    finder = _finders.get("") or Finder()
    return _finders.setdefault("", finder)


def _judge(name: str, weights: str) -> Judge:
    judge = _judges.get((name, weights)) or Judge(name, weights)
    return _judges.setdefault((name, weights), judge)


def framing(finder: Finder) -> str:
    """Return how faces are cropped, for reports."""
    return f"face of hr by {finder.name}, square, widened by {align.MARGIN}, {CROP}x{CROP}"


class Ids(nn.Module):
    """IDS: cosine of the angle between the embeddings of sr and hr; 1 for the same image.

    The largest face of hr gives the crop: its box widened by 1.35, square, 160x160 by Pillow's
    bicubic. sr is cropped there too, so a face that sr misplaces counts as another. How the crop
    is aligned is the embedder's: FaceNet takes it as it is. Where hr has no face there is no score.

    Args:
        embedder: A registered embedder.
        weights: The embedder's.

    Attributes:
        name: Embedder and its weights, detector and crop.
        sha256: Checksum of the embedder's weights.
        embedder: The embedder; a model trained on it is warned of.
        missing: Why an image may have no score.
    """

    unit, higher_is_better, title = "", True, "IDS"
    missing = "no face is found in hr"

    def __init__(self, *, embedder: str = "facenet", weights: str = "") -> None:
        super().__init__()
        self.judge, self.finder = _judge(embedder, weights), _finder()
        self.embedder = self.judge.embedder
        self.sha256 = self.embedder.sha256
        self.name = f"{self.embedder.name}; {framing(self.finder)}"
        if embedder != "facenet":
            self.title = f"{self.title} ({embedder})"

    @torch.no_grad()
    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Return a score an image, ``B``, for ``B3HW`` in [0, 1], both rounded to 8 bits.

        It is not a number where hr has no face.
        """
        pairs = self.finder.crops(sr, hr)
        crops = [crop for each in pairs if each for crop in each[:2]]
        scores = torch.full((len(pairs),), math.nan, dtype=torch.float64)
        if crops:
            embedded = self.judge(crops, sr.device)
            cosines = (embedded[::2] * embedded[1::2]).sum(dim=1).clamp(-1, 1)
            scores[torch.tensor([each is not None for each in pairs])] = self.score(cosines)
        return scores.to(sr.device, torch.float32)

    def score(self, cosines: Tensor) -> Tensor:
        """Return scores of cosines."""
        return cosines


class Deg(Ids):
    """Deg: the angle between the embeddings of sr and hr, in degrees; 0 for the same image.

    It is the arc cosine of the metric ``ids``.
    """

    unit, higher_is_better, title = "degrees", False, "Deg"

    def score(self, cosines: Tensor) -> Tensor:
        """Return the angles."""
        return torch.rad2deg(torch.arccos(cosines))


def ids_dlib(*, weights: str = "") -> Ids:
    """Return `Ids` by dlib's network, which aligns each crop by landmarks of its own."""
    return Ids(embedder="dlib", weights=weights)


def deg_dlib(*, weights: str = "") -> Deg:
    """Return `Deg` by dlib's network, which aligns each crop by landmarks of its own."""
    return Deg(embedder="dlib", weights=weights)


def ids_sface(*, weights: str = "") -> Ids:
    """Return `Ids` by SFace, which aligns each crop by the detector's landmarks."""
    return Ids(embedder="sface", weights=weights)


def deg_sface(*, weights: str = "") -> Deg:
    """Return `Deg` by SFace, which aligns each crop by the detector's landmarks."""
    return Deg(embedder="sface", weights=weights)


class LandmarkError:
    """LMD: mean distance of both eyes, the nose and both corners of the mouth, sr from hr.

    In pixels of hr, not divided by anything: of a face twice as large it is twice as large. The
    largest face of hr gives the crop, as in `Ids`; in it the detector searches sr and hr, each for
    landmarks of its own. Where hr has no face, or no landmarks are found, there is no score.

    Attributes:
        name: Detector and crop.
        missing: Why an image may have no score.
    """

    unit, higher_is_better, title = "px", False, "LMD"
    missing = "no face is found in hr, or no landmarks in its crop of sr"

    def __init__(self) -> None:
        self.finder = _finder()
        self.name = f"5 landmarks by {self.finder.name}, in pixels of hr; {framing(self.finder)}"

    def __call__(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Return a score an image, ``B``, for ``B3HW`` in [0, 1], both rounded to 8 bits.

        It is not a number where a face or landmarks are missing.
        """
        scores = []
        for each in self.finder.crops(sr, hr):
            ours, theirs = self.finder.landmarks(each[:2]) if each else (None, None)
            apart = math.nan
            if each and ours is not None and theirs is not None:
                apart = float(np.linalg.norm(ours - theirs, axis=1).mean()) * each[2]
            scores.append(apart)
        return torch.tensor(scores, device=sr.device)
