"""WebDataset shards: which tar archives a pattern means, and what is in one."""

from __future__ import annotations

import glob
import re
import tarfile
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import count, islice
from pathlib import Path
from typing import Any

from srkit.errors import InputError
from srkit.imaging import codec

TRIES = 3  # times to open a shard that isn't a local file
_SCHEME = re.compile(r"[a-z][a-z0-9+]+:", re.IGNORECASE)  # a single letter is a drive


def is_pattern(name: str | Path) -> bool:
    """Return whether a source's name means shards: ``….tar``, or a URL (but not ``hf:…``)."""
    text = str(name)
    if scheme := _SCHEME.match(text):
        return scheme[0] != "hf:"
    return text.lower().endswith((".tar", ".tar.gz", ".tgz")) and not Path(text).is_dir()


def expand(pattern: str | Path) -> list[str]:
    """Return the URLs a pattern stands for: braces as in ``{000..009}``, and ``*`` in local paths.

    Raises:
        InputError: The extra is missing, or there are no such files.
    """
    shardlists = _library(pattern).shardlists
    try:
        urls = shardlists.expand_urls(str(pattern))
    except (ValueError, AssertionError) as error:  # braces; ${x} that isn't in the environment
        raise InputError(f"{pattern}: {error}") from error
    found: list[str] = []
    for url in urls:
        if not _is_local(url):
            found.append(url)
            continue
        # Path.glob knows no absolute patterns; a name may have brackets of its own.
        files = [url] if Path(url).is_file() else sorted(glob.glob(url))  # noqa: PTH207
        if not files:
            raise InputError(f"no shard at '{url}'")
        found += files
    return list(dict.fromkeys(found))


def _is_local(url: str) -> bool:
    return not _SCHEME.match(url)


def _library(pattern: str | Path) -> Any:
    try:
        import webdataset
        import webdataset.shardlists
        import webdataset.tariterators
    except ImportError as error:
        raise InputError(
            f"{pattern} needs srkit[webdataset]: pip install 'srkit[webdataset]'"
        ) from error
    return webdataset


def read(url: str) -> Iterator[tuple[str, bytes | None]]:
    """Yield (name, encoded picture) of a shard's samples; None for one without a picture.

    A connection that breaks is opened again, and what was read of the shard passed over.

    Raises:
        InputError: It can't be opened, or is no tar archive.
    """
    library = _library(url)
    label = url if url.startswith("pipe:") else Path(url.partition("?")[0]).name
    where = Path(url).absolute().as_uri() if _is_local(url) else url
    done = 0
    for attempt in count(1):
        stream: Any = None
        try:
            stream = library.gopen(where, "rb")
            files = library.tariterators.tar_file_expander([{"url": url, "stream": stream}])
            for sample in islice(library.tariterators.group_by_keys(files), done, None):
                yield f"{label}/{sample['__key__']}", _picture(sample)
                done += 1
            while stream.read(1 << 16):  # a command ends well only if all it says is read
                pass
            stream.close()  # raises if the command failed
            return
        except (OSError, ValueError, EOFError, tarfile.TarError) as error:
            if attempt == TRIES or _is_local(url):
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
    status = re.search(r"\bexit (-?\d+) ", text)
    return (
        f"the command that reads it ended with status {status[1]}"
        if status
        else (text.split(" @ ")[0])
    )


def _picture(sample: dict[str, Any]) -> bytes | None:
    """Return the field that is a picture: the only one, or one with a suffix and nothing else.

    webdataset takes a file's name up to its first dot as its sample's: ``a.1.png`` and ``a.2.png``
    are one sample, of which neither is the picture; the user must hear of it.
    """
    names = sorted(name for name in sample if f".{name.rpartition('.')[2]}" in codec.SUFFIXES)
    plain = [name for name in names if "." not in name]
    chosen: bytes | None = None
    if plain or len(names) == 1:
        chosen = sample[(plain or names)[0]]
    return chosen
