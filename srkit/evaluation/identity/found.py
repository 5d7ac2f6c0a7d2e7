"""Photos -> faces: where the largest face of a photo is, and its crop.

Where a face is, is kept by the photo's content, so that no photo is searched twice.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from srkit import registry
from srkit.errors import InputError
from srkit.evaluation.measuring import Progress, ahead, ignore, threads
from srkit.evaluation.store import Store
from srkit.faces import align
from srkit.files import sha256
from srkit.hookspecs import Detector, Face
from srkit.imaging import codec

SPACE = "boxes"
LEAST, CONFIDENCE = 20, 0.9  # of a photo's faces: side in pixels, and MTCNN's probability
PIXELS = 1 << 20  # a larger photo is searched in a reduced copy
# A result is searched in a copy of this side; there, its face has about three quarters of it.
COPY, COPY_LEAST = 160, 60
KEPT_AT_ONCE = 32  # photos: what a kill can cost


@dataclass(frozen=True)
class Located:
    """A photo and its largest face.

    Attributes:
        photo: Where.
        box: Left, top, right, bottom in pixels; None without a face.
        why: Why there is none, where it isn't that none was found.
    """

    photo: Path
    box: tuple[float, float, float, float] | None
    why: str = ""

    @classmethod
    def of(cls, photo: Path, found: Any) -> Located:
        """Return a photo with its box, with None, or with why it has none."""
        return cls(photo, None, found) if isinstance(found, str) else cls(photo, found)

    def pixels(self) -> int:
        """Return the side of its crop in pixels of the photo."""
        left, top, right, bottom = self.box or (0, 0, 0, 0)
        return round(max(right - left, bottom - top) * align.MARGIN)

    def said(self, person: str) -> str:
        """Return a line on a photo that has no face."""
        name = f"{person}/{self.photo.name}"
        return f"{name} ({self.why})" if self.why else name


class Finder:
    """Finds faces and crops them.

    Args:
        store: Keeps boxes.
        workers: Threads that decode; see `srkit.evaluation.measuring.threads`.
        progress: Told how many photos are searched.
    """

    def __init__(
        self, store: Store, workers: int | None = None, progress: Progress = ignore
    ) -> None:
        self.store, self.workers, self.progress = store, threads(workers), progress

    @cached_property
    def _of_photos(self) -> Detector:
        return align.detector(min_size=LEAST, confidence=CONFIDENCE, max_pixels=PIXELS)

    @cached_property
    def _of_results(self) -> Detector:
        return align.detector(min_size=COPY_LEAST, confidence=CONFIDENCE)

    def find(self, photos: Sequence[Path]) -> list[Located]:
        """Return the largest face of every photo, in their order.

        Photos that can't be read have none either, and say why.
        """
        digests = list(ahead(self.workers, _digest, photos))
        keys = [_key(d, f"photo {LEAST} {CONFIDENCE} {PIXELS}") for d in digests]
        kept = self.store.get(SPACE, [key for key in keys if key])
        known: dict[bytes, _Box | str] = {key: _unpacked(value) for key, value in kept.items()}
        todo = {k: p for k, p in zip(keys, photos, strict=True) if k and k not in known}
        for done, (key, found) in enumerate(self._searched(todo), 1):
            known[key] = found
            self.progress("faces", done, len(todo))
        return [
            Located.of(photo, known[key] if key else digest)
            for photo, key, digest in zip(photos, keys, digests, strict=True)
        ]

    def _searched(self, todo: dict[bytes, Path]) -> Iterator[tuple[bytes, _Box | str]]:
        """Yield the box of every photo, or why it can't be read; keep boxes as they come."""
        fresh: dict[bytes, bytes] = {}
        decoded = ahead(self.workers, _decoded, list(todo.values()))
        for key, image in zip(todo, decoded, strict=True):
            if isinstance(image, str):  # isn't kept: it may be mended tomorrow
                yield key, image
                continue
            box = _largest(self._of_photos.faces(image))
            fresh[key] = _packed(box)
            if len(fresh) == KEPT_AT_ONCE:
                self.store.put(SPACE, fresh)
                fresh = {}
            yield key, box
        if fresh:
            self.store.put(SPACE, fresh)

    def crops(self, located: Sequence[Located], size: int) -> Tensor:
        """Return faces as pictures, uint8, ``B3SS``; see `srkit.faces.align.crop`.

        Raises:
            InputError: A photo can't be read any more.
        """

        def cropped(one: Located) -> Tensor:
            if one.box is None:
                raise ValueError(f"{one.photo}: no face to crop")
            image = codec.read(one.photo).rgb
            return _tensor(align.crop(image, Face(one.box, 1.0), size))

        return torch.stack(list(ahead(self.workers, cropped, located)))

    def reframed(self, results: Tensor) -> tuple[Tensor, int]:
        """Crop each result anew, around the face that is found on it.

        MTCNN looks at a copy of 160x160 (Pillow's bicubic), so that small results are searched as
        well as large ones. The crop is widened as that of the photo was, and has the result's
        size; where it reaches beyond the result, the border's pixels are repeated.

        Args:
            results: uint8, ``B3SS``.

        Returns:
            The crops, uint8, ``B3SS``; a result on which no face is found stays as it is. And of
            how many that is so.
        """
        pictures = list(results.permute(0, 2, 3, 1).contiguous().numpy())
        digests = [hashlib.sha256(f"{p.shape} ".encode() + p.tobytes()).digest() for p in pictures]
        keys = [_key(digest, f"result {COPY} {COPY_LEAST} {CONFIDENCE}") for digest in digests]
        known = {key: _unpacked(value) for key, value in self.store.get(SPACE, keys).items()}
        fresh: dict[bytes, bytes] = {}
        crops = []
        for key, pixels in zip(keys, pictures, strict=True):
            image = Image.fromarray(pixels)
            if key not in known:
                known[key] = self._on_copy(image)
                fresh[key] = _packed(known[key])
            box = known[key]
            face = image if box is None else align.crop(image, Face(box, 1.0), image.width)
            crops.append(_tensor(face))
        self.store.put(SPACE, fresh)
        return torch.stack(crops), sum(known[key] is None for key in keys)

    def _on_copy(self, image: Image.Image) -> _Box:
        copy = image.resize((COPY, COPY), Image.Resampling.BICUBIC)
        if (box := _largest(self._of_results.faces(copy))) is None:
            return None
        left, top, right, bottom = (place * image.width / COPY for place in box)
        return left, top, right, bottom


_Box = tuple[float, float, float, float] | None


def _largest(found: list[Face]) -> _Box:
    return found[0].box if found else None


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
    search = f" {_searched_by()} {how}".encode()
    return digest + search if isinstance(digest, bytes) else b""


@cache
def _searched_by() -> str:
    """Return what changes with the code that searches."""
    detector = registry.find("detectors", align.DETECTOR)
    sources = [sha256(Path(file))[:16] for file in (inspect.getfile(detector), align.__file__)]
    return " ".join([getattr(detector, "name", ""), *sources])


def _packed(box: _Box) -> bytes:
    return json.dumps(box).encode()


def _unpacked(value: bytes) -> _Box:
    return tuple(box) if (box := json.loads(value)) else None


def _tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
