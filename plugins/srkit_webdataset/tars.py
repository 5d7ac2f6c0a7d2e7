"""The samples of one tar archive."""

from __future__ import annotations

import re
import tarfile
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import count, islice
from pathlib import Path
from typing import Any

import webdataset
import webdataset.tariterators

from srkit import InputError

TRIES = 3  # times to open a shard that isn't a local file
SUFFIXES = ("avif", "bmp", "heic", "heif", "jpeg", "jpg", "png", "tif", "tiff", "webp")
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
    where = Path(url).absolute().as_uri() if is_local(url) else url
    done = 0
    for attempt in count(1):
        stream: Any = None
        try:
            stream = webdataset.gopen(where, "rb")
            files = webdataset.tariterators.tar_file_expander([{"url": url, "stream": stream}])
            for sample in islice(webdataset.tariterators.group_by_keys(files), done, None):
                yield f"{label}/{sample['__key__']}", _image(sample)
                done += 1
            while stream.read(1 << 16):  # a command ends well only if all it says is read
                pass
            stream.close()  # raises if the command failed
            return
        except (OSError, ValueError, EOFError, tarfile.TarError) as error:
            if attempt == TRIES or is_local(url):
                raise InputError(f"can't read shard {url}: {_reason(error)}") from error
            time.sleep(attempt)
        finally:
            if stream is not None:
                with suppress(OSError):
                    stream.close()


def _reason(error: Exception) -> str:
    """Return what webdataset's error says, without the objects that it adds."""
    if isinstance(error, OSError) and error.strerror:  # the file's, or that curl isn't here
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    text = str(error.args[0]) if error.args else type(error).__name__
    if status := re.search(r"\bexit (-?\d+) ", text):
        return f"the command that reads it ended with status {status[1]}"
    return text.split(" @ ")[0]


def _image(sample: dict[str, Any]) -> bytes | None:
    """Return the field that is an image: the only one, or one with a suffix and nothing else.

    webdataset takes a file's name up to its first dot as its sample's: ``a.1.png`` and ``a.2.png``
    are one sample, of which neither is the image; the user must hear of it.
    """
    names = sorted(name for name in sample if name.rpartition(".")[2] in SUFFIXES)
    plain = [name for name in names if "." not in name]
    return bytes(sample[(plain or names)[0]]) if plain or len(names) == 1 else None
