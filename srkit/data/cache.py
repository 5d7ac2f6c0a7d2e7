"""Images decoded once, in parallel, and stored in numpy's format for the next run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import PIL
import torch
from PIL import features

from srkit.data import held_out
from srkit.data.datasets import MOST_BROKEN, Dataset, TooManyBrokenError, decoded_in_order, row_keys
from srkit.errors import InputError, one_line, option
from srkit.files import atomic, sweep

FORMAT = "srkit decoded 5"
_STEP = 16  # images between two reports of progress

Progress = Callable[[int, int], None]


@dataclass
class Decoded:
    """What decoding every image of a dataset gave; its arrays are those of a cache file."""

    places: np.ndarray  # int64, rows x 2: the image, and the row within the image, of each row
    keys: np.ndarray  # int64: the `row_keys` of all rows
    broken: np.ndarray  # int64: numbers of broken images
    reasons: np.ndarray  # text: what is wrong with each of those
    digests: np.ndarray  # SHA-256 of all rows, and of those that train where some are `held_out`
    pixels: np.ndarray | None = None  # uint8, rows x `Layout.bytes`; None if they weren't wanted
    notes: list[str] = field(default_factory=list)  # what the user should hear

    def messages(self, dataset: Dataset) -> list[str]:
        """Return a message for each broken image."""
        pairs = zip(self.broken.tolist(), self.reasons.tolist(), strict=True)
        return [f"{dataset.name(number)}: {why}" for number, why in pairs]


def decode(
    dataset: Dataset,
    folder: Path | None,
    *,
    pixels: bool = True,
    progress: Progress = lambda done, total: None,
) -> Decoded:
    """Return a dataset's images from the cache, or decode them and store them there.

    A disk that can't be written, or is full, is a note and no error. Without ``pixels`` only the
    rest is wanted. ``progress`` gets the number of images done and of all.

    Raises:
        InputError: More than a tenth of the images are broken (`TooManyBrokenError`), they are
            changing, or memory is too small for them.
    """
    lines = None if folder is None else dataset.identity()
    if folder is None or lines is None:
        return _decoded(dataset, pixels, progress)
    versions = f"{FORMAT}, Pillow {PIL.__version__}, {features.version_feature('libjpeg_turbo')}"
    text = "\n".join([versions, type(dataset).__name__, *lines])
    key = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    file = folder / f"{key}.npz"
    if cached := _read(file, pixels):
        return cached
    decoded = _decoded(dataset, pixels, progress)
    try:
        sweep(folder)
        _write(file, decoded)
    except OSError as error:
        decoded.notes.append(f"can't store decoded images in {folder}: {one_line(error)}")
    return decoded


def _write(file: Path, decoded: Decoded) -> None:
    arrays = {k: v for k, v in vars(decoded).items() if isinstance(v, np.ndarray)}
    with atomic(file) as temporary, temporary.open("wb") as out:
        np.savez(out, **arrays)  # type: ignore[arg-type]


def _read(file: Path, pixels: bool) -> Decoded | None:
    """Return what a cache file holds; None if it isn't there or damaged, or lacks the pixels."""
    try:
        # numpy leaves a file open in which it finds no archive; the format has checksums.
        with file.open("rb") as handle, np.load(handle, allow_pickle=False) as stored:
            if pixels and "pixels" not in stored:
                return None
            return Decoded(**{k: stored[k] for k in stored.files if pixels or k != "pixels"})
    except Exception:  # damage raises errors of numpy's, zipfile's and zlib's
        return None


def _decoded(dataset: Dataset, pixels: bool, progress: Progress) -> Decoded:
    """Decode every image in parallel; raises what `decode` does."""
    # Memory for all; what broken ones leave of it is never touched, and so isn't taken up.
    shape = (dataset.expected if pixels else 0, dataset.layout.bytes)
    try:
        array = np.empty(shape, dtype=np.uint8)
    except MemoryError as error:
        size = shape[0] * shape[1] / 1e9
        how = option("storage", "stream")
        raise InputError(f"no memory for {size:.1f} GB of images; give {how}") from error
    places: list[tuple[int, int]] = []
    reasons: dict[int, str] = {}
    keys = [torch.zeros(0, dtype=torch.int64)]
    whole, train = hashlib.sha256(), hashlib.sha256()
    for number, result in enumerate(decoded_in_order(dataset)):
        if isinstance(result, str):
            reasons[number] = result.removeprefix(f"{dataset.name(number)}: ")
        else:
            whole.update(result.data)
            if (number - len(reasons)) % held_out.EVERY:
                train.update(result.data)
            first = len(places)
            places += [(number, row) for row in range(len(result))]
            keys.append(row_keys(result, dataset.layout))
            if pixels and len(places) > len(array):
                raise InputError("images were changed while they were decoded; start again")
            if pixels:
                array[first : len(places)] = result
        if (number + 1) % _STEP == 0 or number + 1 == len(dataset):
            progress(number + 1, len(dataset))
    decoded = Decoded(
        np.array(places, dtype=np.int64).reshape(-1, 2),
        torch.cat(keys).numpy(),
        np.array(list(reasons), dtype=np.int64),
        np.array(list(reasons.values()), dtype=np.str_),
        np.array([whole.hexdigest(), train.hexdigest()]),
        array[: len(places)] if pixels else None,
    )
    if len(reasons) > MOST_BROKEN * len(dataset) or not places:
        raise TooManyBrokenError(decoded.messages(dataset), len(dataset))
    return decoded
