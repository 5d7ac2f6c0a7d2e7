"""Hugging Face data sets: from the Hub by id, or from a folder that ``save_to_disk`` wrote."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets

from srkit import InputError

PREFIX = "hf:"
VALIDATION = ("validation", "val", "valid", "dev")


@dataclass(frozen=True)
class HubImages:
    """Images of one split of a data set.

    Attributes:
        title: What messages call the data set.
        table: A ``datasets.Dataset`` of one column, whose images it leaves encoded.
        held_out: Images of the split for validation, if there is one.
    """

    title: str
    table: Any
    held_out: HubImages | None = None

    @property
    def column(self) -> str:
        """Name of the column."""
        return str(self.table.column_names[0])

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, number: int) -> Path | bytes:
        cell = self.table[number][self.column] or {}
        if encoded := cell.get("bytes"):
            return bytes(encoded)
        if not cell.get("path"):
            raise InputError(f"{self.name(number)}: no image in this row")
        return Path(cell["path"])

    def name(self, number: int) -> str:
        """Return the data set's name and the row's number."""
        return f"{self.title}[{number}]"

    def identity(self) -> Sequence[str | Path] | None:
        """Return the files that hold the rows; None if they are only in memory."""
        files = [Path(file["filename"]) for file in self.table.cache_files]
        return [f"{self.column} {self.table.split} {len(self)}", *files] if files else None


def open_source(address: str) -> HubImages:
    """Return the training images of a data set.

    Args:
        address: ``hf:OWNER/NAME``, ``hf:OWNER/NAME@REVISION``, or a folder.

    Raises:
        InputError: There is no such data set or no way to it, or it has not one column of images.
    """
    loaded = _loaded(address)
    splits = loaded if isinstance(loaded, Mapping) else {"train": loaded}
    train = next(iter(splits.values())) if len(splits) == 1 else splits.get("train")
    if train is None:
        raise InputError(f"{address}: no split 'train' in it, only {', '.join(splits)}")
    held_out = next((splits[split] for split in VALIDATION if splits.get(split)), None)
    apart = None if held_out is None else HubImages(address, images_of(address, held_out))
    return HubImages(address, images_of(address, train), apart)


def _loaded(address: str) -> Any:
    """Return a ``Dataset``, or a mapping of them by split."""
    owner_and_name, _, revision = address.removeprefix(PREFIX).partition("@")
    remote = address.startswith(PREFIX)
    if remote and not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", owner_and_name):
        raise InputError(f"'{address}' is no data set's id: give hf:OWNER/NAME")
    try:
        if not remote:
            return datasets.load_from_disk(address)
        # A data set is data: what would run its own code isn't loaded.
        return datasets.load_dataset(
            owner_and_name, revision=revision or None, trust_remote_code=False
        )
    # What the library lets through depends on its version and on that of its HTTP client.
    except Exception as error:
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"can't load {address}: {why}") from error


def images_of(address: str, split: Any) -> Any:
    """Return a split's column of images, left encoded.

    Raises:
        InputError: There is no such column, or several, or nothing in it.
    """
    columns = [key for key, kind in split.features.items() if isinstance(kind, datasets.Image)]
    chosen = "image" if "image" in columns else columns[0] if len(columns) == 1 else None
    if chosen is None:
        what = f"several ({', '.join(columns)})" if columns else "none"
        raise InputError(
            f"{address}: wants one column of images, or one called 'image', and has {what} "
            f"among {', '.join(split.features)}"
        )
    if not len(split):
        raise InputError(f"{address}: no images in it")
    return split.select_columns([chosen]).cast_column(chosen, datasets.Image(decode=False))
