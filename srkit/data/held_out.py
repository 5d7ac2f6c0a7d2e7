"""Images held out for validation: which they are, and what a run keeps of them."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from srkit.data import sources
from srkit.data.datasets import (
    MOST_BROKEN,
    Dataset,
    ImageDataset,
    Layout,
    TooManyBrokenError,
    decoded_in_order,
    decoded_or_message,
    framed,
)
from srkit.hookspecs import StreamSource
from srkit.imaging import codec
from srkit.recipe import Recipe

if TYPE_CHECKING:
    from srkit.data.cache import Decoded

EVERY = 20  # one in this many good images is held out where a set has no split for it
MOST = 200  # images; more wouldn't steady the scores of a validation noticeably


@dataclass(frozen=True)
class Images:
    """HR images, uint8 ``N3HW``, with their real LR ones (``N3hw``) if there are any.

    ``broken`` has a message for each image that can't be read.
    """

    pixels: Tensor
    broken: tuple[str, ...] = ()
    lr: Tensor | None = None

    @classmethod
    def of(cls, rows: np.ndarray, layout: Layout, broken: Sequence[str] = ()) -> Images:
        """Return rows of a layout as images."""
        hr, lr = layout.split(torch.from_numpy(rows))
        return cls(hr.contiguous(), tuple(broken), None if lr is None else lr.contiguous())

    def __len__(self) -> int:
        return len(self.pixels)

    def hr(self) -> Tensor:
        """Return all images, float32 in [0, 1], ``N3HW``."""
        return self.pixels.float() / 255


def find(address: str | Path, recipe: Recipe) -> Dataset | StreamSource:
    """Return the images that ``--val`` names: their split for validation, or else all of them."""
    source, own = sources.find(address, recipe, purpose="validation data")
    if own or not isinstance(source, ImageDataset):
        return own or source
    if isinstance(source.source, sources.Files):
        # All of the folder then, subfolders `train` and `test` too.
        files = tuple(codec.listed(sources.locate(address)))
        return replace(source, source=sources.Files(files))
    return source


def split(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which rows train, and which are held out where there is no split for it; int64.

    All rows of an image are the one or the other. ``places`` are as in `Decoded`.
    """
    held = np.unique(places[:, 0], return_inverse=True)[1] % EVERY == 0
    return np.flatnonzero(~held), np.flatnonzero(held)


def first_of_rows(rows: np.ndarray, dataset: Dataset, decoded: Decoded) -> Images:
    """Return the first of a dataset's rows as images, as many as validation uses."""
    if decoded.pixels is not None:
        return Images.of(decoded.pixels[rows[:MOST]], dataset.layout)
    places = decoded.places[rows[:MOST]].tolist()
    pixels = np.stack([dataset.decode(number)[row] for number, row in places])
    return Images.of(pixels, dataset.layout)


def first_images(source: Dataset | StreamSource, recipe: Recipe) -> Images:
    """Decode a source's first images: as many as validation uses.

    TooManyBrokenError: more than a tenth of those tried are broken.
    """
    if isinstance(source, StreamSource):
        layout = Layout(recipe.data.stored_size)
        results = (decoded_or_message(framed, *each, recipe.data) for each in source)
    else:
        layout, results = source.layout, decoded_in_order(source)
    rows: list[np.ndarray] = []
    broken: list[str] = []
    tried = 0
    with contextlib.closing(results):
        for result in results:
            tried += 1
            if isinstance(result, str):
                broken.append(result)
            else:
                rows += list(result)
            if len(rows) >= MOST or len(broken) > MOST:
                break
    if not rows or len(broken) > MOST_BROKEN * tried:
        raise TooManyBrokenError(broken, tried)
    return Images.of(np.stack(rows[:MOST]), layout, broken)
