"""Clients' files: in a private folder, by random ids, within limits, and not for long."""

from __future__ import annotations

import re
import secrets
import shutil
import tempfile
import threading
import time
import weakref
import zipfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from srkit.errors import InputError
from srkit.files import lock

PREFIX = "srkit-ui-"
Size = tuple[int, int]  # width and height
_HIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@dataclass(frozen=True)
class Limits:
    """What clients may ask for."""

    file_bytes: int = 64 << 20  # of an upload
    input_pixels: int = 40_000_000
    result_pixels: int = 100_000_000
    waiting: int = 64  # images, of all clients together
    stored_bytes: int = 4 << 30  # of all clients together
    stored_files: int = 5_000
    seconds: float = 3600.0  # a file is deleted that long after it was last asked for


class RefusedError(Exception):
    """A request that isn't done: a sentence for the user, and an HTTP status."""

    def __init__(self, message: str, status: int = 422) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Stored:
    """A file of a client: its random id, the user's name for it, and where it really lies."""

    id: str
    name: str
    file: Path
    size: Size  # zeros of an archive
    bytes: int
    used: float


class Store:
    """Files in a folder of this process, which only its user can read.

    The folder is deleted when the process ends; that of a killed one by the next.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
            with suppress(OSError, InputError), lock(folder):  # that of a server can't be had
                shutil.rmtree(folder)
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX))  # of mode 0700
        self._files: dict[str, Stored] = {}
        self._lock, end = threading.Lock(), ExitStack()
        end.callback(shutil.rmtree, self.folder, ignore_errors=True)
        end.enter_context(lock(self.folder))
        self.close = weakref.finalize(self, end.close)
        threading.Thread(target=self._expire, daemon=True).start()

    def get(self, key: str) -> Stored:
        """Return a file by its id, or refuse."""
        if (stored := self._files.get(key)) is None:
            raise RefusedError("the image isn't there any more; the server keeps it an hour", 404)
        stored.used = time.monotonic()
        return stored

    def add(self, name: str, content: bytes, size: Size) -> Stored:
        """Keep an image, or refuse where there is no room."""
        return self._keep(name, size, len(content), lambda file: file.write_bytes(content))

    def zip(self, files: Sequence[Stored]) -> Stored:
        """Keep an archive of files, each under its name, or with a number before it."""

        def write(file: Path) -> None:
            taken: set[str] = set()
            with zipfile.ZipFile(file, "w") as archive:  # images are compressed already
                for stored in files:
                    name = stored.name
                    while name.lower() in taken:
                        name = f"{len(taken)}-{name}"
                    taken.add(name.lower())
                    archive.write(stored.file, name)

        return self._keep("srkit.zip", (0, 0), sum(each.bytes for each in files), write)

    def _keep(self, name: str, size: Size, room: int, write: Callable[[Path], object]) -> Stored:
        key, limits = secrets.token_urlsafe(16), self.limits
        stored = Stored(key, name, self.folder / key, size, room, time.monotonic())
        with self._lock:
            total = room + sum(each.bytes for each in self._files.values())
            if total > limits.stored_bytes or len(self._files) >= limits.stored_files:
                most = f"{limits.stored_bytes >> 20} MB and {limits.stored_files} files"
                raise RefusedError(f"the server keeps {most} at most; remove some images", 507)
            self._files[key] = stored  # its room is taken
        try:
            write(stored.file)
        except OSError as error:
            self.remove(key)
            raise RefusedError(f"the server can't keep it: {error.strerror}", 507) from error
        return stored

    def remove(self, key: str) -> None:
        """Delete a file, if it is there."""
        with self._lock:
            stored = self._files.pop(key, None)
        if stored:
            stored.file.unlink(missing_ok=True)

    def _expire(self) -> None:
        while True:
            time.sleep(60)
            self.expire()

    def expire(self) -> None:
        """Delete what hasn't been asked for in a while."""
        for stored in list(self._files.values()):
            if stored.used < time.monotonic() - self.limits.seconds:
                self.remove(stored.id)


def plain(name: str) -> str:
    """Return a client's name for a file as a name and nothing else."""
    last = _HIDDEN.sub("", re.split(r"[/\\]", name)[-1]).strip(" .")
    stem, dot, suffix = last.rpartition(".")
    return f"{stem[:120]}{dot}{suffix[:10]}" if stem else last[:120] or "image"
