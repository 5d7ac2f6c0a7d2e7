"""Images by number, as rows of bytes that a batch is made of."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image
from torch import Tensor

from srkit.errors import InputError
from srkit.hookspecs import Source
from srkit.imaging import codec
from srkit.recipe import Data


@dataclass(frozen=True)
class Layout:
    """How an image lies in memory: its hr, then its lr if the data are pairs; uint8.

    Attributes:
        size: Side of hr.
        lr_size: Side of lr; 0 where there is none.
    """

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


class Dataset(Protocol):
    """Images in a fixed order. It is picklable, for workers that are started afresh."""

    @property
    def layout(self) -> Layout:
        """Layout of every image."""
        ...

    @property
    def expected(self) -> int:
        """Number of rows that all its images give if none is broken."""
        ...

    def __len__(self) -> int: ...

    def name(self, number: int) -> str:
        """Return what a message calls an image."""
        ...

    def identity(self) -> Sequence[str] | None:
        """Return lines that differ where the images do; None where there is no telling."""
        ...

    def decode(self, number: int) -> np.ndarray:
        """Return an image, uint8, rows x `Layout.bytes`; a pair may be cut into several rows.

        Raises:
            InputError: It is broken; the message begins with its name.
        """
        ...


@dataclass(frozen=True)
class ImageDataset:
    """A source's images, framed.

    Attributes:
        source: Encoded images.
        data: Framing and size.
    """

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

    def identity(self) -> Sequence[str] | None:
        """Return how the images are framed, and what tells the source from others."""
        lines = self.source.identity()
        # Framing 'jitter' stores what 'square' does.
        framing = "square" if self.data.framing == "jitter" else self.data.framing
        return None if lines is None else [f"{framing} {self.data.stored_size}", *described(lines)]

    def decode(self, number: int) -> np.ndarray:
        """Return one image, uint8, 1 x `Layout.bytes`."""
        return framed(self.name(number), self.source[number], self.data)


def framed(name: str, image: Path | bytes, data: Data) -> np.ndarray:
    """Decode and frame one image, uint8, 1 x `Layout.bytes`.

    Args:
        name: What messages call it.
        image: Its file, or the bytes of one.
        data: Framing and size.

    Raises:
        InputError: It is broken; the message begins with ``name``.
    """
    try:
        rgb = (codec.read(name, image) if isinstance(image, bytes) else codec.read(image)).rgb
    except InputError as error:
        text = str(error)
        raise InputError(text if text.startswith(name) else f"{name}: {text}") from error
    return row(codec.frame(rgb, data.framing, data.stored_size))[None]


def decoded_or_message(work: Callable[..., np.ndarray], *arguments: object) -> np.ndarray | str:
    """Return what ``work`` gives, or the message of its `InputError`."""
    try:
        return np.ascontiguousarray(work(*arguments))
    except InputError as error:
        return str(error)


def row(image: Image.Image) -> np.ndarray:
    """Return an RGB image as a row of a `Layout`: uint8, shape ``3HW`` made flat."""
    return np.asarray(image).transpose(2, 0, 1).reshape(-1)


def described(identity: Sequence[str | Path]) -> list[str]:
    """Return lines that change when one of the files in ``identity`` does.

    A file is replaced by its path below the files' common folder, size and times. The time of its
    last change of any kind (ctime) is among them: unpackers set the other as they are told, and
    two sets of uncompressed images may agree in everything else.
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
