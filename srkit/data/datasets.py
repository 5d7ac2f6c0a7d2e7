"""Images by number, as rows of bytes that a batch is made of; picklable, for worker processes."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from srkit.errors import InputError
from srkit.hookspecs import Source
from srkit.imaging import codec
from srkit.readahead import cpus, read_ahead
from srkit.recipe import Data

MOST_BROKEN = 0.1  # largest share of broken images; more, and something else must be wrong
_AHEAD = 16  # images that each thread is ahead


class TooManyBrokenError(InputError):
    """So many images can't be read that something else must be wrong; ``broken`` names them."""

    def __init__(self, broken: list[str], tried: int) -> None:
        self.broken = tuple(broken)
        first = "; ".join(broken[:3])
        super().__init__(f"{len(broken)} of {tried} images are broken, first {first}")


@dataclass(frozen=True)
class Layout:
    """How an image lies in memory: hr, then lr if the data are pairs; uint8, squares of a side."""

    size: int
    lr_size: int = 0

    @property
    def bytes(self) -> int:
        """Bytes of one image."""
        return 3 * (self.size**2 + self.lr_size**2)

    def split(self, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return (hr, lr), uint8 ``b3HW`` and ``b3hw``, of rows of shape ``b`` x `bytes`."""
        edge = 3 * self.size**2
        hr = rows[:, :edge].unflatten(1, (3, self.size, self.size))
        if not self.lr_size:
            return hr, None
        return hr, rows[:, edge:].unflatten(1, (3, self.lr_size, self.lr_size))


@dataclass(frozen=True)
class ImageDataset:
    """A source's images, framed."""

    source: Source
    data: Data

    @property
    def layout(self) -> Layout:
        """Layout of every image."""
        return Layout(self.data.stored_size)

    @property
    def expected(self) -> int:
        """Number of images."""
        return len(self.source)

    def __len__(self) -> int:
        return len(self.source)

    def name(self, number: int) -> str:
        """Return what the source calls an image."""
        return self.source.name(number)

    @property
    def framing(self) -> str:
        """How a photo becomes rows, as `row_keys` takes it."""
        # Framing 'jitter' stores what 'square' does.
        framing = "square" if self.data.framing == "jitter" else self.data.framing
        return f"{framing} {self.data.stored_size}"

    def identity(self) -> Sequence[str] | None:
        """Return how the images are framed, and what tells the source from others."""
        lines = self.source.identity()
        return None if lines is None else [self.framing, *described(lines)]

    def decode(self, number: int) -> np.ndarray:
        """Return one image, uint8, 1 x `Layout.bytes`."""
        return framed(self.name(number), self.source[number], self.data)


@dataclass(frozen=True)
class Pairs:
    """Pairs of files, cut into aligned squares; nothing is resampled.

    Resampling either image would change the degradation that the pair is there to show, so an
    hr larger than ``size`` gives a centred grid of squares that touch and don't overlap. ``files``
    are (lr, hr).
    """

    files: tuple[tuple[Path, Path], ...]
    size: int
    scale: int

    @property
    def layout(self) -> Layout:
        """Layout of every square."""
        return Layout(self.size, self.size // self.scale)

    @cached_property
    def expected(self) -> int:
        """Number of squares, going by what the files say of their size."""
        squares = 0
        for _, hr in self.files:
            try:
                width, height = codec.size_of(hr)
            except InputError:
                continue  # broken; decoding says so
            squares += (width // self.size) * (height // self.size)
        return squares

    def __len__(self) -> int:
        return len(self.files)

    def name(self, number: int) -> str:
        """Return the path of hr."""
        return str(self.files[number][1])

    @property
    def framing(self) -> str:
        """How an hr becomes rows, as `row_keys` takes it."""
        return f"pairs {self.size} {self.scale}"

    def identity(self) -> Sequence[str]:
        """Return names, sizes and times of the files, and how they are cut."""
        flat = [file for pair in self.files for file in pair]
        return [self.framing, *described(flat)]

    def decode(self, number: int) -> np.ndarray:
        """Return a pair's squares, uint8, squares x `Layout.bytes`."""
        lr, hr = (self._read(number, side) for side in (0, 1))
        (height, width), (low, narrow) = hr.shape[:2], lr.shape[:2]
        if (height, width) != (low * self.scale, narrow * self.scale):
            raise InputError(
                f"{self.name(number)}: {width}x{height} is not {self.scale} times its lr's "
                f"{narrow}x{low}"
            )
        if min(height, width) < self.size:
            raise InputError(
                f"{self.name(number)}: {width}x{height} is too small for squares of {self.size}"
            )
        return np.hstack(
            [_squares(hr, self.size, self.scale), _squares(lr, self.size // self.scale)]
        )

    def _read(self, number: int, side: int) -> np.ndarray:
        try:
            return np.asarray(codec.read(self.files[number][side]).rgb)
        except InputError as error:
            if side:
                raise
            raise InputError(f"{self.name(number)}: its lr, {error}") from error


def _squares(image: np.ndarray, side: int, step: int = 1) -> np.ndarray:
    """Return a centred grid of squares, its place a multiple of ``step``, as rows."""
    top, left = (length % side // step // 2 * step for length in image.shape[:2])
    down, across = (image.shape[0] - top) // side, (image.shape[1] - left) // side
    cut = image[top : top + down * side, left : left + across * side]
    grid = cut.reshape(down, side, across, side, 3).transpose(0, 2, 4, 1, 3)
    return grid.reshape(down * across, -1)


Dataset: TypeAlias = ImageDataset | Pairs


def row_keys(rows: np.ndarray, layout: Layout) -> Tensor:
    """Return 64 bits a row, int64, that tell its hr from others."""
    return hashed(row[: 3 * layout.size**2].tobytes() for row in rows)


def hashed(contents: Iterable[bytes]) -> Tensor:
    """Return 64 bits of the hash of each content, int64."""
    digests = (hashlib.blake2b(content, digest_size=8).digest() for content in contents)
    keys = [int.from_bytes(digest, "big", signed=True) for digest in digests]
    return torch.tensor(keys, dtype=torch.int64)


def photo_keys(photo: Path, framing: str) -> Tensor:
    """Return the `row_keys` that a photo has in datasets of this framing, an unknown one none."""
    if not (match := re.fullmatch(r"(square|squash|pairs) (\d{1,4})(?: (\d{1,2}))?", framing)):
        return torch.zeros(0, dtype=torch.int64)
    kind, size, step = match[1], int(match[2]), int(match[3] or 1)
    rgb = codec.read(photo).rgb
    if kind == "pairs":
        rows = _squares(np.asarray(rgb), size, step)
    else:
        rows = _framed(rgb, "squash" if kind == "squash" else "square", size)
    return row_keys(rows, Layout(size))


def framed(name: str, image: Path | bytes | None, data: Data) -> np.ndarray:
    """Decode and frame one image, uint8, 1 x `Layout.bytes`; InputError begins with ``name``."""
    if image is None:
        raise InputError(f"{name}: no image among its files, or several")
    try:
        rgb = (codec.read(name, image) if isinstance(image, bytes) else codec.read(image)).rgb
    except InputError as error:
        text = str(error)
        raise InputError(text if text.startswith(name) else f"{name}: {text}") from error
    return _framed(rgb, data.framing, data.stored_size)


def _framed(rgb: Image.Image, framing: codec.Framing, size: int) -> np.ndarray:
    return np.asarray(codec.frame(rgb, framing, size)).transpose(2, 0, 1).reshape(1, -1)


def decoded_or_message(work: Callable[..., np.ndarray], *arguments: object) -> np.ndarray | str:
    """Return what ``work`` gives, or the message of its `InputError`."""
    try:
        return np.ascontiguousarray(work(*arguments))
    except InputError as error:
        return str(error)


def decoded_in_order(dataset: Dataset) -> Generator[np.ndarray | str]:
    """Yield every image's rows, or a message in a broken one's place; read ahead, bounded.

    Threads will do: Pillow decodes and resizes without Python's lock.
    """
    work = partial(decoded_or_message, dataset.decode)
    return read_ahead(work, range(len(dataset)), threads=cpus(), ahead=_AHEAD * cpus())


def described(identity: Sequence[str | Path]) -> list[str]:
    """Return lines that change when one of the files in ``identity`` does.

    A file is replaced by its path below the files' common folder, size and times. Among the times
    is that of its last change of any kind (ctime): archives restore the other, and two sets of
    uncompressed images may agree in everything else.
    """
    files = [str(each) for each in identity if isinstance(each, Path)]
    root = os.path.commonpath((min(files), max(files))) if files else ""
    lines = []
    for each in identity:
        if isinstance(each, str):
            lines.append(each)
            continue
        try:
            state = os.stat(each)  # noqa: PTH116 - there may be millions
            times = f"{state.st_mtime_ns}\0{state.st_ctime_ns}"
            lines.append(f"{str(each).removeprefix(root)}\0{state.st_size}\0{times}")
        except OSError as error:
            lines.append(f"{each}\0{error.errno}")
    return lines
