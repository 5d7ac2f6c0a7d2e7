"""What needn't be computed twice, in one file that survives kill -9 and several processes.

Entries are found by hashes of everything that decides them, so that none is ever stale; SQLite
sees to it that none is ever torn.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np

from srkit.errors import InputError
from srkit.files import cache_folder

TIMEOUT = 60.0  # seconds to wait for another process's write

T = TypeVar("T")


class Store:
    """Bytes by space and key; `InputError` where the file is damaged, or the disk is full.

    Args:
        file: The database; made, with its folder, when something is first stored. None for a
            store that forgets everything.
    """

    def __init__(self, file: Path | None) -> None:
        self.file = file

    @contextmanager
    def _open(self, file: Path) -> Iterator[sqlite3.Connection]:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(file, timeout=TIMEOUT)) as connection:
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS kept (space TEXT, key BLOB, value BLOB, "
                    "PRIMARY KEY (space, key)) WITHOUT ROWID"
                )
                with connection:  # commits, or rolls back
                    yield connection
        except (sqlite3.Error, OSError) as error:
            raise InputError(f"{file}: can't be used ({error}); delete it, or make room") from error

    def get(self, space: str, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the values under these keys; keys without one are left out."""
        values: dict[bytes, bytes] = {}
        if not (self.file and self.file.is_file()):
            return values
        with self._open(self.file) as connection:
            for key in keys:
                values |= connection.execute(
                    "SELECT key, value FROM kept WHERE space = ? AND key = ?", (space, key)
                )
        return values

    def put(self, space: str, values: Mapping[bytes, bytes]) -> None:
        """Store values, all of them or none."""
        if self.file is None:
            return
        with self._open(self.file) as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO kept VALUES (?, ?, ?)",
                [(space, key, value) for key, value in values.items()],
            )

    def computed(
        self,
        space: str,
        items: Mapping[bytes, T],
        compute: Callable[[Sequence[T]], Sequence[bytes | None]],
        *,
        batch_size: int,
        progress: Callable[[int, int], None],
    ) -> dict[bytes, bytes]:
        """Return the value of every item: the stored one, or else a computed one.

        ``batch_size`` items are computed, and then stored, at a time. An item whose value is None
        has none, and isn't stored. ``progress`` gets how many are computed, and of how many.
        """
        values = self.get(space, list(items))
        todo = [key for key in items if key not in values]
        for first in range(0, len(todo), batch_size):
            keys = todo[first : first + batch_size]
            results = zip(keys, compute([items[key] for key in keys]), strict=True)
            fresh = {key: value for key, value in results if value is not None}
            self.put(space, fresh)
            values |= fresh
            progress(first + len(keys), len(todo))
        return values

    def delete(self) -> None:
        """Remove the file."""
        if self.file:
            self.file.unlink(missing_ok=True)
            self.file.with_name(self.file.name + "-journal").unlink(missing_ok=True)


def sha256_of(array: np.ndarray) -> bytes:
    """Return the SHA-256 of an array's shape and values."""
    return hashlib.sha256(f"{array.shape} ".encode() + array.tobytes()).digest()


def default_store() -> Store:
    """Return the store in the user's cache, where embeddings and boxes are kept."""
    return Store(cache_folder("bench") / "kept.sqlite")
