"""Many pictures: read ahead, computed together where they are small, written behind."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from srkit.batch.jobs import Job, plan
from srkit.batch.manifest import Manifest, key_of, sweep
from srkit.batch.share import Share
from srkit.batch.work import Result, Work
from srkit.errors import InputError, Interrupted
from srkit.imaging import codec
from srkit.imaging.codec import Picture

__all__ = ["Event", "Job", "Share", "Totals", "Work", "peek", "plan", "run"]

READERS, WRITERS = 2, 2
AHEAD = 64  # pictures read before they are needed, at most
AHEAD_PIXELS = 32_000_000  # the same in pixels; one picture may be larger
BEHIND_BYTES = 1 << 29  # of results that wait to be written


@dataclass(frozen=True)
class Event:
    """What became of one picture.

    Attributes:
        kind: ``done``, ``skipped`` or ``failed``.
        job: Which.
        files: Written.
        error: One line, where it failed.
        result: What was made of it, without its pixels.
        seconds: Of computing it.
    """

    kind: str
    job: Job
    files: tuple[Path, ...] = ()
    error: str = ""
    result: Result | None = None
    seconds: float = 0.0


@dataclass
class Totals:
    """How many pictures were done, skipped, failed."""

    done: int = 0
    skipped: int = 0
    failed: int = 0


@dataclass
class _Read:
    """A picture on its way to the network."""

    job: Job
    size: tuple[int, int] | None
    picture: Picture | None = None
    sha256: str = ""
    error: str = ""

    @property
    def pixels(self) -> int:
        return self.size[0] * self.size[1] if self.size else 0


@dataclass
class _Written:
    """A result on its way to the disk."""

    read: _Read
    result: Result
    seconds: float
    future: Future[tuple[list[Path], list[str]]]
    bytes: int = field(default=0)


def peek(file: Path) -> tuple[int, int] | None:
    """Return a picture's width and height without decoding it; None where its header is broken."""
    try:
        return codec.size_of(file)
    except InputError:  # reading it will say what is wrong
        return None


def run(
    jobs: Sequence[Job],
    work: Work,
    *,
    share: Share | None = None,
    skip_existing: bool = False,
    keep_manifest: bool = True,
    tell: Callable[[Event], None] = lambda event: None,
    progress: Callable[[int], None] = lambda pixels: None,
) -> Totals:
    """Do a batch; one picture that fails leaves the others alone.

    Reading and writing go on in threads while the network computes. At no time are more than
    `AHEAD_PIXELS` of input waiting, nor more than `BEHIND_BYTES` of results, or one.

    Args:
        jobs: From `plan`; all of them, also where only a share is done.
        work: What is done to each.
        share: The part that is this process's.
        skip_existing: Leave out what the manifests say is done.
        keep_manifest: Note what is done, where jobs have a root.
        tell: Called with what became of each picture, about in the order of the jobs.
        progress: Told how many LR pixels have been done since it was last told.

    Raises:
        InputError: A manifest can't be read or written.
        Interrupted: SIGINT; what has been written stays.
    """
    share = share or Share()
    its = [job for number, job in enumerate(jobs) if number in share]
    books = _books(its, work, share, skip_existing) if keep_manifest or skip_existing else {}
    totals = Totals()
    batch = _Batch(work, books, tell, progress, totals)
    try:
        with (
            ThreadPoolExecutor(READERS) as readers,
            ThreadPoolExecutor(WRITERS) as batch.writers,
        ):
            try:
                left = batch.left_of(its, skip_existing)
                for group in _grouped(_read_ahead(left, work, readers), work):
                    batch.compute(group)
                batch.finish(0)
            except BaseException:
                readers.shutdown(cancel_futures=True)
                raise
    except KeyboardInterrupt:
        raise Interrupted(
            f"stopped with {totals.done + totals.skipped} of {len(its)} pictures done; "
            "the same command with --skip-existing goes on from there"
        ) from None
    return totals


def _books(
    jobs: Iterable[Job], work: Work, share: Share, skip_existing: bool
) -> dict[Path, Manifest]:
    """Open the manifest of every folder of results."""
    key = key_of(work.made_by())
    roots = {root for job in jobs if (root := _root(job, skip_existing)) is not None}
    if share.count == 1:  # else it might be another process's file that is being written
        for root in roots:
            sweep(root)
    return {root: Manifest(root, key, share) for root in roots}


def _root(job: Job, skip_existing: bool) -> Path | None:
    """Return where a job is noted; beside a lone picture only where somebody will ask."""
    return job.root or (job.output.parent if skip_existing else None)


@dataclass
class _Batch:
    """The moving parts of a run."""

    work: Work
    books: dict[Path, Manifest]
    tell: Callable[[Event], None]
    progress: Callable[[int], None]
    totals: Totals
    writers: ThreadPoolExecutor = field(init=False)
    waiting: deque[_Written] = field(default_factory=deque)

    def _book(self, job: Job) -> Manifest | None:
        return self.books.get(job.root or job.output.parent)

    def left_of(self, jobs: Iterable[Job], skip_existing: bool) -> Iterator[Job]:
        """Yield what is left to do."""
        for job in jobs:
            book = self._book(job) if skip_existing else None
            if book and book.has(job):
                self.totals.skipped += 1
                size = peek(job.input)
                self.progress(size[0] * size[1] if size else 0)
                self.tell(Event("skipped", job))
            else:
                yield job

    def compute(self, group: list[_Read]) -> None:
        """Compute pictures of one size and hand them on; or tell why one couldn't be read."""
        first = group[0]
        if first.picture is None:
            return self._failed(first, first.error)
        started = time.perf_counter()
        try:
            results = self.work.do([r.picture for r in group if r.picture], self.progress)
        except InputError as error:
            if len(group) > 1:  # one of them is the reason: find it
                for read in group:
                    self.compute([read])
                return None
            return self._failed(first, f"{first.job.input}: {error}")
        seconds = (time.perf_counter() - started) / len(group)
        for read, result in zip(group, results, strict=True):
            read.picture = None
            size = sum(p.pixels.nbytes for p in result.pictures)
            self.finish(max(0, BEHIND_BYTES - size))
            future = self.writers.submit(self._write, read, result)
            self.waiting.append(_Written(read, result, seconds, future, size))
        while self.waiting and self.waiting[0].future.done():
            self._tell(self.waiting.popleft())
        return None

    def _write(self, read: _Read, result: Result) -> tuple[list[Path], list[str]]:
        try:
            files, lost = self.work.write(result, read.job.output)
            if book := self._book(read.job):
                book.add(read.job, files, read.sha256)
            return files, lost
        except OSError as error:
            raise InputError(f"can't write {read.job.output}: {error}") from error

    def finish(self, most: int) -> None:
        """Wait until no more than so many bytes of results are left to be written."""
        while self.waiting and (most == 0 or sum(w.bytes for w in self.waiting) > most):
            self._tell(self.waiting.popleft())

    def _tell(self, written: _Written) -> None:
        try:
            files, lost = written.future.result()
        except InputError as error:
            return self._failed(written.read, str(error), computed=True)
        self.totals.done += 1
        about = replace(written.result, pictures=(), notes=(*written.result.notes, *lost))
        self.tell(
            Event("done", written.read.job, tuple(files), result=about, seconds=written.seconds)
        )
        return None

    def _failed(self, read: _Read, why: str, *, computed: bool = False) -> None:
        if not computed:
            self.finish(0)
            self.progress(read.pixels)
        self.totals.failed += 1
        self.tell(Event("failed", read.job, error=" ".join(why.split())))


def _read(read: _Read, work: Work) -> _Read:
    try:
        if read.size:
            work.check(read.job.output, read.size)
        encoded = read.job.input.read_bytes()
        read.picture = codec.read(read.job.input, encoded)
        read.size = read.picture.size
        read.sha256 = hashlib.sha256(encoded).hexdigest()
    except InputError as error:
        read.error = str(error)
    except OSError as error:
        read.error = f"{read.job.input}: can't be read ({error.strerror or error})"
    return read


def _read_ahead(jobs: Iterator[Job], work: Work, readers: ThreadPoolExecutor) -> Iterator[_Read]:
    """Yield pictures in order, some of the next already being decoded."""
    ahead: deque[tuple[int, Future[_Read]]] = deque()
    more = True
    while True:
        while more and len(ahead) < AHEAD and sum(n for n, _ in ahead) < AHEAD_PIXELS:
            job = next(jobs, None)
            if job is None:
                more = False
                break
            read = _Read(job, peek(job.input))
            ahead.append((read.pixels, readers.submit(_read, read, work)))
        if not ahead:
            return
        yield ahead.popleft()[1].result()


def _grouped(reads: Iterator[_Read], work: Work) -> Iterator[list[_Read]]:
    """Yield neighbours of one size together, as many as are best computed at once."""
    group: list[_Read] = []
    for read in reads:
        if group and not _alike(group[0], read):
            yield group
            group = []
        group.append(read)
        if read.picture is None or len(group) >= work.at_once(read.picture.size):
            yield group
            group = []
    if group:
        yield group


def _alike(one: _Read, other: _Read) -> bool:
    a, b = one.picture, other.picture
    return a is not None and b is not None and (a.size, a.pixels.dtype) == (b.size, b.pixels.dtype)
