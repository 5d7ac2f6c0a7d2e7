"""What a data set consists of: its shards, their results' names, and which are done."""

from __future__ import annotations

import glob
import hashlib
import itertools
import math
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from typing_extensions import TypedDict

from srkit.errors import InputError
from srkit.files import real
from srkit.foreign import parse
from srkit.imaging import codec

SETTINGS = "dataset.json"
FORMAT = 2  # of the folder of results
KINDS = {"tar": (".tar", ".tar.gz", ".tgz"), "parquet": (".parquet",)}
LAST_LINE = 1 << 16  # bytes of a manifest's end that hold its last line


@dataclass(frozen=True)
class Shard:
    """A part of a data set that is done as a whole."""

    name: str  # of its result below the folder of results, without a suffix
    source: str  # the archive or Parquet file; the folder of ``files``
    state: str  # changes with the source
    files: tuple[tuple[str, str], ...] = ()  # below ``source``, and keys; empty for an archive


@dataclass(frozen=True)
class Plan:
    """All shards of a data set of a kind, ``folder``, ``tar`` or ``parquet``."""

    kind: str
    shards: tuple[Shard, ...]
    identity: str = ""

    def settings(self, written: str) -> dict[str, str]:
        """Return what must not change from one run to the next, beside `Upscaler.key`."""
        return {"kind": self.kind, "images": self.identity, "written as": written}


class Summary(TypedDict):
    """The last line of a shard's manifest; ``input`` is its `Shard.state`."""

    shard: str
    bytes: int
    sha256: str
    images: int
    failed: int
    input: str


def plan(source: str, out: Path, shard_size: int) -> Plan:
    """Find the shards of a folder of images, tar archives or Parquet files, or of a pattern.

    ``out`` is left out; a folder of images is divided into shards of at most ``shard_size``.
    InputError: there is nothing, or there are several kinds of it, or two results would meet.
    """
    if Path(source).is_dir():
        base, files = Path(source), _archives(Path(source))
    else:
        # Hidden files stay out, as everywhere.
        files = sorted(Path(name) for name in glob.glob(source, recursive=True))  # noqa: PTH207
        base = Path(os.path.commonpath([file.parent for file in files])) if files else Path()
    results = real(out)
    files = [file for file in files if results not in real(file).parents]
    kinds = {kind_of(file) for file in files}
    images: list[str] = []
    if files and Path(source).is_dir():
        with suppress(InputError):  # there are none
            images = _images(base, out)
    if len(kinds) > 1 or None in kinds or images:
        raise InputError(f"{source}: images, archives and Parquet are mixed; choose by a pattern")
    if files:
        return Plan(str(kinds.pop()), _of_archives(base, files))
    if not Path(source).is_dir():
        raise InputError(f"{source}: no such folder, tar archive or Parquet file")
    return _of_images(base, _images(base, out), shard_size)


def kind_of(file: Path) -> str | None:
    """Return which kind of archive a file is, by its name."""
    kinds = (kind for kind, suffixes in KINDS.items() if file.name.lower().endswith(suffixes))
    return next(kinds, None)


def _archives(folder: Path) -> list[Path]:
    files = (p for p in sorted(folder.rglob("*")) if kind_of(p) and p.is_file())
    return [p for p in files if not any(x.startswith(".") for x in p.relative_to(folder).parts)]


def _of_archives(base: Path, files: Sequence[Path]) -> tuple[Shard, ...]:
    shards: dict[str, Shard] = {}
    for file in files:
        name = file.relative_to(base).as_posix()
        suffix = next(s for each in KINDS.values() for s in each if name.lower().endswith(s))
        name = name[: -len(suffix)]
        state = file.stat()
        if other := shards.get(name.casefold()):
            raise InputError(f"{other.source} and {file} would both become {name}; rename one")
        described = f"{state.st_size} bytes, {state.st_mtime_ns} ns"
        shards[name.casefold()] = Shard(name, str(file.absolute()), described)
    return tuple(shards.values())


def _images(folder: Path, out: Path) -> list[str]:
    """Return paths of the images below a folder, but for those in another."""
    inside = f"{out.absolute()}{os.sep}"
    listed = (file for file in codec.listed(folder) if not str(file.absolute()).startswith(inside))
    return [file.relative_to(folder).as_posix() for file in listed]


def _of_images(folder: Path, names: list[str], shard_size: int) -> Plan:
    if not names:
        raise InputError(f"{folder}: no images in it but results")
    pairs = list(zip(names, keys(names), strict=True))
    count = math.ceil(len(names) / shard_size)
    shards = []
    for number in range(count):  # of equal size: no worker waits for another's last images
        own = pairs[number * len(pairs) // count : (number + 1) * len(pairs) // count]
        state = names_sha256(name for name, _ in own)
        name = f"shard-{number:06d}"
        shards.append(Shard(name, str(folder.absolute()), state, tuple(own)))
    return Plan("folder", tuple(shards), names_sha256(names))


def names_sha256(names: Iterable[str]) -> str:
    """Return a SHA-256 of names."""
    total = hashlib.sha256()
    for name in names:  # of millions
        total.update(os.fsencode(name) + b"\0")
    return total.hexdigest()


def keys(names: Sequence[str]) -> list[str]:
    """Return a sample's key for each image: its path without the suffix, unlike all others.

    WebDataset ends a key at the first dot of a file's name, so that others become ``_``. Where two
    would be the same, even but for case, the suffix is added, and then a number.
    """
    taken: set[str] = set()
    result = []
    for name in names:
        path = PurePosixPath(name)
        plain = str(path.with_name(path.stem.replace(".", "_")))
        full = f"{plain}-{path.suffix[1:]}"
        more = (f"{full}-{number}" for number in itertools.count(2))
        known = itertools.chain([plain, full], more)
        result.append(next(key for key in known if key.casefold() not in taken))
        taken.add(result[-1].casefold())
    return result


def summary(out: Path, shard: Shard, suffix: str) -> Summary | None:
    """Return the end of a shard's manifest, if it is done and its input is as it was."""
    manifest, result = (out / f"{shard.name}{each}" for each in (".jsonl", suffix))
    try:
        with manifest.open("rb") as handle:
            handle.seek(max(0, manifest.stat().st_size - LAST_LINE))
            last = handle.read().decode().splitlines()[-1]
        line = parse(last, Summary, "JSON", str(manifest))
        whole = (line["bytes"], line["input"]) == (result.stat().st_size, shard.state)
    except (InputError, OSError, ValueError, IndexError):  # none, or none of ours
        return None
    return line if whole else None
