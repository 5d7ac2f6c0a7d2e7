"""What has been done, a JSON line each, on the disk as soon as it is: the next run goes on.

Each process appends to a file of its own in a folder of the results' folder, and reads the files
of all. What is noted counts while its files are there, unchanged.
"""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pydantic
from typing_extensions import TypedDict

import srkit
from srkit import foreign
from srkit.errors import InputError, OptionError, refused
from srkit.files import write_text


class _Begun(TypedDict):
    """What a file of settings holds."""

    format: int
    settings: dict[str, pydantic.JsonValue]


def require_free(file: Path) -> None:
    """Raise InputError where the folder of a file of settings holds something without it.

    Hidden files don't count.
    """
    folder = file.parent
    if file.is_file() or not folder.exists():
        return
    if not folder.is_dir() or any(path.name[0] != "." for path in folder.iterdir()):
        raise InputError(f"{folder} holds something else than results; choose another folder")


def begin(file: Path, settings: Mapping[str, Any], form: int) -> None:
    """Begin a folder with the settings in a file of it, or see that it was begun with the same.

    ``form`` is the number of the format in which the folder is kept. It is an OptionError if they
    are others.
    """
    require_free(file)
    now = _Begun(format=form, settings=json.loads(json.dumps(settings)))
    if not file.is_file():
        write_text(file, json.dumps({**now, "srkit": srkit.__version__}, indent=2) + "\n")
    both = (foreign.read(file, _Begun, "JSON"), now)
    before, after = ({**each["settings"], "folder's format": each["format"]} for each in both)
    changed = [key for key in after if before.get(key) != after[key]]
    if changed:
        what = ", ".join(f"{k} {before.get(k)!s:.40}, not {after[k]!s:.40}" for k in changed)
        raise OptionError(f"{file.parent} was begun with {what}; choose another folder")


class Row(TypedDict):
    """A line; whoever adds it has keys of their own beside these."""

    __pydantic_config__ = pydantic.ConfigDict(extra="allow")  # type: ignore[misc]
    name: str  # the result's, in the folder
    files: list[tuple[str, int, int]]  # name, bytes, and time of change in ns, of each
    written: int  # in ns since 1970


class Ledger:
    """The ledger of the results in ``root``, in a folder there; ``process`` names its own file.

    Lines that aren't of a ``kind`` are left out. InputError: a file can't be read, or is a link.
    """

    def __init__(
        self, root: Path, folder: str, process: str = "1-of-1", kind: type[Row] = Row
    ) -> None:
        self.root, self.kind = root, kind
        self.file = root / folder / f"{process}.jsonl"
        self.rows: dict[str, Row] = {}
        self._torn = False  # whether this process's file ends within a line
        for file in sorted((root / folder).glob("*.jsonl")):
            self._read(file)

    def _read(self, file: Path) -> None:
        if file.is_symlink():
            raise InputError(f"{file} is a link; a ledger isn't, remove it")
        with refused(f"can't read {file}"):
            text = file.read_text(encoding="utf-8", errors="replace")
        if file == self.file:
            self._torn = bool(text) and not text.endswith("\n")
        for line in text.splitlines():
            # A kill may have cut a line short: what it stood for is done again.
            with suppress(InputError):
                row = foreign.parse(line, self.kind, "JSON", str(file))
                known = self.rows.get(row["name"])
                if known is None or known["written"] <= row["written"]:
                    self.rows[row["name"]] = row

    def name(self, file: Path) -> str:
        """Return what a file is called here."""
        return os.path.relpath(file, self.root)

    def find(self, name: str) -> Row | None:
        """Return what is noted under a name, while its files are there, unchanged."""
        row = self.rows.get(name)
        try:
            whole = row and all(_state(self.root / file) == state for file, *state in row["files"])
        except (OSError, ValueError):  # gone, or not a file's name
            return None
        return row if whole else None

    def files(self) -> set[Path]:
        """Return all files that are noted."""
        rows = [row for row in map(self.find, self.rows) if row]
        return {self.root / name for row in rows for name, *_ in row["files"]}

    def add(self, name: str, files: Sequence[Path], **values: Any) -> None:
        """Note what has just been done: a name to find it by, what was written, and other values.

        InputError: the disk is full, or the folder can't be written.
        """
        with refused(f"can't write {self.file}"):
            row = {
                "name": name,
                "files": [[self.name(file), *_state(file)] for file in files],
                **values,
                "written": time.time_ns(),
            }
            self.file.parent.mkdir(parents=True, exist_ok=True)
            # One write, and no look at the file: others may be writing it.
            line = (b"\n" if self._torn else b"") + json.dumps(row).encode() + b"\n"
            with self.file.open("ab", buffering=0) as handle:
                self._torn = handle.write(line) < len(line)
            if self._torn:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _state(file: Path) -> list[int]:
    """Return size and time of change, by which a changed file is recognised."""
    there = file.stat()
    return [there.st_size, there.st_mtime_ns]
