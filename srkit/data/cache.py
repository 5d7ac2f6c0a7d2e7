"""Pictures decoded once, in parallel, and kept in a file for the next run.

The file holds the rows of a `Layout` one after another, then what was found out about the
pictures (which are broken, digests of the pixels) as JSON, its SHA-256, its length and a magic
word. It is written atomically, and read only if everything in it agrees.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Literal

import filelock
import numpy as np
import PIL
import platformdirs
import torch
from PIL import features
from torch import Tensor

from srkit.data.decoding import MOST_BROKEN, Progress, Survey, TooManyBrokenError, survey_of
from srkit.data.sources import Layout, Source
from srkit.errors import InputError
from srkit.files import atomic

FORMAT = "srkit decoded 1"
MAGIC = b"srkitpix"
TAIL = struct.Struct("<32sQ8s")  # SHA-256 of the JSON, its length in bytes, magic
SLOW = 2.0  # seconds; a set that decodes faster isn't worth a file in the user's cache
ABANDONED = 24 * 3600  # seconds in which nobody wrote to an unfinished file: its run was killed

Keep = Literal["memory", "mapped", "nothing"]


@dataclass
class Decoded:
    """A source's pictures and what is known of them.

    Attributes:
        pixels: uint8, rows x `Layout.bytes`, in memory or mapped; None if only surveyed.
        notes: What the user should hear.
    """

    survey: Survey
    pixels: Tensor | None
    notes: list[str] = field(default_factory=list)


def default_folder() -> Path:
    """Return where decoded pictures are kept: ``SRKIT_CACHE``, or the platform's cache folder."""
    chosen = os.environ.get("SRKIT_CACHE")
    return Path(chosen) if chosen else platformdirs.user_cache_path("srkit") / "decoded"


def file_for(source: Source, folder: Path, suffix: str = ".pixels") -> Path | None:
    """Return the cache file of a source, whether or not it is there; None if it can have none."""
    lines = source.identity()
    if lines is None:
        return None
    versions = f"{FORMAT}, Pillow {PIL.__version__}, {features.version_feature('libjpeg_turbo')}"
    text = "\n".join([versions, type(source).__name__, *lines])
    return folder / (
        hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32] + suffix
    )


def obtain(
    source: Source,
    keep: Keep,
    folder: Path | None,
    *,
    always: bool = True,
    together: bool = False,
    progress: Progress = lambda done, total: None,
) -> Decoded:
    """Return a source's pictures from the cache, or decode them and keep them there.

    Args:
        source: Not empty.
        keep: Return them in ``memory``, or as a file ``mapped`` into it, or ``nothing`` but what
            was found out about them.
        folder: Of the cache; None for none, which ``mapped`` can't do without.
        always: Cache even what decodes in less than `SLOW` seconds.
        together: Other processes ask for the same: one decodes, the others wait.
        progress: Called with the pictures done and their number.

    Raises:
        InputError: More than a tenth of the pictures are broken (`TooManyBrokenError`), or they
            are changing.
        OSError: The file can't be written, and ``mapped`` needs it.
    """
    suffix = ".survey" if keep == "nothing" else ".pixels"
    file = file_for(source, folder, suffix) if folder else None
    if file is None:
        if keep == "mapped":
            raise OSError("there is no cache for it")
        return _decode(source, keep, progress)
    with _turn(file, together):
        if found := _read(file, source.layout, keep):
            return _passed(found, source)
        _sweep(file.parent)
        if keep == "mapped":
            with atomic(file) as temporary, temporary.open("wb") as out:
                survey = survey_of(source, lambda rows: out.write(rows.data), progress)
                _passed(Decoded(survey, None), source)
                _finish(out, survey)
            return Decoded(survey, _map(file, survey, source.layout))
        started = time.perf_counter()
        made = _decode(source, keep, progress)
        if always or time.perf_counter() - started > SLOW:
            try:
                with atomic(file) as temporary, temporary.open("wb") as out:
                    if made.pixels is not None:
                        out.write(made.pixels.numpy().data)
                    _finish(out, made.survey)
            except OSError as error:
                why = error.strerror or error
                made.notes.append(f"can't keep decoded pictures in {folder}: {why}")
        return made


@contextmanager
def _turn(file: Path, together: bool) -> Iterator[None]:
    lock = filelock.FileLock(file.with_suffix(".lock"))
    if together:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except (OSError, NotImplementedError):
            pass  # a disk that can't be written or knows no locks: each process decodes
    try:
        yield
    finally:
        lock.release()
        if together:
            # Whoever waits for it tries a new one; at worst two decode, and write the same.
            with suppress(OSError):
                Path(lock.lock_file).unlink()


def _sweep(folder: Path) -> None:
    """Delete what runs that were killed had begun to write, gigabytes maybe."""
    with suppress(OSError):
        for file in folder.glob(f".{'[0-9a-f]' * 32}.*.part"):
            if file.stat().st_mtime < time.time() - ABANDONED:
                file.unlink()


def _decode(source: Source, keep: Keep, progress: Progress) -> Decoded:
    if keep == "nothing":
        return _passed(Decoded(survey_of(source, None, progress), None), source)
    # Room for all; what broken ones leave of it is never touched, and so takes up no memory.
    room = torch.empty(
        source.expected // source.layout.bytes, source.layout.bytes, dtype=torch.uint8
    )
    filled = 0

    def put(rows: np.ndarray) -> None:
        nonlocal filled
        end = filled + len(rows)
        if end > len(room):
            raise InputError("pictures were changed while they were decoded; start again")
        room[filled:end] = torch.from_numpy(rows)
        filled = end

    survey = survey_of(source, put, progress)
    return _passed(Decoded(survey, room[:filled]), source)


def _passed(decoded: Decoded, source: Source) -> Decoded:
    survey = decoded.survey
    if len(survey.reasons) > MOST_BROKEN * len(source) or not any(survey.parts):
        raise TooManyBrokenError(survey.broken(source), len(source))
    return decoded


def _finish(out: IO[bytes], survey: Survey) -> None:
    text = json.dumps(asdict(survey)).encode()
    out.write(text)
    out.write(TAIL.pack(hashlib.sha256(text).digest(), len(text), MAGIC))


def _read(file: Path, layout: Layout, keep: Keep) -> Decoded | None:
    """Return what a cache file holds; None if it isn't there, or isn't whole."""
    try:
        with file.open("rb") as handle:
            size = handle.seek(0, os.SEEK_END)
            handle.seek(-TAIL.size, os.SEEK_END)
            digest, length, magic = TAIL.unpack(handle.read())
            handle.seek(-TAIL.size - length, os.SEEK_END)
            text = handle.read(length)
            if magic != MAGIC or hashlib.sha256(text).digest() != digest:
                return None
            values = json.loads(text)
            values["reasons"] = {int(number): why for number, why in values["reasons"].items()}
            survey = Survey(**values)
            if keep == "nothing":
                return Decoded(survey, None)
            rows = sum(survey.parts)
            if size != rows * layout.bytes + length + TAIL.size:
                return None
            if keep == "mapped":
                pixels = _map(file, survey, layout)
            else:
                pixels = torch.empty(rows, layout.bytes, dtype=torch.uint8)
                handle.seek(0)
                handle.readinto(pixels.numpy().data)
    except (OSError, ValueError, TypeError, struct.error):
        return None
    if hashlib.sha256(pixels.numpy().data).hexdigest() != survey.whole:
        return None
    return Decoded(survey, pixels)


def _map(file: Path, survey: Survey, layout: Layout) -> Tensor:
    shape = (sum(survey.parts), layout.bytes)
    with warnings.catch_warnings():
        # Nothing writes to it; a writable private mapping would count as memory that is needed.
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(np.memmap(file, dtype=np.uint8, mode="r", shape=shape))
