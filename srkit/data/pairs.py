"""Real pairs: folders ``lr`` and ``hr`` side by side, whose files belong together by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from srkit.data.datasets import Layout, described
from srkit.errors import InputError
from srkit.imaging import codec
from srkit.recipe import Recipe


@dataclass(frozen=True)
class Pairs:
    """Pairs of files, cut into aligned squares; nothing is resampled.

    Resampling either image would change the degradation that the pair is there to show, so an
    hr larger than ``size`` gives a centred grid of squares that touch and don't overlap.

    Attributes:
        files: (lr, hr), in their order.
        size: Side of an hr square.
        scale: Scale of hr to lr.
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
                continue  # broken; what of it is found out when it is decoded
            squares += (width // self.size) * (height // self.size)
        return squares

    def __len__(self) -> int:
        return len(self.files)

    def name(self, number: int) -> str:
        """Return the path of hr."""
        return str(self.files[number][1])

    def identity(self) -> Sequence[str]:
        """Return names, sizes and times of the files, and how they are cut."""
        flat = [file for pair in self.files for file in pair]
        return [f"pairs {self.size} {self.scale}", *described(flat)]

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
        side = self.size // self.scale
        top, left = low % side // 2, narrow % side // 2
        squares = _squares(hr, self.size, top * self.scale, left * self.scale)
        return np.hstack([squares, _squares(lr, side, top, left)])

    def _read(self, number: int, side: int) -> np.ndarray:
        try:
            return np.asarray(codec.read(self.files[number][side]).rgb)
        except InputError as error:
            if side:
                raise
            raise InputError(f"{self.name(number)}: its lr, {error}") from error


def _squares(image: np.ndarray, side: int, top: int, left: int) -> np.ndarray:
    down, across = (image.shape[0] - top) // side, (image.shape[1] - left) // side
    cut = image[top : top + down * side, left : left + across * side]
    grid = cut.reshape(down, side, across, side, 3).transpose(0, 2, 4, 1, 3)
    return grid.reshape(down * across, -1)


def find(folder: Path, recipe: Recipe) -> Pairs:
    """Return a folder's training pairs: ``train/lr`` and ``train/hr``, or ``lr`` and ``hr``.

    Raises:
        InputError: There are no such folders (case aside), or files in them without a partner.
    """
    both = _both(folder / "train") or _both(folder)
    if both is None:
        raise InputError(f"{folder}: pairs need subfolders lr and hr, in it or in its train")
    return Pairs(_matched(*both), recipe.data.size, recipe.scale)


def find_held_out(folder: Path, recipe: Recipe) -> Pairs | None:
    """Return a folder's held-out pairs, ``val/lr`` and ``val/hr``, if it has them.

    Raises:
        InputError: There are files in them without a partner.
    """
    both = _both(folder / "val")
    return both and Pairs(_matched(*both), recipe.data.size, recipe.scale)


def refuse(folder: Path) -> None:
    """Stop a run that would take pairs for images to train on, lr among them.

    Raises:
        InputError: The folder holds pairs; says what to do.
    """
    for root in (folder / "train", folder):
        both = _both(root)
        if both and all(_has_images(kind) for kind in both):
            raise InputError(
                f"{root} holds pairs (lr and hr): give --pairs to train on them, or "
                f"'--data {both[1]}' for its hr alone"
            )


def _both(folder: Path) -> tuple[Path, Path] | None:
    named: dict[str, Path] = {}
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name.lower() in ("lr", "hr") and path.is_dir():
            named[path.name.lower()] = path
    return (named["lr"], named["hr"]) if len(named) == 2 else None


def _has_images(folder: Path) -> bool:
    return any(path.suffix.lower() in codec.SUFFIXES for path in folder.rglob("*"))


def _matched(lr: Path, hr: Path) -> tuple[tuple[Path, Path], ...]:
    sides = [_by_name(folder) for folder in (lr, hr)]
    if alone := sorted(sides[0].keys() ^ sides[1].keys()):
        files = [str(sides[name not in sides[0]][name]) for name in alone[:3]]
        raise InputError(
            f"{len(alone)} images in {lr} and {hr} have no partner of the same name, "
            f"first {', '.join(files)}"
        )
    return tuple((sides[0][name], sides[1][name]) for name in sorted(sides[0]))


def _by_name(folder: Path) -> dict[str, Path]:
    """Return a folder's images by their path in it without the suffix."""
    named: dict[str, Path] = {}
    for file in codec.listed(folder):
        name = file.relative_to(folder).with_suffix("").as_posix()
        if name in named:
            raise InputError(f"{named[name]} and {file} have the same name: which is meant?")
        named[name] = file
    return named
