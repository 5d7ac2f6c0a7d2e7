"""Photos -> batches that already live on the device.

Where the set fits there, it is decoded once and stays there as one tensor; where it doesn't, it is
read from a file of decoded pictures, or decoded anew for each batch, ahead of the step that needs
it. The batches are the same to the bit (`srkit.data.sampler` says how they follow from seed and
step).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from srkit.data import cache as caches
from srkit.data import decoding, hub, pairs
from srkit.data.cache import Decoded
from srkit.data.loader import Decoding, Fetch, Mapped, Streamed
from srkit.data.sampler import Batch, Choice, Feed, Held, Sampler, Share
from srkit.data.shards import Reader, Shards, first_pictures, reader_of
from srkit.data.sources import (
    SAMPLES,
    TRAINING,
    Files,
    Layout,
    Source,
    data_folder,
    locate,
    split_files,
)
from srkit.data.storage import Keep, Place
from srkit.data.tars import expand, is_pattern
from srkit.errors import InputError
from srkit.imaging import codec
from srkit.recipe import Data, Recipe

__all__ = [
    "SAMPLES",
    "TRAINING",
    "Batch",
    "Feed",
    "Held",
    "Photos",
    "Sampler",
    "Share",
    "data_folder",
    "locate",
    "open_feed",
    "samples",
    "split_files",
]

# scikit-image's own colour photographs. The astronaut is left out: `srkit demo` scores her.
SAMPLE_PHOTOS = ("chelsea", "coffee", "rocket", "retina", "immunohistochemistry")
MOST_HELD_OUT = 200  # pictures; more wouldn't steady the scores of a validation noticeably
MOST_WORKERS = 8  # a process; more seldom decode faster than the device computes


@dataclass(frozen=True)
class Photos:
    """HR pictures held as one uint8 stack, with their real LR ones if there are any.

    Attributes:
        pictures: uint8, ``N3HW``.
        broken: Files that could not be read, as messages.
        lr: uint8, ``N3hw``, where the data are pairs.
    """

    pictures: Tensor
    broken: tuple[str, ...] = ()
    lr: Tensor | None = None

    def __len__(self) -> int:
        return len(self.pictures)

    def hr(self) -> Tensor:
        """Return all pictures, float32 in [0, 1], ``N3HW``."""
        return self.pictures.float() / 255

    def fingerprint(self) -> str:
        """Return the first 16 hexadecimal digits of the SHA-256 of the decoded pixels."""
        pixels = self.pictures.cpu().contiguous().numpy()
        return hashlib.sha256(pixels.data).hexdigest()[:16]

    def at_size(self, size: int) -> Photos:
        """Return the same photos with HR images of ``size`` x ``size`` pixels."""
        if self.pictures.shape[-1] == size:
            return self
        hr = interpolate(self.hr(), size=(size, size), mode="bicubic", antialias=True)
        return replace(self, pictures=hr.clamp(0, 1).mul(255).round().to(torch.uint8))

    def to(self, device: torch.device) -> Photos:
        """Return the same photos on a device."""
        lr = None if self.lr is None else self.lr.to(device)
        return Photos(self.pictures.to(device), self.broken, lr)


def photos_of(rows: Tensor, layout: Layout, broken: tuple[str, ...] = ()) -> Photos:
    """Return rows of a layout as photos."""
    hr, lr = layout.split(rows)
    return Photos(hr.contiguous(), broken, None if lr is None else lr.contiguous())


def samples(data: Data, *, count: int = 400, seed: int = 0, held_out: bool = False) -> Photos:
    """Return random squares of scikit-image's own photographs, for trying things out.

    Args:
        data: Size of the squares.
        count: How many.
        seed: Of the draw.
        held_out: Draw from the right quarter of each photograph, which training never sees;
            else from the rest.
    """
    import skimage.data

    rng = np.random.default_rng(seed)
    crops: list[np.ndarray] = []
    photos = [Image.fromarray(getattr(skimage.data, name)()) for name in SAMPLE_PHOTOS]
    for number in range(count):
        photo = photos[number % len(photos)]
        edge = photo.width * 3 // 4
        photo = photo.crop(
            (edge if held_out else 0, 0, photo.width if held_out else edge, photo.height)
        )
        most = min(photo.size)
        side = int(rng.integers(min(data.stored_size, most), min(most, 3 * data.stored_size) + 1))
        left = int(rng.integers(0, photo.width - side + 1))
        top = int(rng.integers(0, photo.height - side + 1))
        crop = photo.crop((left, top, left + side, top + side))
        crops.append(np.asarray(codec.frame(crop, "square", data.stored_size)))
    return Photos(torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).contiguous())


def open_feed(
    source: str | Path,
    val: str | Path | None,
    recipe: Recipe,
    *,
    device: torch.device,
    share: Share = Share(),  # noqa: B008 - frozen
    keep: Keep = "auto",
    workers: int | None = None,
    cache: Path | Literal[False] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Feed, Photos]:
    """Return (training batches, held-out photos).

    Args:
        source: A folder, a data set's name, ``samples``, ``hf:OWNER/NAME``, or a pattern of shards.
        val: Where the held-out photos lie (its ``val`` split, if it has one). Without it they
            are the source's own ``val`` split, or else every twentieth photo of the source.
        recipe: Framing, size, flips; batch size (of all processes together), seed, scale.
        device: Where batches go.
        share: Which rows of each batch this process takes.
        keep: ``device``: decoded, on the device. ``disk``: decoded, in a file of the cache.
            ``files``: decoded anew for each batch. ``auto``: the first for which there is room.
        workers: Processes that decode, or threads that read, while the device computes.
        cache: Folder for decoded pictures; None for `cache.default_folder`, False for none.
        progress: Called with the pictures decoded and their number.

    Raises:
        InputError: No such source, nothing in it, too many broken pictures, or a batch that can't
            be shared evenly.
    """
    mine = share.rows(recipe.batch_size)
    if workers is None:
        workers = max(1, min(MOST_WORKERS, decoding.cpus() // share.count))
    if is_pattern(source):
        _refuse_pairs(source, recipe)
        reader = reader_of(source, recipe.data, recipe.seed, len(mine), share, workers)
        return _open_shards(reader, val, recipe, device, workers)
    if str(source) == SAMPLES:
        _refuse_pairs(source, recipe)
        return _open_samples(val, recipe, mine, device)
    train, own = find(source, recipe)
    held_out = None
    if val is not None:
        held_out = _held_out(val, recipe)
    elif own is not None:
        held_out = first_photos(own)
    folder = None if cache is False else cache or caches.default_folder()
    place = Place(device, folder, share.count, explicit=cache is not None)
    kept, decoded = place.keep(train, keep, progress)
    survey, pixels, layout = decoded.survey, decoded.pixels, train.layout
    rows, others = survey.rows(hold_out=held_out is None)
    if not len(rows):
        raise InputError(f"{source}: one picture is too few to train on and hold one out")
    fingerprint = (survey.train if held_out is None else survey.whole)[:16]
    if held_out is None:
        held_out = _photos_at(others[:MOST_HELD_OUT], train, decoded)
    choice = _choice(rows, recipe, mine)
    about = (fingerprint, survey.broken(train), decoded.notes)
    if kept == "device":
        assert pixels is not None
        return Held(pixels.to(device), layout, choice, *about), held_out
    fetch: Fetch = Decoding(train, survey.pictures(), workers)
    if pixels is not None:
        fetch = Mapped(pixels, workers)
    return Streamed(fetch, layout, choice, device, *about), held_out


def _open_shards(
    reader: Reader, val: str | Path | None, recipe: Recipe, device: torch.device, workers: int
) -> tuple[Feed, Photos]:
    if val is None:
        raise InputError("shards hold nothing out: give --val, a folder or other shards")
    notes = []
    if reader.workers < workers:
        notes.append(f"{reader.workers} workers, not {workers}: too few shards for more")
    if is_pattern(val) and (both := set(expand(val)).intersection(reader.urls)):
        notes.append(f"{len(both)} shards are both trained on and held out")
    feed = Shards(reader, min(workers, reader.workers), device, notes=notes)
    return feed, _held_out(val, recipe)


def _open_samples(
    val: str | Path | None, recipe: Recipe, mine: range, device: torch.device
) -> tuple[Feed, Photos]:
    photos = samples(recipe.data)
    choice = _choice(torch.arange(len(photos)), recipe, mine)
    pixels = photos.pictures.flatten(1).to(device)
    feed = Held(pixels, Layout(recipe.data.stored_size), choice, photos.fingerprint())
    if val is not None:
        return feed, _held_out(val, recipe)
    return feed, samples(recipe.data, count=40, held_out=True)


def _choice(rows: Tensor, recipe: Recipe, mine: range) -> Choice:
    sampler = Sampler(len(rows), recipe.batch_size, recipe.seed)
    return Choice(rows, sampler, mine, recipe.data.flips)


def find(
    name: str | Path, recipe: Recipe, *, purpose: str = TRAINING
) -> tuple[Source, Source | None]:
    """Return (training pictures, held-out ones if there is a split for them).

    Args:
        name: A folder, a data set's name, or ``hf:OWNER/NAME``.
        recipe: Framing and size, or whether it holds pairs, of which scale.
        purpose: What to call it if there is no such thing.

    Raises:
        InputError: There is no such source, or nothing in it.
    """
    if str(name).startswith(hub.PREFIX):
        _refuse_pairs(name, recipe)
        return hub.find(name, recipe.data)
    folder = locate(name, purpose=purpose)
    if hub.is_saved(folder):
        _refuse_pairs(name, recipe)
        return hub.find(folder, recipe.data)
    if recipe.data.pairs:
        return pairs.find(folder, recipe), pairs.find_held_out(folder, recipe)
    pairs.refuse(folder)
    train = Files(folder, tuple(split_files(folder)), recipe.data)
    held_out = tuple(split_files(folder, "val"))
    return train, Files(folder, held_out, recipe.data) if held_out else None


def _refuse_pairs(name: str | Path, recipe: Recipe) -> None:
    if recipe.data.pairs:
        raise InputError(f"{name}: pairs are read from a folder with subfolders lr and hr only")


def _held_out(val: str | Path, recipe: Recipe) -> Photos:
    if is_pattern(val):
        _refuse_pairs(val, recipe)
        rows, broken = first_pictures(val, recipe.data, MOST_HELD_OUT)
        return photos_of(rows, Layout(recipe.data.stored_size), tuple(broken))
    train, own = find(val, recipe, purpose="validation data")
    if own is None and isinstance(train, Files):  # all of it then, a folder `test` too
        own = Files(train.root, tuple(codec.listed(train.root)), recipe.data)
    return first_photos(own or train)


def _photos_at(rows: Tensor, source: Source, decoded: Decoded) -> Photos:
    if decoded.pixels is not None:
        return photos_of(decoded.pixels[rows], source.layout)
    numbers = decoded.survey.pictures()[rows].tolist()
    found = np.concatenate([source.decode(number) for number in numbers])
    return photos_of(torch.from_numpy(found), source.layout)


def first_photos(source: Source) -> Photos:
    """Decode a source's first pictures: as many as validation uses.

    Raises:
        InputError: More than a tenth of those tried are broken.
    """
    rows: list[np.ndarray] = []
    broken: list[str] = []
    tried = 0
    while len(rows) < MOST_HELD_OUT and tried < len(source):
        numbers = range(tried, min(tried + MOST_HELD_OUT - len(rows), len(source)))
        for results in decoding.in_parallel(source, numbers):
            rows += [row for found in results if not isinstance(found, str) for row in found]
            broken += [found for found in results if isinstance(found, str)]
        tried = numbers.stop
    if len(broken) > decoding.MOST_BROKEN * tried or not rows:
        raise decoding.TooManyBrokenError(broken, tried)
    return photos_of(torch.from_numpy(np.stack(rows[:MOST_HELD_OUT])), source.layout, tuple(broken))
