"""Degrading, enlarging and scoring pictures: as many at a time as memory allows.

Pictures are put into an order of their own, so neither the order of files nor the number of
workers changes a score in any bit. The batch size and the device may: there networks sum in another
order, and where that moves a value over the edge between two of 8 bits, it is rounded the other
way. A mean over pictures then moves by less than `TOLERANCE`, a single picture's score by less
than ten times that. What compares sr with itself made small or sharp feels it most.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from srkit.errors import InputError
from srkit.evaluation.columns import Column
from srkit.evaluation.protocol import Protocol
from srkit.evaluation.scoring import Kept, Scorer
from srkit.evaluation.store import Store
from srkit.files import sha256

BATCH = 64
PIXELS = 1 << 22  # of HR in a batch; a larger picture is a batch by itself
# Of a mean, by the metric's unit: between batch sizes and between devices.
TOLERANCE = {"dB": 0.01, "": 0.0001}

Progress = Callable[[str, int, int], None]

T = TypeVar("T")
U = TypeVar("U")


def ignore(what: str, done: int, total: int) -> None:
    """Take no notice of progress."""


@dataclass(frozen=True)
class Picture:
    """A file and what is in it.

    Attributes:
        file: Where.
        digest: The SHA-256 of its bytes.
    """

    file: Path
    digest: str


def ordered(files: Sequence[Path], workers: int | None = None) -> list[Picture]:
    """Return files in the order of every result: by name, then by content.

    Raises:
        InputError: One can't be read.
    """
    with ThreadPoolExecutor(threads(workers)) as pool:
        found = map(Picture, files, pool.map(_digest, files))
        return sorted(found, key=lambda picture: (picture.file.name, picture.digest))


@dataclass
class _Batch:
    """Pictures of one size."""

    pictures: list[Picture] = field(default_factory=list)
    hr: list[Tensor] = field(default_factory=list)


class Bench:
    """What is known of every picture in every column, and how the rest is found.

    Args:
        columns: What is measured.
        pictures: From `ordered`.
        protocol: How.
        device: Where pictures are degraded and scored.
        partial: What keeps scores until all are there.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        pictures: list[Picture],
        protocol: Protocol,
        device: torch.device,
        partial: Store | None,
    ) -> None:
        self.pictures, self.protocol, self.device = pictures, protocol, device
        self.scorer = Scorer(protocol, device)
        self.kept = Kept(partial, protocol, device)
        digests = [picture.digest for picture in pictures]
        self.found = {column.name: self.kept.get(column, digests) for column in columns}
        self.by_set = {column.name: self.scorer.sets() for column in columns}
        self.clocks = {column.name: _Clock(column.enlarge, device) for column in columns}
        self.columns = [replace(c, enlarge=self.clocks[c.name]) for c in columns]

    def lacks(self, column: str, picture: Picture) -> bool:
        """Whether a picture has no scores in a column yet."""
        return picture.digest not in self.found[column]

    @torch.inference_mode()
    def run(self, workers: int | None, batch_size: int, progress: Progress) -> None:
        """Find all that is missing; see `srkit.evaluation.quality.measure`."""
        todo = [
            picture
            for picture in self.pictures
            if self.protocol.set_metrics or any(self.lacks(c.name, picture) for c in self.columns)
        ]
        total = len(self.pictures) * len(self.columns)
        done = total - len(todo) * len(self.columns)
        for batch in _batches(todo, self.protocol, threads(workers), batch_size):
            hr = torch.cat(batch.hr).to(self.device)
            lr = self.protocol.degrade(hr)
            for column in self.columns:
                self._score(column, batch.pictures, hr, lr)
                done += len(hr)
                progress("scores", done, total)

    def _score(self, column: Column, pictures: list[Picture], hr: Tensor, lr: Tensor) -> None:
        missing = any(self.lacks(column.name, picture) for picture in pictures)
        if not (missing or self.by_set[column.name]):
            return
        sr = column(lr)
        if sr.shape != hr.shape:
            raise InputError(
                f"'{column.name}' makes {sr.shape[-1]}x{sr.shape[-2]} pixels of "
                f"{lr.shape[-1]}x{lr.shape[-2]}, not {hr.shape[-1]}x{hr.shape[-2]}"
            )
        for metric in self.by_set[column.name].values():
            metric.update(self.protocol.cut(sr), self.protocol.cut(hr))
        if not missing:
            return
        seconds = self.clocks[column.name].seconds / len(hr)
        try:
            scored = self.scorer(sr, hr, lr)
        except InputError as error:
            raise InputError(f"{pictures[0].file}: {error}") from error
        values = {
            picture.digest: {"scores": scores, "seconds": seconds}
            for picture, scores in zip(pictures, scored, strict=True)
        }
        self.kept.put(column, values)
        self.found[column.name] |= values

    def scores(self, column: Column) -> dict[str, list[float]]:
        """Return a column's scores by metric, in the pictures' order."""
        its = [self.found[column.name][picture.digest]["scores"] for picture in self.pictures]
        return {metric: [scores[metric] for scores in its] for metric in self.scorer.metrics}

    def seconds(self, column: Column) -> float:
        """Return how long a column took for a picture, on average."""
        its = [self.found[column.name][picture.digest]["seconds"] for picture in self.pictures]
        return float(sum(its) / len(its))

    def sets(self) -> dict[str, dict[str, float]]:
        """Return what the metrics of sets say of every column."""
        if not self.protocol.set_metrics:
            return {}
        found: dict[str, dict[str, float]] = {}
        for column, metrics in self.by_set.items():
            for name, metric in metrics.items():
                try:
                    found.setdefault(column, {})[name] = float(metric.compute())
                except ValueError as error:  # too few pictures for it, say
                    raise InputError(f"metric '{name}': {error}") from error
        return found

    def notes(self) -> list[str]:
        """Return what a reader should know of the pictures."""
        said = []
        if twice := len(self.pictures) - len({picture.digest for picture in self.pictures}):
            said.append(f"{twice} of {len(self.pictures)} pictures are copies of others")
        if before := sum(len(its) for its in self.found.values()):
            said.append(f"{before} scores are from before an interruption")
        return said


class _Clock:
    """A column's ``enlarge`` that knows how long its last call took."""

    def __init__(self, enlarge: Callable[[Tensor], Tensor], device: torch.device) -> None:
        self.enlarge, self.device = enlarge, device
        self.warm, self.seconds = False, 0.0

    def __call__(self, lr: Tensor) -> Tensor:
        if not self.warm:  # the first call also loads and plans
            self.enlarge(lr[:1])
            self.warm = True
        self._wait()
        start = time.perf_counter()
        sr = self.enlarge(lr)
        self._wait()
        self.seconds = time.perf_counter() - start
        return sr

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def threads(workers: int | None) -> int:
    """Return how many threads decode: as many as there are cores, at most 8, if None."""
    return workers or min(8, os.cpu_count() or 1)


def ahead(workers: int, work: Callable[[T], U], items: Sequence[T]) -> Iterator[U]:
    """Yield the results of work in order; each thread is one item ahead, so memory is bounded."""
    waiting: deque[Future[U]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _digest(file: Path) -> str:
    try:
        return sha256(file)
    except FileNotFoundError as error:
        raise InputError(f"{file}: no such file") from error
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}") from error


def _batches(
    pictures: Sequence[Picture], protocol: Protocol, workers: int, batch_size: int
) -> Iterator[_Batch]:
    """Yield pictures of one size together, out of every so many; all in an order of their own."""
    waiting: dict[Any, _Batch] = {}
    count, pixels = 0, 0
    decoded = ahead(workers, lambda picture: protocol.hr(picture.file), pictures)
    for picture, hr in zip(pictures, decoded, strict=True):
        size = hr.shape[-2] * hr.shape[-1]
        if count == batch_size or (count and pixels + size > PIXELS):
            yield from waiting.values()
            waiting, count, pixels = {}, 0, 0
        batch = waiting.setdefault(hr.shape, _Batch())
        batch.pictures.append(picture)
        batch.hr.append(hr)
        count, pixels = count + 1, pixels + size
    yield from waiting.values()
