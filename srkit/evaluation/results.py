"""Pictures that other programs made: any program becomes a column of the table.

The bench writes every LR picture it would enlarge into a folder, the program enlarges the
folder, and the bench reads its results. Names are made of the pictures' pixels, so that a result
can't be taken for another's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from srkit.errors import InputError
from srkit.evaluation.columns import Column
from srkit.evaluation.protocol import encoded
from srkit.files import sha256
from srkit.imaging import codec


def key(lr: np.ndarray) -> str:
    """Return the name of an LR picture, 32 hexadecimal digits.

    Args:
        lr: uint8, ``hw3``.
    """
    shape = f"{lr.shape[1]}x{lr.shape[0]} ".encode()
    return hashlib.sha256(shape + np.ascontiguousarray(lr).tobytes()).hexdigest()[:32]


def write_lr(pictures: Iterable[np.ndarray], folder: Path) -> int:
    """Write LR pictures as ``KEY.png``; those that are there already are left alone.

    Args:
        pictures: uint8, ``hw3``.
        folder: Made if there is none.

    Returns:
        How many there are.

    Raises:
        InputError: The folder can't be written.
    """
    names = set()
    for picture in pictures:
        file = folder / f"{key(picture)}.png"
        names.add(file.name)
        if not file.is_file():
            codec.write(Image.fromarray(picture), file)
    return len(names)


class Results:
    """A folder of results, ``KEY.png``, behind the shape of a model.

    Args:
        name: Of the column.
        folder: Where they are.
        scale: How many times larger than LR they are.

    Raises:
        InputError: There is no such folder, or no picture in it.
    """

    def __init__(self, name: str, folder: Path, scale: int) -> None:
        self.name, self.folder, self.scale = name, folder, scale
        if not folder.is_dir():
            raise InputError(f"results of '{name}': {folder}: no such folder")
        self.files = sorted(folder.glob("*.png"))
        if not self.files:
            raise InputError(f"results of '{name}': {folder} holds no .png")

    def __call__(self, lr: Tensor) -> Tensor:
        """Return the results for ``lr``, ``B3hw`` of 8-bit values, as ``B3HW``.

        Raises:
            InputError: One isn't there, or has another size than it should.
        """
        pixels = codec.to_uint8(lr).permute(0, 2, 3, 1).cpu().numpy()
        return torch.cat([self._one(each) for each in pixels]).to(lr.device)

    def _one(self, lr: np.ndarray) -> Tensor:
        file = self.folder / f"{key(lr)}.png"
        if not file.is_file():
            raise InputError(
                f"results of '{self.name}': {file} is missing; enlarge every picture that "
                "--write-lr writes under this protocol, and keep their names"
            )
        found = codec.read(file).rgb
        wanted = (lr.shape[1] * self.scale, lr.shape[0] * self.scale)
        if found.size != wanted:
            raise InputError(
                f"results of '{self.name}': {file} has {found.width}x{found.height} pixels, "
                f"not {wanted[0]}x{wanted[1]}"
            )
        return codec.to_tensor(found)

    def column(self) -> Column:
        """Return the column; its sha256 is that of all files' names and bytes."""
        digest = hashlib.sha256()
        for file in self.files:
            digest.update(encoded(file.name) + bytes.fromhex(sha256(file)))
        about = {"pictures": len(self.files)}
        return Column(self.name, self, digest.hexdigest(), metadata=about, timed=False)
