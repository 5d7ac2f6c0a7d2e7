"""Many images: read ahead, computed together where they are small, written behind."""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import count, groupby, islice
from pathlib import Path

import numpy as np

from srkit.batch.jobs import FOLDER, Job, Shard
from srkit.batch.ledger import Ledger
from srkit.batch.work import Result, Work
from srkit.errors import InputError, Interrupted, one_line, refused
from srkit.files import real, require_place, sweep
from srkit.imaging import codec, formats
from srkit.imaging.codec import DecodedImage
from srkit.inference.model import Progress
from srkit.readahead import read_ahead

READERS, WRITERS = 2, 2
AHEAD_PIXELS = 32_000_000  # of images that wait; what is being read comes on top
LEAST_COST = AHEAD_PIXELS // 64  # pixels that a smaller image counts as
BEHIND_BYTES = 1 << 29  # of results that wait to be written


@dataclass(frozen=True)
class Event:
    """One image on its way through a batch, and in the end its outcome."""

    job: Job
    sha256: str = ""  # of its file
    image: DecodedImage | None = None  # until it is computed
    error: str = ""  # one line, where it failed
    result: Result | None = None  # in the end without its pixels
    seconds: float = 0.0  # of computing it
    files: tuple[Path, ...] = ()  # that were written
    encoded: bytes = b""  # the result's file where it stays in memory

    @property
    def kind(self) -> str:
        """What became of it: ``done``, ``skipped`` or ``failed``."""
        return "failed" if self.error else "done" if self.result else "skipped"


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
    own = shard.take(jobs)
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
    files = Files(
        work,
        {root: Ledger(root, FOLDER, process) for root in roots},
        {real(file) for job in jobs for file in (job.input, job.output)},
        skip_existing,
    )
    totals: Counter[str] = Counter()
    try:
        with closing(events(own, files, progress)) as outcomes:
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


@dataclass
class Files:
    """Reads and writes images for some work, and the ledgers of what has been done.

    ``taken`` are files that a result of several images must not be written to.
    """

    work: Work
    ledgers: Mapping[Path, Ledger] = field(default_factory=dict)
    taken: Collection[Path] = ()
    skip_existing: bool = False

    @cached_property
    def _key(self) -> str:
        text = json.dumps(self.work.key(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _ledger(self, job: Job) -> Ledger | None:
        return self.ledgers.get(job.root or job.output.parent)

    def read(self, job: Job) -> Event:
        """Read an image, unless it was done before."""
        try:
            encoded = job.input.read_bytes() if job.encoded is None else job.encoded
            sha256 = hashlib.sha256(encoded).hexdigest()
            if self.skip_existing and self._is_done(job, sha256):
                return Event(job)
            image = codec.read(job.input, encoded)
            if not self.work.faces_only:  # else its faces' sizes are known later
                size = self.work.model.size(image.size, self.work.settings)
                formats.require_encodable(job.output, size)
                if not job.piped:
                    require_place(job.output)
            return Event(job, sha256, image)
        except InputError as error:
            return Event(job, error=one_line(error))
        except OSError as error:
            return Event(job, error=f"{job.input}: can't be read ({one_line(error)})")

    def _is_done(self, job: Job, sha256: str) -> bool:
        ledger = self._ledger(job)
        name = ledger.name(job.output) if ledger else ""
        row = ledger.find(name) if ledger else None
        if row is None or (row.get("input_sha256"), row.get("key")) != (sha256, self._key):
            return False
        # A photo without a face is done without a file.
        return self.work.faces_only or name in [file for file, *_ in row["files"]]

    def write(self, event: Event) -> Event:
        """Write a result, and note it; return the outcome."""
        job, result = event.job, event.result
        assert result is not None
        files, encoded, origin = [Path("-")], b"", self.work.origin()
        try:
            if not job.piped:
                files, lost = self._save(job, result.images, origin)
            elif len(result.images) > 1:
                raise InputError("several faces are several images; name a folder by --out")
            else:
                encoded, lost = codec.encode(result.images[0], job.output, origin=origin)
            if ledger := self._ledger(job):
                about = {"input_sha256": event.sha256, "key": self._key}
                ledger.add(ledger.name(job.output), files, input=str(job.input), **about)
        except InputError as error:
            return Event(job, error=one_line(error))
        result = replace(result, images=(), notes=(*result.notes, *dict.fromkeys(lost)))
        return replace(event, result=result, files=tuple(files), encoded=encoded)

    def _save(
        self, job: Job, images: Sequence[DecodedImage], origin: codec.Origin | None
    ) -> tuple[list[Path], list[str]]:
        """Write files; return them, and what they couldn't hold."""
        files, lost = [job.output], list[str]()
        if len(images) > 1:  # faces: each under a number
            numbered = (job.output.with_stem(f"{job.output.stem}-{n}") for n in count(1))
            free = (file for file in numbered if real(file) not in self.taken)
            files = list(islice(free, len(images)))
        with refused(f"can't write {job.output}"):
            for image, file in zip(images, files, strict=True):
                lost += codec.save(image, file, origin=origin)
            if self.work.keep_time and job.encoded is None:
                state = job.input.stat()
                for file in files:
                    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
        return files, lost


def events(
    jobs: Iterable[Job], files: Files, progress: Progress = lambda images: None
) -> Generator[Event]:
    """Yield the outcome of each image, about in order; reading and writing go on in threads."""
    waiting: deque[tuple[int, Future[Event]]] = deque()  # bytes of results to be written

    def written(most: float = -1) -> Iterator[Event]:
        """Yield what is written; wait until at most this many bytes are left to be."""
        while waiting and (waiting[0][1].done() or sum(size for size, _ in waiting) > most):
            yield waiting.popleft()[1].result()

    def handed_on(group: list[Event]) -> Iterator[Event]:
        for event in _computed(group, files.work, progress):
            if event.result is None:
                yield from written() if event.error else ()
                progress(1)
                yield event
                continue
            size = sum(image.pixels.nbytes for image in event.result.images)
            yield from written(BEHIND_BYTES - size)
            waiting.append((size, writers.submit(files.write, event)))
        yield from written(math.inf)

    with ThreadPoolExecutor(WRITERS) as writers:
        reads = read_ahead(files.read, jobs, threads=READERS, ahead=AHEAD_PIXELS, cost=_cost)
        with closing(reads):
            for kind, alike in groupby(reads, _computed_together):
                most = files.work.batch_size(kind[0]) if kind else 1
                while group := list(islice(alike, most)):
                    yield from handed_on(group)
            yield from written()


def _cost(event: Event) -> int:
    """Return the share of an image in what may wait."""
    return max(LEAST_COST, math.prod(event.image.size) if event.image else 0)


def _computed_together(event: Event) -> tuple[tuple[int, int], np.dtype] | None:
    """Return what images that are computed together have in common."""
    return (event.image.size, event.image.pixels.dtype) if event.image else None


def _computed(group: list[Event], work: Work, progress: Progress) -> Iterator[Event]:
    """Yield images of one size with their results, if they have one.

    Where computing them together fails, they are computed one by one, to find which is the reason.
    """
    images, started = [event.image for event in group if event.image], time.perf_counter()
    try:
        results = work.do(images, progress) if images else [None]
    except InputError as error:
        if len(group) == 1:
            text = one_line(f"{group[0].job.input}: {error}")
            yield replace(group[0], image=None, error=text)
        else:
            for event in group:
                yield from _computed([event], work, progress)
        return
    seconds = (time.perf_counter() - started) / len(group)
    for event, result in zip(group, results, strict=True):
        yield replace(event, image=None, result=result, seconds=seconds)
