"""Photos -> batches that already live on the device.

Everything about a batch follows from (seed, step): which pictures, in which order, which of
them mirrored, and the seed of each picture's noise. Nothing is drawn from a stream, so a
resumed run needs no sampler state and sees exactly what the undisturbed one would have.
"""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import platformdirs
import torch
from PIL import Image
from torch import Tensor

from srkit import images, seeds
from srkit.errors import InputError
from srkit.recipe import Data

SAMPLES = "samples"
TRAINING = "training data"
# scikit-image's own colour photographs. The astronaut is left out: `srkit demo` scores her.
SAMPLE_PHOTOS = ("chelsea", "coffee", "rocket", "retina", "immunohistochemistry")
_ORDER, _FLIP, _NOISE = 1, 2, 3  # purposes, so that one seed's uses stay independent


def data_folder() -> Path:
    """Return where data sets are looked up by name: ``SRKIT_DATA``, or the platform's."""
    return Path(os.environ.get("SRKIT_DATA") or platformdirs.user_data_path("srkit"))


def locate(name: str | Path, *, purpose: str = TRAINING) -> Path:
    """Return the folder a data set's name or path stands for.

    Raises:
        InputError: Neither a folder nor a name under `data_folder`; says how to get it.
    """
    for folder in (Path(name), data_folder() / name):
        if str(name) and folder.is_dir():
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
        return images.listed(folder / split)
    if split != "train":
        return []
    held_out = {folder / "val", folder / "test"}
    return [file for file in images.listed(folder) if held_out.isdisjoint(file.parents)]


def _celeba_split(root: Path, pictures: Path, split: str) -> list[Path]:
    partition = root / "list_eval_partition.txt"
    files = images.listed(pictures)
    if not partition.is_file():
        return files if split == "train" else []
    wanted = str(("train", "val", "test").index(split))
    rows = (line.split() for line in partition.read_text(encoding="utf-8").splitlines())
    names = {row[0] for row in rows if len(row) == 2 and row[1] == wanted}
    chosen = [file for file in files if file.name in names]
    if not chosen:
        raise InputError(f"{partition}: names none of the pictures in {pictures} for '{split}'")
    return chosen


@dataclass(frozen=True)
class Photos:
    """HR pictures held as one uint8 stack.

    Attributes:
        pictures: uint8, ``N3HW``.
        broken: Files that could not be read, as messages.
    """

    pictures: Tensor
    broken: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.pictures)

    def hr(self) -> Tensor:
        """Return all pictures, float32 in [0, 1], ``N3HW``."""
        return self.pictures.float() / 255

    def fingerprint(self) -> str:
        """Return the first 16 hexadecimal digits of the SHA-256 of the decoded pixels."""
        pixels = self.pictures.cpu().contiguous().numpy()
        return hashlib.sha256(pixels.tobytes()).hexdigest()[:16]

    def to(self, device: torch.device) -> Photos:
        """Return the same photos on a device."""
        return Photos(self.pictures.to(device), self.broken)


def decode(files: list[Path], data: Data, *, most_broken: float = 0.1) -> Photos:
    """Decode and frame files in parallel; broken ones are left out and named.

    Args:
        files: In the order they are to have.
        data: Framing and size.
        most_broken: Share of broken files above which this is an error.

    Raises:
        InputError: Too many are broken.
    """

    def one(file: Path) -> np.ndarray | str:
        try:
            return np.asarray(images.frame(images.read(file).rgb, data.framing, data.size))
        except InputError as error:
            return str(error)

    with ThreadPoolExecutor() as pool:
        results = list(pool.map(one, files))
    good = [result for result in results if not isinstance(result, str)]
    broken = tuple(result for result in results if isinstance(result, str))
    if len(broken) > most_broken * len(files) or not good:
        raise InputError(
            f"{len(broken)} of {len(files)} pictures are broken, first {'; '.join(broken[:3])}"
        )
    return Photos(torch.from_numpy(np.stack(good)).permute(0, 3, 1, 2).contiguous(), broken)


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
        side = int(rng.integers(min(data.size, most), min(most, 3 * data.size) + 1))
        left = int(rng.integers(0, photo.width - side + 1))
        top = int(rng.integers(0, photo.height - side + 1))
        crop = photo.crop((left, top, left + side, top + side))
        crops.append(np.asarray(images.frame(crop, "square", data.size)))
    return Photos(torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).contiguous())


def load(source: str | Path, val: str | Path | None, data: Data) -> tuple[Photos, Photos]:
    """Return (training, held-out) photos.

    Args:
        source: A folder, a data set's name, or ``samples``.
        val: Where the held-out photos lie (its ``val`` split, if it has one). Without it they
            are the source's own ``val`` split, or else every twentieth photo of the source.
        data: Framing and size.

    Raises:
        InputError: See `locate` and `decode`.
    """
    if str(source) == SAMPLES:
        photos = samples(data)
        if val is None:
            return photos, samples(data, count=40, held_out=True)
    else:
        folder = locate(source)
        photos = decode(split_files(folder), data)
        held_out = split_files(folder, "val")
        if val is None and held_out:
            return photos, decode(held_out, data)
    if val is not None:
        folder = locate(val, purpose="validation data")
        return photos, decode(split_files(folder, "val") or images.listed(folder), data)
    if len(photos) < 2:
        raise InputError(f"{source}: one picture is too few to train on and hold one out")
    held = torch.arange(len(photos)) % 20 == 0
    return Photos(photos.pictures[~held], photos.broken), Photos(photos.pictures[held])


class Sampler:
    """Which pictures make batch ``step``, and the seeds of their noise.

    Epochs are seeded permutations laid end to end; a batch may span two of them.
    """

    def __init__(self, count: int, batch_size: int, seed: int) -> None:
        self.count, self.batch_size, self.seed = count, batch_size, seed
        self._orders: dict[int, Tensor] = {}

    def _order(self, epoch: int) -> Tensor:
        if epoch not in self._orders:
            key = seeds.derive(torch.tensor([self.seed]), _ORDER, epoch)
            generator = torch.Generator().manual_seed(int(key))
            # Two epochs at most are ever needed at once.
            self._orders = {e: o for e, o in self._orders.items() if e == epoch - 1}
            self._orders[epoch] = torch.randperm(self.count, generator=generator)
        return self._orders[epoch]

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Return (indices, seeds) of batch ``step``, counted from 0; int64, shape ``B``."""
        places = range(step * self.batch_size, (step + 1) * self.batch_size)
        where = [divmod(place, self.count) for place in places]
        index = torch.stack([self._order(epoch)[place] for epoch, place in where])
        epochs = torch.tensor([epoch for epoch, _ in where])
        keys = seeds.derive(torch.full_like(index, self.seed), epochs, index)
        return index, keys


def batch(photos: Photos, index: Tensor, keys: Tensor, *, flips: bool) -> tuple[Tensor, Tensor]:
    """Return (hr, noise seeds): pictures by index, float32 in [0, 1], some mirrored.

    Args:
        photos: On any device.
        index: int64, shape ``B``.
        keys: int64, shape ``B``, from `Sampler.batch`.
        flips: Mirror those whose key says so.
    """
    device = photos.pictures.device
    index, keys = index.to(device), keys.to(device)
    hr = photos.pictures[index].float() / 255
    if flips:
        mirrored = seeds.derive(keys, _FLIP) < 0
        hr = torch.where(mirrored[:, None, None, None], hr.flip(-1), hr)
    return hr, seeds.derive(keys, _NOISE)
