"""Many images: read ahead, computed together where they are small, written behind."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import groupby, islice
from pathlib import Path
from typing import TypeVar

import numpy as np

from srkit.batch.jobs import FOLDER, Job, Shard
from srkit.batch.ledger import Ledger
from srkit.batch.work import Result, Work
from srkit.errors import InputError, Interrupted, one_line, refused
from srkit.files import real, sweep
from srkit.imaging import codec, formats
from srkit.imaging.codec import DecodedImage
from srkit.inference.model import Progress
from srkit.readahead import read_ahead

T = TypeVar("T")

READERS, WRITERS = 2, 2
AHEAD_PIXELS = 32_000_000  # of images that wait; what is being read comes on top
LEAST_COST = AHEAD_PIXELS // 64  # pixels that a smaller image counts as
BEHIND_BYTES = 1 << 29  # of results that wait to be written


@dataclass(frozen=True)
class Event:
    """The outcome of one image."""

    kind: str  # done, skipped or failed
    job: Job
    files: tuple[Path, ...] = ()  # that were written
    encoded: bytes = b""  # the result's file where it stays in memory
    error: str = ""  # one line, where it failed
    result: Result | None = None  # without its pixels, where it is done
    seconds: float = 0.0  # of computing it


Output = tuple[list[Path], bytes, list[str]]  # files, or one in memory; notes


@dataclass(frozen=True)
class Read:
    """An image on its way to the network; without an image it was skipped, or has an error."""

    job: Job
    sha256: str = ""
    image: DecodedImage | None = None
    error: str = ""

    @property
    def cost(self) -> int:
        """Share of what may wait."""
        pixels = self.image.size[0] * self.image.size[1] if self.image else 0
        return max(LEAST_COST, pixels)


@dataclass(frozen=True)
class _Written:
    """A result on its way to the disk."""

    job: Job
    result: Result
    seconds: float
    bytes: int
    future: Future[Output]


def run(
    jobs: Sequence[Job],
    work: Work,
    *,
    shard: Shard | None = None,
    skip_existing: bool = False,
    on_event: Callable[[Event], None] = lambda event: None,
    progress: Progress = lambda images: None,
) -> Counter[str]:
    """Do a batch; one image that fails leaves the others alone.

    Reading and writing go on in threads while the network computes.

    Args:
        jobs: From `plan`; all of them, also where only a shard is done.
        work: What is done to each.
        shard: The part that is this process's.
        skip_existing: Leave out what the ledgers say is done.
        on_event: Called with the outcome of each image, about in the order of the jobs.
        progress: Called with the number of images done since it was last called, in fractions.

    Returns:
        How many events there were of each kind.

    Raises:
        InputError: A ledger can't be read or written.
        Interrupted: SIGINT; what has been written stays.
    """
    shard = shard or Shard()
    own = [job for number, job in enumerate(jobs) if number in shard]
    # Beside a lone image there is no ledger, unless it will be read.
    roots = {
        job.root or job.output.parent
        for job in own
        if job.root or (skip_existing and not job.piped)
    }
    if shard.count == 1:  # else it might be another process's file that is being written
        for root in roots:
            if (root / FOLDER).is_dir():
                sweep(root, below=True)
    process = f"{shard.index + 1}-of-{shard.count}"
    files = _Files(
        work,
        {root: Ledger(root, FOLDER, process) for root in roots},
        {real(file) for job in jobs for file in (job.input, job.output)},
        skip_existing,
    )
    totals: Counter[str] = Counter()
    try:
        with closing(events(own, work, files.read, files.write, progress)) as outcomes:
            for event in outcomes:
                totals[event.kind] += 1
                on_event(event)
    except KeyboardInterrupt:
        done = totals["done"] + totals["skipped"]
        raise Interrupted(
            f"stopped with {done} of {len(own)} images done; "
            "the same command with --skip-existing goes on from there"
        ) from None
    return totals


def events(
    items: Iterable[T],
    work: Work,
    read: Callable[[T], Read],
    write: Callable[[Job, str, Result], Output],
    progress: Progress = lambda images: None,
) -> Generator[Event]:
    """Yield the outcome of each image, about in order; reading and writing go on in threads."""
    with ThreadPoolExecutor(WRITERS) as writers:
        batch = _Batch(work, write, progress, writers)
        reads = read_ahead(
            read, items, threads=READERS, ahead=AHEAD_PIXELS, cost=lambda read: read.cost
        )
        with closing(reads):
            for group in _grouped(reads, work):
                yield from batch.take(group)
            yield from batch.finish()


def _grouped(reads: Iterator[Read], work: Work) -> Iterator[list[Read]]:
    """Yield neighbours of one size together, as many as are best computed at once."""
    for kind, alike in groupby(reads, _kind):
        most = work.batch_size(kind[0]) if kind else 1
        while group := list(islice(alike, most)):
            yield group


def _kind(read: Read) -> tuple[tuple[int, int], np.dtype] | None:
    return (read.image.size, read.image.pixels.dtype) if read.image else None


@dataclass
class _Files:
    """Reads and writes the images of a run, and its ledgers."""

    work: Work
    ledgers: dict[Path, Ledger]
    taken: set[Path]
    skip_existing: bool

    def __post_init__(self) -> None:
        text = json.dumps(self.work.key(), sort_keys=True)
        self.key = hashlib.sha256(text.encode()).hexdigest()[:16]

    def _ledger(self, job: Job) -> Ledger | None:
        return self.ledgers.get(job.root or job.output.parent)

    def read(self, job: Job) -> Read:
        """Read an image, unless it was done before."""
        try:
            encoded = job.input.read_bytes() if job.encoded is None else job.encoded
            sha256 = hashlib.sha256(encoded).hexdigest()
            if self.skip_existing and self._is_done(job, sha256):
                return Read(job)
            image = codec.read(job.input, encoded)
            if not self.work.faces_only:  # else its faces' sizes are known later
                check = formats.require_encodable if job.piped else formats.require_writable
                check(job.output, self.work.model.size(image.size, self.work.settings))
            return Read(job, sha256, image)
        except InputError as error:
            return Read(job, error=str(error))
        except OSError as error:
            return Read(job, error=f"{job.input}: can't be read ({one_line(error)})")

    def _is_done(self, job: Job, sha256: str) -> bool:
        ledger = self._ledger(job)
        name = ledger.name(job.output) if ledger else ""
        row = ledger.find(name) if ledger else None
        if row is None or (row.get("input_sha256"), row.get("key")) != (sha256, self.key):
            return False
        # A photo without a face is done without a file.
        return self.work.faces_only or name in [file for file, *_ in row["files"]]

    def write(self, job: Job, sha256: str, result: Result) -> Output:
        """Write a result, and note it."""
        if job.piped:
            if len(result.images) > 1:
                raise InputError("several faces are several images; name a folder by --out")
            encoded = codec.encode(result.images[0], job.output, origin=self.work.origin())
            return [Path("-")], *encoded
        with refused(f"can't write {job.output}"):
            files, lost = self.work.write(result, job.output, self.taken)
            if self.work.keep_time and job.encoded is None:
                state = job.input.stat()
                for file in files:
                    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
        if ledger := self._ledger(job):
            name, image = ledger.name(job.output), str(job.input)
            ledger.add(name, files, input=image, input_sha256=sha256, key=self.key)
        return files, b"", lost


@dataclass
class _Batch:
    """The moving parts between reading and writing."""

    work: Work
    write: Callable[[Job, str, Result], Output]
    progress: Progress
    writers: ThreadPoolExecutor
    waiting: deque[_Written] = field(default_factory=deque)

    def take(self, group: list[Read]) -> Iterator[Event]:
        """Compute images of one size and hand them on; or report why one isn't computed."""
        first = group[0]
        if first.error:
            yield from self._failed(first.job, first.error)
            return
        if first.image is None:
            self.progress(1)
            yield Event("skipped", first.job)
            return
        started = time.perf_counter()
        try:
            results = self.work.do([read.image for read in group if read.image], self.progress)
        except InputError as error:
            if len(group) == 1:
                yield from self._failed(first.job, f"{first.job.input}: {error}")
                return
            for read in group:  # one of them is the reason: find it
                yield from self.take([read])
            return
        seconds = (time.perf_counter() - started) / len(group)
        for read, result in zip(group, results, strict=True):
            size = sum(image.pixels.nbytes for image in result.images)
            yield from self.finish(max(0, BEHIND_BYTES - size))
            future = self.writers.submit(self.write, read.job, read.sha256, result)
            self.waiting.append(_Written(read.job, result, seconds, size, future))
        while self.waiting and self.waiting[0].future.done():
            yield self._end(self.waiting.popleft())

    def finish(self, most: int = 0) -> Iterator[Event]:
        """Wait until at most this many bytes of results are left to be written."""
        while self.waiting and (most == 0 or sum(each.bytes for each in self.waiting) > most):
            yield self._end(self.waiting.popleft())

    def _end(self, written: _Written) -> Event:
        try:
            files, encoded, lost = written.future.result()
        except InputError as error:
            return Event("failed", written.job, error=one_line(error))
        notes = (*written.result.notes, *lost)
        result = replace(written.result, images=(), notes=notes)
        seconds = written.seconds
        return Event("done", written.job, tuple(files), encoded, result=result, seconds=seconds)

    def _failed(self, job: Job, error: str) -> Iterator[Event]:
        yield from self.finish()
        self.progress(1)
        yield Event("failed", job, error=one_line(error))
