"""Real pairs: folders ``lr`` and ``hr`` side by side, whose files belong together by name."""

from __future__ import annotations

import re
from pathlib import Path

from srkit.data.datasets import Pairs
from srkit.errors import InputError, first_of, is_in_shell, option
from srkit.imaging import codec
from srkit.recipe import Recipe

# Names of folders, case aside.
SPLITS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
SIDES = {"lr": ("lr", "lq"), "hr": ("hr", "hq", "gt")}


def split_folders(folder: Path, split: str) -> list[Path]:
    """Return the subfolders that are named after a split: ``train``, ``val`` or ``test``."""
    return _named(folder, SPLITS[split])


def unread_splits(folder: Path) -> list[str]:
    """Return a line on subfolders that look like splits, as ``train_HR``, and aren't read so."""
    splits, unread = set[str](), set[str]()
    for path in folder.iterdir():
        words = {*re.split("[^a-z]+", path.name.lower())} if path.is_dir() else set()
        named = {split for split, names in SPLITS.items() if words.intersection(names)}
        splits |= named
        if named and not any(path.name.lower() in names for names in SPLITS.values()):
            unread.add(path.name)
    if len(splits) < 2 or not unread:  # a person may be called Val
        return []
    names = first_of(unread)
    return [f"{folder} looks split, and isn't read so: rename {names} to train, val or test"]


def _named(folder: Path, names: tuple[str, ...]) -> list[Path]:
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path for path in paths if path.name.lower() in names and path.is_dir()]


def find(folder: Path, recipe: Recipe) -> tuple[Pairs, Pairs | None]:
    """Return a folder's training pairs, and those of ``val/lr`` and ``val/hr`` if it has them.

    Training pairs are in ``train/lr`` and ``train/hr``, or ``lr`` and ``hr``.

    Raises:
        InputError: There are no such folders (case aside), or files in them without a partner.
    """
    train, val = _split(folder, "train") or _both(folder), _split(folder, "val")
    if train is None:
        raise InputError(f"{folder}: pairs need subfolders lr and hr, in it or in its train")

    def pairs(both: tuple[Path, Path]) -> Pairs:
        return Pairs(_matched(*both, recipe.scale), recipe.data.size, recipe.scale)

    return pairs(train), val and pairs(val)


def refuse(folder: Path) -> None:
    """Raise InputError where a folder holds pairs: a run would take lr for images to train on."""
    for root in (*split_folders(folder, "train"), folder):
        both = _both(root)
        if both and all(_has_images(kind) for kind in both):
            how = "--pairs" if is_in_shell() else "Data(pairs=True)"
            raise InputError(
                f"{root} holds pairs (lr and hr): give {how} to train on them, or "
                f"{option('data', str(both[1]))} for its hr alone"
            )


def _split(folder: Path, split: str) -> tuple[Path, Path] | None:
    return next(filter(None, map(_both, split_folders(folder, split))), None)


def _both(folder: Path) -> tuple[Path, Path] | None:
    lr, hr = (_named(folder, names) for names in SIDES.values())
    return (lr[0], hr[0]) if lr and hr else None


def _has_images(folder: Path) -> bool:
    return any(path.suffix.lower() in codec.SUFFIXES for path in folder.rglob("*"))


def _matched(lr: Path, hr: Path, scale: int) -> tuple[tuple[Path, Path], ...]:
    sides = [_by_name(folder) for folder in (lr, hr)]
    for name in sides[0].keys() - sides[1].keys():
        plain = name.removesuffix(f"x{scale}")  # 0001x4.png of 0001.png
        if plain in sides[1] and plain not in sides[0]:
            sides[0][plain] = sides[0].pop(name)
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
