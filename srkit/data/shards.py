"""The feed of WebDataset shards: tar archives by URL, for sets that outgrow a disk.

Shards are shuffled anew each epoch and dealt out to processes and their workers; each worker reads
its own in order and shuffles samples in a buffer. All of that follows from (seed, processes,
workers), so a resumed run reads up to its place again, without decoding what it passes.
"""

from __future__ import annotations

import hashlib
import random
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from srkit import seeds
from srkit.data.decoding import MOST_BROKEN, TooManyBrokenError
from srkit.data.loader import loaded
from srkit.data.sampler import Batch, Share, flipped, noise_seeds, unit
from srkit.data.sources import Layout, framed
from srkit.data.tars import expand, read
from srkit.errors import InputError
from srkit.recipe import Data

BUFFER = 1000  # samples that a worker shuffles among each other
BUFFER_BYTES = 256 << 20  # of them, encoded; large pictures are shuffled among fewer
JUDGED = 50  # pictures after which too many broken ones end a run
HOPELESS = 100  # broken pictures one after another
_SHARDS, _SAMPLES, _KEY = 11, 12, 13  # purposes of the seed, beside those of srkit.data.sampler


class Sample(NamedTuple):
    """One encoded picture of a shard."""

    epoch: int
    name: str
    encoded: bytes | None


@dataclass(frozen=True)
class Reader:
    """What a worker needs to know to make its batches; picklable.

    Attributes:
        urls: Of all shards.
        data: Framing, size and flips.
        seed: Of the run.
        share: Which process this is.
        workers: Of each process.
        rows: Of a batch that this process takes.
    """

    urls: tuple[str, ...]
    data: Data
    seed: int
    share: Share
    workers: int
    rows: int

    def samples(self, worker: int, skip: int) -> Iterator[Sample]:
        """Yield a worker's samples, epoch after epoch, but for the first ``skip``.

        Raises:
            InputError: A shard can't be read, or there is nothing in any of them.
        """
        sizes: dict[str, int] = {}
        for epoch in count():
            urls = self._dealt(worker, epoch)
            if all(url in sizes for url in urls):  # an epoch that is over needn't be read again
                total = sum(sizes[url] for url in urls)
                # Another epoch may deal this worker shards that aren't empty.
                if not any(sizes.values()) and len(sizes) == len(self.urls):
                    raise InputError(f"no pictures in {', '.join(self.urls[:3])}")
                if total <= skip:
                    skip -= total
                    continue
            for sample in self._shuffled(urls, epoch, worker, sizes):
                if skip:
                    skip -= 1
                else:
                    yield sample

    def _random(self, *keys: int) -> random.Random:
        key = seeds.derive(torch.tensor([self.seed]), *keys)
        return random.Random(int(key))

    def _dealt(self, worker: int, epoch: int) -> list[str]:
        """Return the shards that a worker reads in an epoch, in order."""
        generator = self._random(_SHARDS, epoch)
        order = sorted(self.urls, key=lambda url: generator.random())
        return order[self.share.rank :: self.share.count][worker :: self.workers]

    def _shuffled(
        self, urls: list[str], epoch: int, worker: int, sizes: dict[str, int]
    ) -> Iterator[Sample]:
        """Yield an epoch's samples from a buffer, at random; note how many each shard has."""
        generator = self._random(_SAMPLES, epoch, self.share.rank, worker)
        buffer: list[Sample] = []
        held = 0

        def drawn() -> Sample:
            place = int(generator.random() * len(buffer))  # random() is what Python keeps as it is
            buffer[place], buffer[-1] = buffer[-1], buffer[place]
            return buffer.pop()

        for url in urls:
            size = 0
            for name, encoded in read(url):
                size += 1
                buffer.append(Sample(epoch, name, encoded))
                held += len(encoded or b"")
                while len(buffer) > BUFFER or held > BUFFER_BYTES:
                    sample = drawn()
                    held -= len(sample.encoded or b"")
                    yield sample
            sizes[url] = size
        while buffer:
            yield drawn()

    def keys(self, samples: list[Sample]) -> Tensor:
        """Return a key for each sample, from which its flip and noise follow; int64."""
        digests = [hashlib.blake2b(each.name.encode(), digest_size=8) for each in samples]
        names = torch.tensor([int.from_bytes(d.digest(), "big", signed=True) for d in digests])
        epochs = torch.tensor([sample.epoch for sample in samples])
        return seeds.derive(torch.full_like(names, self.seed), _KEY, epochs, names)


class Made(NamedTuple):
    """A batch as a worker makes it.

    Attributes:
        rows: uint8, ``b`` x `Layout.bytes`, mirrored where the seed says so.
        noise: int64, shape ``b``.
        broken: Messages for those in whose place stands another.
    """

    rows: Tensor
    noise: Tensor
    broken: list[str]


class _Batches(IterableDataset[Any]):
    """One worker's batches from batch ``start`` on; what it raises comes out as text."""

    def __init__(self, reader: Reader, start: int) -> None:
        self.reader, self.start = reader, start

    def __iter__(self) -> Iterator[Made | str]:
        info = get_worker_info()
        reader, first = self.reader, self.start + (info.id if info else 0)
        # The loader asks its workers in turn, so that batch n is worker n's, modulo their number.
        skip = first // reader.workers * reader.rows
        try:
            yield from _made(reader, reader.samples(first % reader.workers, skip))
        except InputError as error:
            yield str(error)


def _made(reader: Reader, samples: Iterator[Sample]) -> Iterator[Made]:
    """Yield batches. In a broken picture's place comes the next good one, which comes again.

    So which pictures are broken moves no other, and samples can be passed over undecoded.
    """
    ahead: deque[Sample] = deque()

    def after() -> np.ndarray:
        for place in range(HOPELESS):
            if place == len(ahead):
                ahead.append(next(samples))
            if not isinstance(found := _decoded(ahead[place], reader.data), str):
                return found
        raise InputError(f"{HOPELESS} pictures one after another are broken, last {found}")

    while True:
        batch = [ahead.popleft() if ahead else next(samples) for _ in range(reader.rows)]
        rows: list[np.ndarray] = []
        broken: list[str] = []
        for sample in reversed(batch):
            found = _decoded(sample, reader.data)
            if isinstance(found, str):
                broken.append(found)
                found = rows[-1] if rows else after()
            rows.append(found)
        pixels = torch.from_numpy(np.concatenate(rows[::-1]))
        keys = reader.keys(batch)
        if reader.data.flips:
            hr, mirrored = Layout(reader.data.stored_size).split(pixels)[0], flipped(keys)
            hr[mirrored] = hr[mirrored].flip(-1)
        yield Made(pixels, noise_seeds(keys), broken[::-1])


def _decoded(sample: Sample, data: Data) -> np.ndarray | str:
    if sample.encoded is None:
        return f"{sample.name}: no picture among its files, or several"
    try:
        return framed(sample.name, data, sample.encoded)
    except InputError as error:
        return str(error)


def first_pictures(pattern: str | Path, data: Data, most: int) -> tuple[Tensor, list[str]]:
    """Return (the first good pictures, uint8, rows x `Layout.bytes`; messages for broken ones).

    Raises:
        InputError: A shard can't be read, or more than a tenth of the pictures are broken.
    """
    rows: list[np.ndarray] = []
    broken: list[str] = []
    samples = (Sample(0, *each) for url in expand(pattern) for each in read(url))
    while len(rows) < most and len(broken) <= most and (sample := next(samples, None)):
        found = _decoded(sample, data)
        if isinstance(found, str):
            broken.append(found)
        else:
            rows.append(found)
    if len(broken) > MOST_BROKEN * (len(broken) + len(rows)) or not rows:
        raise TooManyBrokenError(broken, len(broken) + len(rows))
    return torch.from_numpy(np.concatenate(rows)), broken


@dataclass
class Shards:
    """Batches of shards' pictures, decoded by worker processes.

    Attributes:
        reader: What the workers are told.
        processes: How many there are; 0 decodes in this one.
        device: Where batches go.
    """

    reader: Reader
    processes: int
    device: torch.device
    broken: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    count: None = field(default=None, init=False)
    kept: str = field(default="shards", init=False)
    _running: list[Generator[Any]] = field(default_factory=list, init=False)

    @property
    def fingerprint(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of the sorted URLs."""
        text = "\n".join(sorted(self.reader.urls))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def batches(self, start: int) -> Iterator[Batch]:
        """Yield this process's rows of batch ``start``, counted from 0, and of all after it.

        Raises:
            InputError: A shard can't be read, or too many pictures are broken.
        """
        workers, pin = _Batches(self.reader, start), self.device.type == "cuda"
        running = loaded(workers, self.processes, pin=pin)
        self._running.append(running)
        layout = Layout(self.reader.data.stored_size)
        seen = bad = 0
        try:
            for made in running:
                if isinstance(made, str):
                    raise InputError(made)
                seen, bad = seen + len(made.rows), bad + len(made.broken)
                self.broken += [each for each in made.broken if each not in self.broken]
                if seen >= JUDGED and bad > MOST_BROKEN * seen:
                    raise TooManyBrokenError(self.broken, seen)
                hr, _ = layout.split(made.rows.to(self.device, non_blocking=True))
                yield Batch(unit(hr), made.noise.to(self.device, non_blocking=True))
        finally:
            running.close()
            self._running.remove(running)

    def close(self) -> None:
        """End the worker processes."""
        for running in self._running:
            running.close()


def reader_of(
    pattern: str | Path, data: Data, seed: int, rows: int, share: Share, workers: int
) -> Reader:
    """Return what workers are told of the shards that a pattern stands for.

    Args:
        pattern: See `srkit.data.tars.expand`.
        data: Framing, size and flips.
        seed: Of the run.
        rows: Of a batch that this process takes.
        share: Which process this is.
        workers: Wanted; fewer are used where there are too few shards.

    Raises:
        InputError: There are no such shards, or fewer than processes.
    """
    urls = expand(pattern)
    each = len(urls) // share.count
    if not each:
        raise InputError(
            f"{pattern}: {len(urls)} shards are too few for {share.count} processes, "
            "each of which needs at least one"
        )
    return Reader(tuple(urls), data, seed, share, max(1, min(workers, each)), rows)
