"""All pictures of a source decoded, in parallel and in order; broken ones named, not fatal."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from srkit.data.sources import Source
from srkit.errors import InputError

HELD_OUT = 20  # every so-manieth good picture is held out where a set has no split for it
MOST_BROKEN = 0.1  # of the pictures; more, and something else must be wrong
CHUNK = 16  # pictures a thread takes at once; after Ctrl-C it does them to the end

Progress = Callable[[int, int], None]


class TooManyBrokenError(InputError):
    """So many pictures can't be read that something else must be wrong.

    Attributes:
        broken: One message a broken picture, all of them.
    """

    def __init__(self, broken: list[str], tried: int) -> None:
        self.broken = tuple(broken)
        first = "; ".join(broken[:3])
        super().__init__(f"{len(broken)} of {tried} pictures are broken, first {first}")


@dataclass
class Survey:
    """What decoding every picture of a source found out.

    Attributes:
        parts: Rows of each picture: 0 of a broken one, several of a pair cut into squares.
        reasons: By a broken picture's number, what is wrong with it.
        whole: SHA-256 of all rows.
        train: SHA-256 of the rows that train where every `HELD_OUT`-th picture doesn't.
    """

    parts: list[int]
    reasons: dict[int, str]
    whole: str
    train: str

    def rows(self, *, hold_out: bool) -> tuple[Tensor, Tensor]:
        """Return the places of (training, held-out) rows among all, int64."""
        parts = torch.tensor(self.parts)
        good = parts > 0
        held = good & ((good.cumsum(0) - 1) % HELD_OUT == 0) & hold_out
        held = held.repeat_interleave(parts)
        return (~held).nonzero().flatten(), held.nonzero().flatten()

    def pictures(self) -> Tensor:
        """Return which picture each row is of, int64."""
        return torch.arange(len(self.parts)).repeat_interleave(torch.tensor(self.parts))

    def broken(self, source: Source) -> list[str]:
        """Return a message for each broken picture."""
        return [f"{source.name(number)}: {why}" for number, why in self.reasons.items()]


def cpus() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def survey_of(
    source: Source, sink: Callable[[np.ndarray], object] | None, progress: Progress
) -> Survey:
    """Decode every picture in parallel, in order.

    Args:
        source: Not empty.
        sink: Called with rows, uint8, some x `Layout.bytes`.
        progress: Called with the pictures done and their number.
    """
    parts: list[int] = []
    reasons: dict[int, str] = {}
    whole, train = hashlib.sha256(), hashlib.sha256()
    good = 0
    for results in in_parallel(source, range(len(source))):
        for number, result in enumerate(results, start=len(parts)):
            if isinstance(result, str):
                reasons[number] = result.removeprefix(f"{source.name(number)}: ")
                continue
            whole.update(result.data)
            if good % HELD_OUT:
                train.update(result.data)
            good += 1
        rows = [result for result in results if not isinstance(result, str)]
        if sink and rows:
            sink(np.concatenate(rows))
        parts += [0 if isinstance(result, str) else len(result) for result in results]
        progress(len(parts), len(source))
    return Survey(parts, reasons, whole.hexdigest(), train.hexdigest())


def in_parallel(source: Source, numbers: range) -> Iterator[list[np.ndarray | str]]:
    """Decode some pictures; yield chunks, in order, with a message in a broken one's place.

    Threads will do: Pillow decodes and resizes without Python's lock.
    """
    workers = cpus()
    waiting: deque[Future[list[np.ndarray | str]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for first in range(0, len(numbers), CHUNK):
                waiting.append(pool.submit(_chunk, source, numbers[first : first + CHUNK]))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _chunk(source: Source, numbers: range) -> list[np.ndarray | str]:
    results: list[np.ndarray | str] = []
    for number in numbers:
        try:
            results.append(np.ascontiguousarray(source.decode(number)))
        except InputError as error:
            results.append(str(error))
    return results
