"""Photos -> faces: where the largest face of a photo is, and its crop.

Where a face is, is stored by the photo's content, so that no photo is searched twice.
"""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from srkit import registry
from srkit.errors import InputError, first_of
from srkit.evaluation.measure import Progress
from srkit.evaluation.store import Store, sha256_of
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

Detection = tuple[int, align.Box | None]  # number of faces, and the largest one's box


@dataclass(frozen=True)
class Located:
    """A photo and its largest face.

    Attributes:
        photo: The file.
        box: Left, top, right, bottom in pixels; None without a face.
        reason: Why the photo can't be read, if it can't.
    """

    photo: Path
    box: align.Box | None
    reason: str = ""

    @property
    def face(self) -> align.Box:
        """The box of its face; an error without one."""
        if self.box is None:
            raise ValueError(f"{self.photo}: no face to crop")
        return self.box

    def pixels(self) -> int:
        """Return the side of its crop in pixels of the photo."""
        return align.surrounding(self.face)[2]

    def label(self, person: str) -> str:
        """Return a line on a photo that has no face."""
        name = f"{person}/{self.photo.name}"
        return f"{name} ({self.reason})" if self.reason else name


class Finder:
    """Finds faces, stores their boxes, and crops them."""

    def __init__(self, store: Store, progress: Progress = lambda *_: None) -> None:
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
        contents = list(read_ahead(_content, photos))
        reasons: dict[bytes, str] = {}
        items = dict(zip(contents, photos, strict=True))

        def search(batch: Sequence[bytes]) -> Iterator[Detection | None]:
            images = read_ahead(_decoded, [items[content] for content in batch])
            for content, image in zip(batch, images, strict=True):
                if isinstance(image, str):  # isn't stored: it may be readable tomorrow
                    reasons[content] = image
                    yield None
                else:
                    yield _detection(self._on_photos.faces(image))

        settings = f"photo, counted {MIN_SIZE} {CONFIDENCE} {PIXELS}"
        detections = self._searched(contents, settings, search, "faces")
        self._several |= {p for p, (count, _) in zip(photos, detections, strict=True) if count > 1}
        return [
            Located(photo, box, reasons.get(content, ""))
            for photo, content, (_, box) in zip(photos, contents, detections, strict=True)
        ]

    def _searched(
        self,
        contents: Sequence[bytes],
        settings: str,
        search: Callable[[Sequence[bytes]], Iterable[Detection | None]],
        what: str,
    ) -> list[Detection]:
        """Return what is stored of each image's content, or what a search of it finds."""
        # With everything that decides a box.
        keys = [content + f" {_detector_version()} {settings}".encode() for content in contents]
        stored = self.store.computed(
            SPACE,
            dict(zip(keys, contents, strict=True)),
            lambda batch: [each and json.dumps(each).encode() for each in search(batch)],
            batch_size=BATCH,
            progress=partial(self.progress, what),
        )
        detections = (json.loads(stored.get(key, b"[0, null]")) for key in keys)
        return [(count, tuple(box) if box else None) for count, box in detections]

    def crops(self, located: Sequence[Located], size: int, framing: str = "face") -> Tensor:
        """Return faces as images, uint8, ``B3SS``.

        Framed as ``face``, see `srkit.faces.align.crop`; else what CelebA's aligned image would
        show is framed as a protocol's photos are.

        Raises:
            InputError: A photo can't be read any more.
        """

        def cropped(one: Located) -> Tensor:
            image = codec.read(one.photo).rgb
            if framing == "face":
                return _tensor(align.crop(image, Face(one.face, 1.0), size))
            shown = align.cut(image, align.celeba_area(one.face))
            return _tensor(codec.frame(shown, cast(codec.Framing, framing), size))

        return torch.stack(list(read_ahead(cropped, located)))

    def out_of_frames(self, results: Tensor, located: Sequence[Located], framing: str) -> Tensor:
        """Return what `crops` shows of faces by itself, cut out of results in another framing."""
        size = results.shape[-1]
        crops = []
        for array, one in zip(results.permute(0, 2, 3, 1).numpy(), located, strict=True):
            x, y, width, height = align.celeba_area(one.face)
            if framing == "square":
                side = min(width, height)
                x, y, width, height = x + (width - side) // 2, y + (height - side) // 2, side, side
            left, top, side, _ = align.surrounding(one.face)
            scale, corner = size / np.array([width, height]), np.array([left - x, top - y])
            box = np.concatenate([corner * scale, (corner + side) * scale]) + size
            # The square reaches a little below `square`; the border's pixels are repeated.
            image = Image.fromarray(np.pad(array, ((size, size), (size, size), (0, 0)), "edge"))
            crop = image.resize((size, size), Image.Resampling.BICUBIC, box=tuple(box.tolist()))
            crops.append(_tensor(crop))
        return torch.stack(crops)

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
        contents, images = [*map(sha256_of, arrays)], [*map(Image.fromarray, arrays)]
        items = dict(zip(contents, images, strict=True))

        def search(batch: Sequence[bytes]) -> Iterator[Detection]:
            for image in map(items.__getitem__, batch):
                copy = image.resize((COPY, COPY), Image.Resampling.BICUBIC)
                yield _detection(self._on_results.faces(copy), image.width, COPY)

        settings = f"result, counted {COPY} {COPY_MIN_SIZE} {CONFIDENCE}"
        boxes = [box for _, box in self._searched(contents, settings, search, "faces on results")]
        crops = [
            _tensor(image if box is None else align.crop(image, Face(box, 1.0), image.width))
            for image, box in zip(images, boxes, strict=True)
        ]
        return torch.stack(crops), boxes.count(None)


def _detection(faces: Sequence[Face], width: int = 1, searched: int = 1) -> Detection:
    """Return what was found on an image, or on a copy ``searched`` pixels wide of it."""
    if not faces:
        return 0, None
    left, top, right, bottom = (place * width / searched for place in faces[0].box)
    return len(faces), (left, top, right, bottom)


def _content(photo: Path) -> bytes:
    """Return a photo's SHA-256, or its path where it can't be read."""
    try:
        return bytes.fromhex(sha256(photo))
    except OSError:
        return os.fsencode(photo)  # decoding it will say why it can't be read


def _decoded(photo: Path) -> Image.Image | str:
    """Return a photo, or why it can't be read."""
    try:
        return codec.read(photo).rgb
    except InputError as error:
        return str(error).removeprefix(f"{photo}: ")


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
