"""Photos -> faces: where the largest face of a photo is, and its crop.

Where a face is, is stored by the photo's content, so that no photo is searched twice.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from srkit import registry
from srkit.errors import InputError, first_of
from srkit.evaluation.measure import Progress, ignore
from srkit.evaluation.store import Store
from srkit.faces import align
from srkit.files import sha256
from srkit.hookspecs import Detector, Face
from srkit.imaging import codec
from srkit.readahead import read_ahead

SPACE = "boxes"
# Smallest side of a photo's face in pixels; the detector's probability.
MIN_SIZE, CONFIDENCE = 20, 0.9
PIXELS = 1 << 20  # a larger photo is searched in a reduced copy
# A result is searched in a copy of this side; there, its face has about three quarters of it.
COPY, COPY_MIN_SIZE = 160, 60
BATCH = 32  # photos: what a kill can cost

Box = tuple[float, float, float, float] | None
Detection = tuple[int, Box]  # number of faces, and the largest one's box
T = TypeVar("T")


@dataclass(frozen=True)
class Located:
    """A photo and its largest face.

    Attributes:
        photo: The file.
        box: Left, top, right, bottom in pixels; None without a face.
        reason: Why the photo can't be read, if it can't.
    """

    photo: Path
    box: Box
    reason: str = ""

    def pixels(self) -> int:
        """Return the side of its crop in pixels of the photo."""
        left, top, right, bottom = self.box or (0, 0, 0, 0)
        return round(max(right - left, bottom - top) * align.MARGIN)

    def label(self, person: str) -> str:
        """Return a line on a photo that has no face."""
        name = f"{person}/{self.photo.name}"
        return f"{name} ({self.reason})" if self.reason else name


class Finder:
    """Finds faces, stores their boxes, and crops them."""

    def __init__(self, store: Store, progress: Progress = ignore) -> None:
        self.store, self.progress = store, progress
        self._several: set[Path] = set()

    @cached_property
    def _on_photos(self) -> Detector:
        return align.detector(min_size=MIN_SIZE, confidence=CONFIDENCE, max_pixels=PIXELS)

    @cached_property
    def _on_results(self) -> Detector:
        return align.detector(min_size=COPY_MIN_SIZE, confidence=CONFIDENCE)

    def warnings(self) -> list[str]:
        """Return a line on the photos so far that hold several faces, if there are any."""
        names = [f"{photo.parent.name}/{photo.name}" for photo in self._several]
        shown = f"{len(names)} ({first_of(names)})"
        return [f"photos with several faces, the largest of which counts: {shown}"] if names else []

    def find(self, photos: Sequence[Path]) -> list[Located]:
        """Return the largest face of every photo, in their order.

        Photos that can't be read have none, and a reason.
        """
        settings = f"photo, counted {MIN_SIZE} {CONFIDENCE} {PIXELS}"
        keys = [_key(each, settings) for each in read_ahead(content, photos)]
        reasons: dict[bytes, str] = {}

        def search(batch: Sequence[tuple[bytes, Path]]) -> Iterator[Detection | None]:
            images = read_ahead(decoded, [photo for _, photo in batch])
            for (key, _), image in zip(batch, images, strict=True):
                if isinstance(image, str):  # isn't stored: it may be readable tomorrow
                    reasons[key] = image
                    yield None
                else:
                    faces = self._on_photos.faces(image)
                    yield len(faces), _largest(faces)

        located = []
        items = list(zip(keys, photos, strict=True))
        for (key, photo), (count, box) in zip(
            items, self._searched(keys, items, search, "faces"), strict=True
        ):
            if count > 1:
                self._several.add(photo)
            located.append(Located(photo, box, reasons.get(key, "")))
        return located

    def _searched(
        self,
        keys: Sequence[bytes],
        items: Sequence[T],
        search: Callable[[Sequence[T]], Iterable[Detection | None]],
        what: str,
    ) -> list[Detection]:
        """Return what is stored under each key, or what a search of its item finds."""
        stored = self.store.computed(
            SPACE,
            dict(zip(keys, items, strict=True)),
            lambda batch: [each and json.dumps(each).encode() for each in search(batch)],
            batch_size=BATCH,
            progress=partial(self.progress, what),
        )
        detections = (json.loads(stored.get(key, b"[0, null]")) for key in keys)
        return [(count, tuple(box) if box else None) for count, box in detections]

    def crops(self, located: Sequence[Located], size: int) -> Tensor:
        """Return faces as images, uint8, ``B3SS``; see `srkit.faces.align.crop`.

        Raises:
            InputError: A photo can't be read any more.
        """

        def cropped(one: Located) -> Tensor:
            if one.box is None:
                raise ValueError(f"{one.photo}: no face to crop")
            return _tensor(align.crop(codec.read(one.photo).rgb, Face(one.box, 1.0), size))

        return torch.stack(list(read_ahead(cropped, located)))

    def reframed(self, results: Tensor) -> tuple[Tensor, int]:
        """Crop each result again, around the face that is found on it.

        The detector searches a copy of 160x160 (Pillow's bicubic), so that small results are
        searched as well as large ones. The crop is widened as that of the photo was, and has the
        result's size; where it reaches beyond the result, the border's pixels are repeated.

        Returns:
            The crops, uint8, ``B3SS``; a result on which no face is found stays as it is. And the
            number of such results.
        """
        arrays = list(results.permute(0, 2, 3, 1).contiguous().numpy())
        hashes = [hashlib.sha256(f"{a.shape} ".encode() + a.tobytes()).digest() for a in arrays]
        settings = f"result, counted {COPY} {COPY_MIN_SIZE} {CONFIDENCE}"
        keys = [_key(each, settings) for each in hashes]
        images = [Image.fromarray(array) for array in arrays]
        found = self._searched(keys, images, self._on_copies, "faces on results")
        boxes = [box for _, box in found]
        crops = [
            _tensor(image if box is None else align.crop(image, Face(box, 1.0), image.width))
            for image, box in zip(images, boxes, strict=True)
        ]
        return torch.stack(crops), boxes.count(None)

    def _on_copies(self, images: Sequence[Image.Image]) -> Iterator[Detection]:
        for image in images:
            copy = image.resize((COPY, COPY), Image.Resampling.BICUBIC)
            faces = self._on_results.faces(copy)
            left, top, right, bottom = (v * image.width / COPY for v in _largest(faces) or [0] * 4)
            yield len(faces), (left, top, right, bottom) if faces else None


def _largest(faces: Sequence[Face]) -> Box:
    return faces[0].box if faces else None


def content(photo: Path) -> bytes:
    """Return a photo's SHA-256, or its path where it can't be read."""
    try:
        return bytes.fromhex(sha256(photo))
    except OSError:
        return os.fsencode(photo)  # decoding it will say why it can't be read


def decoded(photo: Path) -> Image.Image | str:
    """Return a photo, or why it can't be read."""
    try:
        return codec.read(photo).rgb
    except InputError as error:
        return str(error).removeprefix(f"{photo}: ")


def _key(content: bytes, settings: str) -> bytes:
    """Return what a box is stored under: everything that decides it."""
    return content + f" {_detector_version()} {settings}".encode()


@cache
def _detector_version() -> str:
    """Return what changes with the code that searches."""
    detector = registry.find("detectors", align.DETECTOR)
    sources = [sha256(Path(file))[:16] for file in (inspect.getfile(detector), align.__file__)]
    return " ".join([detector_name(), *sources])


def detector_name() -> str:
    """Return the detector's architecture and version."""
    return str(getattr(registry.find("detectors", align.DETECTOR), "name", align.DETECTOR))


def _tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
