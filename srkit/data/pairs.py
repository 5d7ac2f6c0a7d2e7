"""Real pairs: folders ``lr`` and ``hr`` side by side, whose files belong together by name."""

from __future__ import annotations

from pathlib import Path

from srkit.data.datasets import Pairs
from srkit.errors import InputError
from srkit.imaging import codec
from srkit.recipe import Recipe


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
