"""What a batch has done, on the disk as soon as it is: the same command goes on from there.

Each process appends to a file of its own in ``.srkit-upscale`` in the results' folder, and reads
the files of all. A result counts as done while it is there, unchanged, and its input's bytes, the
weights and the settings are those that made it.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from srkit.batch.jobs import Job
from srkit.batch.share import Share
from srkit.errors import InputError
from srkit.files import sha256

FOLDER = ".srkit-upscale"


def key_of(made_by: Mapping[str, Any]) -> str:
    """Return a short name of all that decides a result, but for the input's bytes."""
    text = json.dumps(made_by, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Manifest:
    """The manifest of one folder of results.

    Args:
        root: That folder.
        key: From `key_of`.
        share: Which file is written to.
    """

    def __init__(self, root: Path, key: str, share: Share) -> None:
        self.root, self.key = root, key
        name = f"{share.index + 1}-of-{share.count}.jsonl"
        self.file = root / FOLDER / name
        self.rows: dict[str, dict[str, Any]] = {}
        for file in sorted((root / FOLDER).glob("*.jsonl")):
            self._read(file)

    def _read(self, file: Path) -> None:
        try:
            text = file.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise InputError(f"can't read {file}: {error.strerror or error}") from error
        for line in text.splitlines():
            try:
                row = json.loads(line)
                known = self.rows.get(row["output"])
                if known is None or known["written"] <= row["written"]:
                    self.rows[row["output"]] = row
            except (ValueError, KeyError, TypeError):
                continue  # a kill has cut this line short: its picture is done again

    def _name(self, output: Path) -> str:
        return os.path.relpath(output, self.root)

    def has(self, job: Job) -> bool:
        """Return whether a job's results are there, and what doing the job again would give."""
        row = self.rows.get(self._name(job.output))
        if row is None or row.get("key") != self.key:
            return False
        try:
            same = all(_state(self.root / name) == state for name, *state in row["files"])
            return same and sha256(job.input) == row["input_sha256"]
        except OSError:
            return False

    def add(self, job: Job, files: Sequence[Path], input_sha256: str) -> None:
        """Note a job's results, which have just been written.

        Raises:
            InputError: The disk is full, or the folder can't be written.
        """
        try:
            row = {
                "output": self._name(job.output),
                "files": [[self._name(file), *_state(file)] for file in files],
                "input": str(job.input),
                "input_sha256": input_sha256,
                "key": self.key,
                "written": time.time_ns(),
            }
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("a+b") as handle:
                torn = handle.tell() and (handle.seek(-1, os.SEEK_END), handle.read(1))[1] != b"\n"
                handle.write((b"\n" if torn else b"") + json.dumps(row).encode() + b"\n")
        except OSError as error:
            raise InputError(f"can't write {self.file}: {error.strerror or error}") from error


def _state(file: Path) -> list[int]:
    """Return what tells a file from one that somebody has changed since: size and time."""
    there = file.stat()
    return [there.st_size, there.st_mtime_ns]


def sweep(root: Path) -> None:
    """Delete what a killed run was writing: temporary files of `srkit.files.atomic`."""
    if (root / FOLDER).is_dir():
        for file in root.rglob(".*.part"):
            file.unlink(missing_ok=True)
