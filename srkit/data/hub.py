"""Hugging Face data sets: from the Hub by id, or from a folder that ``save_to_disk`` wrote."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from srkit.data.sources import Layout, described, framed, framing_key
from srkit.errors import InputError
from srkit.recipe import Data

PREFIX = "hf:"
VALIDATION = ("validation", "val", "valid", "dev")


@dataclass(frozen=True)
class Rows:
    """Pictures of one split of a data set.

    Attributes:
        title: What the data set is called.
        table: A ``datasets.Dataset`` of one column, whose pictures it leaves encoded.
        column: Its name.
        data: Framing and size.
    """

    title: str
    table: Any
    column: str
    data: Data

    @property
    def layout(self) -> Layout:
        """Of every picture."""
        return Layout(self.data.stored_size)

    @property
    def expected(self) -> int:
        """Bytes of all pictures, decoded."""
        return len(self) * self.layout.bytes

    def __len__(self) -> int:
        return len(self.table)

    def name(self, number: int) -> str:
        """Return the data set's name and the row's number."""
        return f"{self.title}[{number}]"

    def identity(self) -> Sequence[str] | None:
        """Return the files that hold the rows; None if they are only in memory."""
        files = [Path(file["filename"]) for file in self.table.cache_files]
        if not files:
            return None
        what = f"{framing_key(self.data)} {self.column} {self.table.split} {len(self)}"
        return [what, *described(files, Path(files[0].anchor))]

    def decode(self, number: int) -> np.ndarray:
        """Return one picture, uint8, 1 x `Layout.bytes`."""
        cell = self.table[number][self.column] or {}
        name, path = self.name(number), cell.get("path")
        if cell.get("bytes"):
            return framed(name, self.data, cell["bytes"])
        if not path:
            raise InputError(f"{name}: no picture in this row")
        try:
            return framed(Path(path), self.data)
        except InputError as error:
            raise InputError(f"{name}: {error}") from error


def is_saved(folder: Path) -> bool:
    """Return whether ``save_to_disk`` wrote a folder."""
    saved = ("state.json", "dataset_info.json")
    return (folder / "dataset_dict.json").is_file() or all((folder / n).is_file() for n in saved)


def find(name: str | Path, data: Data) -> tuple[Rows, Rows | None]:
    """Return (training pictures, held-out ones if it has a split for them).

    Args:
        name: ``hf:OWNER/NAME``, ``hf:OWNER/NAME@REVISION``, or a folder.
        data: Framing and size.

    Raises:
        InputError: The extra is missing, there is no such data set or no way to it, or it has
            not one column of pictures.
    """
    hub = _library(name)
    loaded = _loaded(hub, str(name))
    splits = loaded if isinstance(loaded, Mapping) else {"train": loaded}
    train = next(iter(splits.values())) if len(splits) == 1 else splits.get("train")
    if train is None:
        raise InputError(f"{name}: no split 'train' in it, only {', '.join(splits)}")
    held_out = next((splits[split] for split in VALIDATION if splits.get(split)), None)
    rows = _rows(hub, name, train, data)
    return rows, _rows(hub, name, held_out, data) if held_out is not None else None


def _loaded(hub: Any, name: str) -> Any:
    """Return a ``Dataset``, or a mapping of them by split."""
    owner_and_name, _, revision = name.removeprefix(PREFIX).partition("@")
    remote = name.startswith(PREFIX)
    if remote and not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", owner_and_name):
        raise InputError(f"'{name}' is no data set's id: give hf:OWNER/NAME")
    try:
        if not remote:
            return hub.load_from_disk(name)
        # A data set is data: what would run its own code isn't loaded.
        return hub.load_dataset(owner_and_name, revision=revision or None, trust_remote_code=False)
    # What the library lets through depends on its version and on that of its HTTP client.
    except Exception as error:
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"can't load {name}: {why}") from error


def _library(name: str | Path) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise InputError(f"{name} needs srkit[hf]: pip install 'srkit[hf]'") from error
    return datasets


def _rows(hub: Any, name: str | Path, split: Any, data: Data) -> Rows:
    columns = [key for key, kind in split.features.items() if isinstance(kind, hub.Image)]
    chosen = "image" if "image" in columns else columns[0] if len(columns) == 1 else None
    if chosen is None:
        found = f"several ({', '.join(columns)})" if columns else "none"
        raise InputError(
            f"{name}: wants one column of pictures, or one called 'image', and has {found} "
            f"among {', '.join(split.features)}"
        )
    if not len(split):
        raise InputError(f"{name}: no pictures in it")
    encoded = split.select_columns([chosen]).cast_column(chosen, hub.Image(decode=False))
    return Rows(str(name), encoded, chosen, data)
