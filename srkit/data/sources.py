"""Where pictures come from: folders by path or name, as a list that is decoded by number."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import platformdirs
from PIL import Image
from torch import Tensor

from srkit.errors import InputError
from srkit.imaging import codec
from srkit.recipe import Data

SAMPLES = "samples"
TRAINING = "training data"


@dataclass(frozen=True)
class Layout:
    """How a picture lies in memory: its hr, then its lr if the data are pairs; uint8.

    Attributes:
        size: Side of hr.
        lr_size: Side of lr; 0 where there is none.
    """

    size: int
    lr_size: int = 0

    @property
    def bytes(self) -> int:
        """Bytes of one picture."""
        return 3 * (self.size**2 + self.lr_size**2)

    def split(self, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return (hr, lr), uint8 ``b3HW`` and ``b3hw``, of rows of shape ``b`` x `bytes`."""
        edge = 3 * self.size**2
        hr = rows[:, :edge].unflatten(1, (3, self.size, self.size))
        if not self.lr_size:
            return hr, None
        return hr, rows[:, edge:].unflatten(1, (3, self.lr_size, self.lr_size))


class Source(Protocol):
    """Pictures in a fixed order. It is picklable, for workers that are started afresh."""

    @property
    def layout(self) -> Layout:
        """Of every picture."""
        ...

    @property
    def expected(self) -> int:
        """Bytes that all its pictures need, decoded, if none is broken."""
        ...

    def __len__(self) -> int: ...

    def name(self, number: int) -> str:
        """Return what a message calls a picture."""
        ...

    def identity(self) -> Sequence[str] | None:
        """Return lines that differ where the pictures do; None where there is no telling."""
        ...

    def decode(self, number: int) -> np.ndarray:
        """Return a picture, uint8, rows x `Layout.bytes`; a pair may be cut into several rows.

        Raises:
            InputError: It is broken; the message begins with its name.
        """
        ...


def framed(file: Path | str, data: Data, encoded: bytes | None = None) -> np.ndarray:
    """Decode and frame one picture, uint8, 1 x `Layout.bytes`.

    Args:
        file: See `srkit.imaging.codec.read`.
        data: Framing and size.
        encoded: See `srkit.imaging.codec.read`.

    Raises:
        InputError: It is broken; the message begins with ``file``.
    """
    rgb = codec.read(file, encoded).rgb
    return row(codec.frame(rgb, data.framing, data.stored_size))[None]


def framing_key(data: Data) -> str:
    """Return what decoded images depend on: ``jitter`` stores them as ``square`` does."""
    return f"{'square' if data.framing == 'jitter' else data.framing} {data.stored_size}"


def row(picture: Image.Image) -> np.ndarray:
    """Return an RGB image as a row of a `Layout`: uint8, shape ``3HW`` made flat."""
    return np.asarray(picture).transpose(2, 0, 1).reshape(-1)


def described(files: Sequence[Path], root: Path) -> list[str]:
    """Return a line for each file that changes when the file does: its name, size and times.

    The time of its last change of any kind (ctime) is among them: unpackers set the other as they
    are told, and two sets of uncompressed pictures may agree in everything else.
    """
    above, lines = str(root), []
    for file in map(str, files):
        try:
            state = os.stat(file)  # noqa: PTH116 - there may be millions
            times = f"{state.st_mtime_ns}\0{state.st_ctime_ns}"
            lines.append(f"{file.removeprefix(above)}\0{state.st_size}\0{times}")
        except OSError as error:
            lines.append(f"{file}\0{error.errno}")
    return lines


@dataclass(frozen=True)
class Files:
    """Picture files, framed.

    Attributes:
        root: A folder above them all.
        files: In their order.
        data: Framing and size.
    """

    root: Path
    files: tuple[Path, ...]
    data: Data

    @property
    def layout(self) -> Layout:
        """Of every picture."""
        return Layout(self.data.stored_size)

    @property
    def expected(self) -> int:
        """Bytes of all pictures, decoded."""
        return len(self.files) * self.layout.bytes

    def __len__(self) -> int:
        return len(self.files)

    def name(self, number: int) -> str:
        """Return the file's path."""
        return str(self.files[number])

    def identity(self) -> Sequence[str]:
        """Return names, sizes and times of the files, and how they are framed."""
        return [framing_key(self.data), *described(self.files, self.root)]

    def decode(self, number: int) -> np.ndarray:
        """Return one picture, uint8, 1 x `Layout.bytes`."""
        return framed(self.files[number], self.data)


def data_folder() -> Path:
    """Return where data sets are looked up by name: ``SRKIT_DATA``, or the platform's."""
    return Path(os.environ.get("SRKIT_DATA") or platformdirs.user_data_path("srkit"))


def locate(name: str | Path, *, purpose: str = TRAINING) -> Path:
    """Return the folder a data set's name or path stands for.

    Raises:
        InputError: Neither a folder nor a name under `data_folder`; says how to get it.
    """
    for folder in (Path(name), data_folder() / name):
        if str(name) and os.path.isdir(folder):  # noqa: PTH112 - no error where it may not look
            return folder
    how = ""
    if str(name) == "celeba":
        how = (
            "; get CelebA (img_align_celeba.zip, list_eval_partition.txt) from "
            "mmlab.ie.cuhk.edu.hk/projects/CelebA.html "
            f"and unpack it into {data_folder() / 'celeba'}"
        )
    if purpose == TRAINING:
        how += "; or '--data samples' to try things out on scikit-image's photographs"
    raise InputError(
        f"no {purpose} at '{name}' (not a folder here, nor under {data_folder()}){how}"
    )


def split_files(folder: Path, split: str = "train") -> list[Path]:
    """Return a split's picture files, sorted.

    Reads torchvision's CelebA layout (``celeba/img_align_celeba`` with
    ``list_eval_partition.txt``), folders named after splits (``train``, ``val``, ``test``),
    and plain folders (all pictures; for ``val`` none).

    Raises:
        InputError: No pictures.
    """
    for root in (folder, folder / "celeba"):
        pictures = root / "img_align_celeba"
        if pictures.is_dir():
            return _celeba_split(root, pictures, split)
    if (folder / split).is_dir():
        return codec.listed(folder / split)
    if split != "train":
        return []
    held_out = tuple(f"{folder / name}{os.sep}" for name in ("val", "test"))
    files = [file for file in codec.listed(folder) if not str(file).startswith(held_out)]
    if not files:
        raise InputError(f"{folder}: no pictures to train on in it, only those in val and test")
    return files


def _celeba_split(root: Path, pictures: Path, split: str) -> list[Path]:
    partition = root / "list_eval_partition.txt"
    if not partition.is_file():
        return codec.listed(pictures) if split == "train" else []
    wanted = str(("train", "val", "test").index(split))
    text = partition.read_text(encoding="utf-8", errors="replace")
    rows = (line.split() for line in text.splitlines())
    names = {row[0] for row in rows if len(row) == 2 and row[1] == wanted}
    # Two hundred thousand files, all in one folder: Path would take seconds.
    chosen = sorted(names.intersection(os.listdir(pictures)))  # noqa: PTH208
    if not chosen:
        raise InputError(f"{partition}: names none of the pictures in {pictures} for '{split}'")
    return [pictures / name for name in chosen]
