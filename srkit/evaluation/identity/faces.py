"""Photos -> faces: where the largest face of a photo is, and its crop.

Where a face is, is kept by the photo's content, so that no photo is searched twice.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from srkit import registry
from srkit.errors import InputError
from srkit.evaluation.measure import Progress, ignore
from srkit.evaluation.store import Store
from srkit.faces import align
from srkit.files import sha256
from srkit.hookspecs import Detector, Face
from srkit.imaging import codec
from srkit.readahead import read_ahead

SPACE = "boxes"
LEAST, CONFIDENCE = 20, 0.9  # smallest side of a photo's face in pixels; the detector's probability
PIXELS = 1 << 20  # a larger photo is searched in a reduced copy
# A result is searched in a copy of this side; there, its face has about three quarters of it.
COPY, COPY_LEAST = 160, 60
KEPT_AT_ONCE = 32  # photos: what a kill can cost

Box = tuple[float, float, float, float] | None


@dataclass(frozen=True)
class Located:
    """A photo and its largest face.

    Attributes:
        photo: The file.
        box: Left, top, right, bottom in pixels; None without a face.
        why: Why there is none, where it isn't that none was found.
    """

    photo: Path
    box: Box
    why: str = ""

    def pixels(self) -> int:
        """Return the side of its crop in pixels of the photo."""
        left, top, right, bottom = self.box or (0, 0, 0, 0)
        return round(max(right - left, bottom - top) * align.MARGIN)

    def label(self, person: str) -> str:
        """Return a line on a photo that has no face."""
        name = f"{person}/{self.photo.name}"
        return f"{name} ({self.why})" if self.why else name


class Finder:
    """Finds faces and crops them.

    Args:
        store: Keeps boxes.
        progress: Told how many photos are searched.
    """

    def __init__(self, store: Store, progress: Progress = ignore) -> None:
        self.store, self.progress = store, progress

    @cached_property
    def _on_photos(self) -> Detector:
        return align.detector(min_size=LEAST, confidence=CONFIDENCE, max_pixels=PIXELS)

    @cached_property
    def _on_results(self) -> Detector:
        return align.detector(min_size=COPY_LEAST, confidence=CONFIDENCE)

    def find(self, photos: Sequence[Path]) -> list[Located]:
        """Return the largest face of every photo, in their order.

        Photos that can't be read have none either, and say why.
        """
        digests = list(read_ahead(_digest, photos))
        keys = [_key(d, f"photo {LEAST} {CONFIDENCE} {PIXELS}") for d in digests]
        boxes: dict[bytes, Box | str] = {**self._kept([key for key in keys if key])}
        todo = {k: p for k, p in zip(keys, photos, strict=True) if k and k not in boxes}
        for done, (key, box) in enumerate(self._search(todo), 1):
            boxes[key] = box
            self.progress("faces", done, len(todo))
        located = [boxes[k] if k else str(d) for k, d in zip(keys, digests, strict=True)]
        return [
            Located(photo, None, box) if isinstance(box, str) else Located(photo, box)
            for photo, box in zip(photos, located, strict=True)
        ]

    def _search(self, todo: Mapping[bytes, Path]) -> Iterator[tuple[bytes, Box | str]]:
        """Yield the box of every photo, or why it can't be read; keep boxes as they come."""
        fresh: dict[bytes, Box] = {}
        images = read_ahead(_decoded, list(todo.values()))
        for key, image in zip(todo, images, strict=True):
            if isinstance(image, str):  # isn't kept: it may be mended tomorrow
                yield key, image
                continue
            box = fresh[key] = _largest(self._on_photos.faces(image))
            if len(fresh) == KEPT_AT_ONCE:
                self._keep(fresh)
                fresh = {}
            yield key, box
        self._keep(fresh)

    def _kept(self, keys: Sequence[bytes]) -> dict[bytes, Box]:
        values = self.store.get(SPACE, keys)
        return {key: tuple(box) if (box := json.loads(v)) else None for key, v in values.items()}

    def _keep(self, fresh: Mapping[bytes, Box]) -> None:
        if fresh:
            self.store.put(SPACE, {key: json.dumps(box).encode() for key, box in fresh.items()})

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
        """Crop each result anew, around the face that is found on it.

        The detector searches a copy of 160x160 (Pillow's bicubic), so that small results are
        searched as well as large ones. The crop is widened as that of the photo was, and has the
        result's size; where it reaches beyond the result, the border's pixels are repeated.

        Args:
            results: uint8, ``B3SS``.

        Returns:
            The crops, uint8, ``B3SS``; a result on which no face is found stays as it is. And the
            number of such results.
        """
        arrays = list(results.permute(0, 2, 3, 1).contiguous().numpy())
        digests = [hashlib.sha256(f"{a.shape} ".encode() + a.tobytes()).digest() for a in arrays]
        keys = [_key(digest, f"result {COPY} {COPY_LEAST} {CONFIDENCE}") for digest in digests]
        boxes = self._kept(keys)
        fresh: dict[bytes, Box] = {}
        crops = []
        for key, array in zip(keys, arrays, strict=True):
            image = Image.fromarray(array)
            if key not in boxes:
                boxes[key] = fresh[key] = self._on_copy(image)
            box = boxes[key]
            crops.append(
                _tensor(image if box is None else align.crop(image, Face(box, 1.0), image.width))
            )
        self._keep(fresh)
        return torch.stack(crops), sum(boxes[key] is None for key in keys)

    def _on_copy(self, image: Image.Image) -> Box:
        copy = image.resize((COPY, COPY), Image.Resampling.BICUBIC)
        if (box := _largest(self._on_results.faces(copy))) is None:
            return None
        left, top, right, bottom = (place * image.width / COPY for place in box)
        return left, top, right, bottom


def _largest(faces: Sequence[Face]) -> Box:
    return faces[0].box if faces else None


def _digest(photo: Path) -> bytes | str:
    try:
        return bytes.fromhex(sha256(photo))
    except OSError as error:
        return error.strerror or str(error)


def _decoded(photo: Path) -> Image.Image | str:
    try:
        return codec.read(photo).rgb
    except InputError as error:
        return str(error).removeprefix(f"{photo}: ")


def _key(digest: bytes | str, how: str) -> bytes:
    """Return what a box is kept under: everything that decides it; nothing without a digest."""
    return digest + f" {_searched_by()} {how}".encode() if isinstance(digest, bytes) else b""


@cache
def _searched_by() -> str:
    """Return what changes with the code that searches."""
    detector = registry.find("detectors", align.DETECTOR)
    sources = [sha256(Path(file))[:16] for file in (inspect.getfile(detector), align.__file__)]
    return " ".join([detector_name(), *sources])


def detector_name() -> str:
    """Return the detector's architecture and version."""
    return str(getattr(registry.find("detectors", align.DETECTOR), "name", align.DETECTOR))


def _tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
