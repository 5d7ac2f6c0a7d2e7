"""The samples of one tar archive."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import tarfile
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from itertools import count, groupby, islice
from pathlib import Path
from typing import Any

import webdataset
import webdataset.tariterators
from webdataset.gopen import Pipe

from srkit import InputError
from srkit.imaging import codec

TRIES = 3  # times to open a shard that isn't a local file
LARGEST = 1 << 28  # bytes of an image in a shard
LONGEST = 1 << 22  # bytes of what stands before a file: its name and the like
MOST_TIMES, LEAST = 50, 1 << 28  # a shard unpacks to MOST_TIMES its bytes at most, or to LEAST
# Of curl: seconds to connect; bytes a second, for how many seconds, that are too few.
_CURL = ("curl", "--connect-timeout", "20", "--speed-limit", "10000", "--speed-time", "20")
_UNPACKERS: dict[bytes, Any] = {
    b"\x1f\x8b": lambda stream: gzip.GzipFile(fileobj=stream),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lzma.LZMAFile,
}
# What a broken archive raises; headers before headers nest.
_BROKEN = (
    *(OSError, ValueError, EOFError, RecursionError),
    *(zlib.error, lzma.LZMAError, tarfile.TarError),
)
_META = re.compile(r"__[^/]*__($|/)")  # webdataset's own
_SCHEME = re.compile(r"[a-z][a-z0-9+]+:", re.IGNORECASE)  # a single letter is a drive


def is_local(url: str) -> bool:
    """Return whether a URL is the path of a file."""
    return not _SCHEME.match(url)


def read(url: str) -> Iterator[tuple[str, bytes | None]]:
    """Yield (name, encoded image) of a shard's samples; None for one without an image.

    A connection that breaks is opened again, and what was read of the shard passed over.

    Raises:
        InputError: It can't be opened, or is no tar archive.
    """
    label = url if url.startswith("pipe:") else Path(url.partition("?")[0]).name
    done = 0
    for attempt in count(1):
        stream: Any = None
        try:
            stream = _opened(url)
            for key, image in islice(_samples(stream), done, None):
                yield f"{label}/{key}", image
                done += 1
            left = LEAST
            while stream.read(1 << 16):  # a command ends well only if all it says is read
                left -= 1 << 16
                if left < 0:
                    raise tarfile.TarError("it goes on after its end")
            stream.close()  # raises if the command failed
            return
        except _BROKEN as error:
            if attempt == TRIES or is_local(url):
                raise InputError(f"can't read shard {url}: {_reason(error)}") from error
            time.sleep(attempt)
        finally:
            if stream is not None:
                with suppress(OSError):
                    stream.close()


def _opened(url: str) -> Any:
    if url.startswith(("http:", "https:")):  # webdataset would wait for ever
        return Pipe(
            [*_CURL, "-f", "-s", "-L", url], mode="rb", ignore_status=[23]
        )  # of being closed early
    return webdataset.gopen(Path(url).absolute().as_uri() if is_local(url) else url, "rb")


def _reason(error: Exception) -> str:
    """Return what webdataset's error says, without the objects that it adds."""
    if isinstance(error, OSError) and error.strerror:  # the file's, or that curl isn't here
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    text = str(error.args[0]) if error.args else type(error).__name__
    if status := re.search(r"\bexit (-?\d+) ", text):
        return f"the command that reads it ended with status {status[1]}"
    return text.split(" @ ")[0]


class _Raw(io.RawIOBase):
    """A stream of webdataset's as one of Python's own."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.done = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.stream.read(len(buffer))
        buffer[: len(data)] = data
        self.done += len(data)
        return len(data)


class _Unpacked:
    """What a tar archive unpacks to, compressed or not, within bounds.

    Attributes:
        limit: Bytes by which the next file must have begun.
    """

    def __init__(self, stream: Any) -> None:
        self.raw = _Raw(stream)
        packed = io.BufferedReader(self.raw)
        head = packed.peek(6)
        opener = next((how for magic, how in _UNPACKERS.items() if head.startswith(magic)), None)
        self.stream: Any = opener(packed) if opener else packed
        self.done, self.limit = 0, LONGEST

    def read(self, size: int) -> bytes:
        data: bytes = self.stream.read(size)
        self.done += len(data)
        if self.done > max(LEAST, MOST_TIMES * self.raw.done):
            raise tarfile.TarError(f"it unpacks to more than {MOST_TIMES} times its size")
        if self.done > self.limit:
            raise tarfile.TarError(f"more than {LONGEST >> 20} MiB stand before a file in it")
        return data


def _files(stream: Any) -> Iterator[tuple[str, str, Any]]:
    """Yield the sample, the field and the contents of each file; None for what is no image."""
    unpacked: Any = _Unpacked(stream)
    archive: Any
    with tarfile.open(fileobj=unpacked, mode="r|") as archive:
        for header in archive:
            unpacked.limit = header.offset_data + header.size + LONGEST
            key, field = webdataset.tariterators.base_plus_ext(header.name)
            if header.isreg() and key is not None and not _META.match(header.name):
                is_image = f".{field.lower().rpartition('.')[2]}" in codec.SUFFIXES
                if is_image and header.size > LARGEST:
                    size = f"{header.size / 2**20:,.0f} MiB"
                    raise tarfile.TarError(f"an image in it has {size}, more than {LARGEST >> 20}")
                contents: Any = archive.extractfile(header) if is_image else None
                yield key, field.lower(), contents and contents.read()
            archive.members = []  # there may be millions


def _samples(stream: Any) -> Iterator[tuple[str, bytes | None]]:
    """Yield each sample's name and image: the only field that is one, or one without a dot.

    A file's name is its sample's up to its first dot: ``a.1.png`` and ``a.2.png`` are one sample,
    of which neither is the image; the user must hear of it.
    """
    for key, files in groupby(_files(stream), key=lambda file: file[0]):
        plain: tuple[str, bytes] | None = None
        image, others = None, 0
        for _, field, contents in files:
            if contents is not None and "." not in field:
                if plain and plain[0] == field:
                    raise ValueError(f"{key}.{field} stands twice in it")
                plain = min(plain or (field, contents), (field, contents))
            elif contents is not None:
                image, others = contents, others + 1
        yield key, plain[1] if plain else image if others == 1 else None
