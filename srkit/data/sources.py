"""Where images come from: folders by path or name, samples, and the addresses of plugins."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import platformdirs
from PIL import Image

from srkit import plugins, registry
from srkit.data import pairs
from srkit.data.datasets import Dataset, ImageDataset
from srkit.errors import InputError, option
from srkit.files import real
from srkit.hookspecs import Source, StreamSource
from srkit.imaging import codec
from srkit.recipe import Recipe

SAMPLES = "samples"
TRAINING = "training data"
# scikit-image's own colour photographs. The astronaut is left out: `srkit demo` scores her.
SAMPLE_PHOTOS = ("chelsea", "coffee", "rocket", "retina", "immunohistochemistry")


@dataclass(frozen=True)
class Files:
    """Image files, and those to validate on if there is a split for them."""

    files: tuple[Path, ...]
    held_out: Source | None = None

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: int) -> Path:
        return self.files[number]

    def name(self, number: int) -> str:
        """Return the file's path."""
        return str(self.files[number])

    def identity(self) -> Sequence[Path]:
        """Return the files."""
        return self.files


class Samples:
    """Random squares of scikit-image's own photographs, for trying things out.

    Args:
        size: Side of the HR images to be made of them; a square has one to three times it.
        count: Number of squares.
        seed: Seed of the sampling.
        validation: Whether to sample from the right quarter of each photograph, which training
            never sees, or from the rest.
    """

    def __init__(
        self, size: int, *, count: int = 400, seed: int = 0, validation: bool = False
    ) -> None:
        import skimage.data

        self.held_out = None if validation else Samples(size, count=40, validation=True)
        rng = np.random.default_rng(seed)
        photos = [Image.fromarray(getattr(skimage.data, name)()) for name in SAMPLE_PHOTOS]
        self.squares: list[Image.Image] = []
        for number in range(count):
            photo = photos[number % len(photos)]
            edge = photo.width * 3 // 4
            left, right = (edge, photo.width) if validation else (0, edge)
            photo = photo.crop((left, 0, right, photo.height))
            most = min(photo.size)
            side = int(rng.integers(min(size, most), min(most, 3 * size) + 1))
            left = int(rng.integers(0, photo.width - side + 1))
            top = int(rng.integers(0, photo.height - side + 1))
            self.squares.append(photo.crop((left, top, left + side, top + side)))

    def __len__(self) -> int:
        return len(self.squares)

    def __getitem__(self, number: int) -> bytes:
        file = io.BytesIO()
        self.squares[number].save(file, "bmp")
        return file.getvalue()

    def name(self, number: int) -> str:
        """Return a sample's number."""
        return f"{SAMPLES}[{number}]"

    def identity(self) -> None:
        """Return None: they are made faster than read."""


def find(
    address: str | Path, recipe: Recipe, *, purpose: str = TRAINING
) -> tuple[Dataset | StreamSource, Dataset | None]:
    """Return (training images, held-out ones if there is a split for them).

    An address is a folder, a data set's name, ``samples``, or what a plugin knows; ``purpose`` is
    what messages call it. InputError: there is no such source, or nothing in it.
    """
    text = str(address)
    kind = _named_by_address(text)
    if kind is None and text != SAMPLES:
        folder = locate(address, purpose=purpose)
        kind, text = _named_by_content(folder), str(folder)
        if kind is None and recipe.data.pairs:
            return pairs.find(folder, recipe)
        if kind is None:
            pairs.refuse(folder)
    if recipe.data.pairs:
        raise InputError(f"{address}: pairs are read from a folder with subfolders lr and hr only")
    source: Source | StreamSource
    if kind is not None:
        source = registry.call("sources", kind, text)
        with registry.blamed("sources", kind):
            if not isinstance(source, Source | StreamSource):
                raise TypeError(f"{type(source).__name__} lacks some of a source's methods")
    else:
        source = Samples(recipe.data.stored_size) if text == SAMPLES else _folder(folder)
    if not isinstance(source, Source):
        return source, None
    own = source.held_out
    held_out = None if own is None else ImageDataset(own, recipe.data)
    return ImageDataset(source, recipe.data), held_out


def _named_by_address(address: str) -> str | None:
    """Return the registered source for what an address begins with or ends in."""
    for name in registry.offers("sources"):
        begins = name.endswith(":") and address.startswith(name)
        ends = name.startswith(".") and address.lower().endswith(name)
        if begins or (ends and not os.path.isdir(address)):  # noqa: PTH112 - as in `locate`
            return name
    return None


def _named_by_content(folder: Path) -> str | None:
    """Return the registered source for folders that hold a file of some name."""
    marks = [
        name for name in registry.offers("sources") if not {name[:1], name[-1:]} & {".", ":", ""}
    ]
    return next((name for name in marks if (folder / name).is_file()), None)


def _folder(folder: Path) -> Files:
    held_out = split_files(folder, "val")
    return Files(tuple(split_files(folder)), Files(tuple(held_out)) if held_out else None)


def data_folder() -> Path:
    """Return where data sets are looked up by name: ``SRKIT_DATA``, or the platform's."""
    return Path(os.environ.get("SRKIT_DATA") or platformdirs.user_data_path("srkit"))


def locate(name: str | Path, *, purpose: str = TRAINING) -> Path:
    """Return the folder a data set's name or path stands for; InputError says how to get it."""
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
        how += f"; or {option('data', 'samples')} to try things out on scikit-image's photographs"
    waiting = [p.state.removeprefix("needs ") for p in plugins.load().plugins if "[" in p.state]
    if waiting and {":", "."} & set(str(name)):
        how += f"; more kinds of sources with {', '.join(waiting)}"
    raise InputError(
        f"no {purpose} at '{name}' (not a folder here, nor under {data_folder()}){how}"
    )


def require_outside(out: Path, data: str | Path) -> None:
    """Raise InputError where what is written would be among the photos of a later run."""
    folder = Path(data)
    splits = [each for split in pairs.SPLITS for each in pairs.split_folders(folder, split)]
    if folder.is_dir() and any(real(out).is_relative_to(real(f)) for f in splits or [folder]):
        raise InputError(f"{out} lies among the photos of {folder}; choose another place")


def notes_on(address: str | Path) -> list[str]:
    """Return what the user should know of a folder before its images are used."""
    try:
        return pairs.unread_splits(locate(address))
    except (InputError, OSError):  # no folder; or reading it says why it can't be read
        return []


def split_files(folder: Path, split: str = "train") -> list[Path]:
    """Return a split's image files, sorted.

    Reads torchvision's CelebA layout (``celeba/img_align_celeba`` with
    ``list_eval_partition.txt``), folders named after splits (see `pairs.SPLITS`), and plain
    folders (all images; for ``val`` none). InputError: there are no images.
    """
    for root in (folder, folder / "celeba"):
        images = root / "img_align_celeba"
        if images.is_dir():
            return _celeba_split(root, images, split)
    if own := pairs.split_folders(folder, split):
        return [file for each in own for file in codec.listed(each)]
    if split != "train":
        return []
    others = [each for name in ("val", "test") for each in pairs.split_folders(folder, name)]
    held_out = tuple(f"{each}{os.sep}" for each in others)
    files = [file for file in codec.listed(folder) if not str(file).startswith(held_out)]
    if not files:
        raise InputError(f"{folder}: no images to train on in it, only those in val and test")
    return files


def _celeba_split(root: Path, images: Path, split: str) -> list[Path]:
    partition = root / "list_eval_partition.txt"
    if not partition.is_file():
        return codec.listed(images) if split == "train" else []
    wanted = str(("train", "val", "test").index(split))
    text = partition.read_text(encoding="utf-8", errors="replace")
    rows = (line.split() for line in text.splitlines())
    names = {row[0] for row in rows if len(row) == 2 and row[1] == wanted}
    # Two hundred thousand files, all in one folder: Path would take seconds.
    chosen = sorted(names.intersection(os.listdir(images)))  # noqa: PTH208
    if not chosen:
        raise InputError(f"{partition}: names none of the images in {images} for '{split}'")
    return [images / name for name in chosen]
