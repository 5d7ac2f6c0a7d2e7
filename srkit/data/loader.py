"""The feed of a set that doesn't fit on the device: read ahead by threads or processes."""

from __future__ import annotations

import signal
import threading
import warnings
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from srkit.data.sampler import Batch, Choice, Plan
from srkit.data.sources import Layout, Source
from srkit.errors import InputError, SrkitError

DEPTH = 4  # batches that each worker is ahead


class Fetch(Protocol):
    """Brings batches of rows from where they are kept to the host's memory."""

    kept: str

    def rows(self, wanted: Iterator[Tensor], *, pin: bool) -> Generator[Tensor]:
        """Yield uint8 rows, ``b`` x `Layout.bytes`, for each of ``wanted``, int64 of shape ``b``.

        Args:
            wanted: Places in the set; asked for ahead of time.
            pin: Into memory from which a GPU copies while it computes.
        """
        ...


@dataclass
class Mapped:
    """Rows of a file of decoded pictures, read by threads.

    Attributes:
        pixels: uint8, all rows, mapped into memory.
        workers: Threads.
    """

    pixels: Tensor
    workers: int
    kept: str = field(default="disk", init=False)

    def rows(self, wanted: Iterator[Tensor], *, pin: bool) -> Generator[Tensor]:
        """Yield the rows of each batch."""

        def read(index: Tensor) -> Tensor:
            rows = self.pixels.index_select(0, index)  # without Python's lock
            return rows.pin_memory() if pin else rows

        threads = max(1, self.workers)
        pool = ThreadPoolExecutor(threads)
        try:
            ahead = deque(pool.submit(read, index) for index in islice(wanted, threads * DEPTH))
            for index in wanted:
                yield ahead.popleft().result()
                ahead.append(pool.submit(read, index))
        finally:
            pool.shutdown(cancel_futures=True)


class _Batches(Dataset[Any]):
    """What a worker process is given: a batch's pictures by number, decoded in turn."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def __getitem__(self, numbers: np.ndarray) -> Tensor | str:
        try:
            rows = [self.source.decode(number) for number in numbers.tolist()]
        except InputError as error:  # raised here, it would come out with a traceback as its text
            return str(error)
        return torch.from_numpy(np.concatenate(rows))


@dataclass
class Decoding:
    """Pictures decoded anew for each batch, by processes.

    Attributes:
        source: Of one row a picture.
        pictures: int64: which picture each row of the set is.
        workers: Processes; 0 decodes in this one.
    """

    source: Source
    pictures: Tensor
    workers: int
    kept: str = field(default="files", init=False)

    def rows(self, wanted: Iterator[Tensor], *, pin: bool) -> Generator[Tensor]:
        """Yield the rows of each batch.

        Raises:
            InputError: A picture that could be read at first no longer can.
        """
        numbers = (self.pictures[index].numpy() for index in wanted)
        for rows in loaded(_Batches(self.source), self.workers, pin=pin, sampler=numbers):
            if isinstance(rows, str):
                raise InputError(f"a picture has changed since this run began: {rows}")
            yield rows


def loaded(dataset: Any, workers: int, *, pin: bool, sampler: Any = None) -> Generator[Any]:
    """Yield what worker processes make of a data set, in order, and end them when closed.

    Args:
        dataset: Whose items are whole batches.
        workers: Processes; 0 for none.
        pin: Into memory from which a GPU copies while it computes.
        sampler: Of items, for a data set that has them by number.

    Raises:
        SrkitError: A process was ended from outside.
    """
    with warnings.catch_warnings():
        # Where processes are forked; the workers neither compute in parallel nor use the device.
        warnings.filterwarnings("ignore", ".*multi-threaded", DeprecationWarning)
        # More workers than processors: whoever asks for them may have slow disks.
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
        loader = DataLoader(
            dataset,
            batch_size=None,
            sampler=sampler,
            num_workers=workers,
            prefetch_factor=DEPTH if workers else None,
            pin_memory=pin,
            worker_init_fn=leave_signals,
            generator=torch.Generator(),  # it draws a seed: not from the one that the networks use
        )
        with child_signals_kept():
            items = iter(loader)
    try:
        yield from items
    except (RuntimeError, EOFError, ConnectionError) as error:
        # The last two where the queue's other end is gone before anyone has looked.
        if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
            raise
        raise SrkitError(
            "a process that decodes was ended, maybe for want of memory (or of /dev/shm, in a "
            "container); --workers 1 needs less, 0 none of /dev/shm"
        ) from error


@contextmanager
def child_signals_kept() -> Iterator[None]:
    """Undo what torch does to SIGCHLD within.

    Its handler raises wherever the main process happens to be when a worker dies, be it in the
    middle of a step. Without it the next batch that is waited for says so, seconds later.
    """
    number: int | None = getattr(signal, "SIGCHLD", None)
    before = None if number is None else signal.getsignal(number)
    yield
    here = threading.current_thread() is threading.main_thread()
    if number is not None and before is not None and here:
        signal.signal(number, before)


def leave_signals(_worker: int) -> None:
    """Let a worker process ignore Ctrl-C, which the main one answers, and die when told to."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


@dataclass
class Streamed:
    """Batches whose pictures are fetched while the device computes those before.

    Attributes:
        fetch: From where.
        layout: Of a picture.
        choice: Which pictures train.
        device: Where batches go.
    """

    fetch: Fetch
    layout: Layout
    choice: Choice
    device: torch.device
    fingerprint: str
    broken: Sequence[str] = ()
    notes: Sequence[str] = ()
    _running: list[Generator[Tensor]] = field(default_factory=list, init=False)

    @property
    def count(self) -> int:
        """Training pictures."""
        return len(self.choice.rows)

    @property
    def kept(self) -> str:
        """``disk`` or ``files``."""
        return self.fetch.kept

    def batches(self, start: int) -> Iterator[Batch]:
        """Yield this process's rows of batch ``start``, counted from 0, and of all after it."""
        plans: deque[Plan] = deque()  # of batches that were asked for and haven't come yet

        def wanted() -> Iterator[Tensor]:
            for plan in self.choice.plans(start, self.device):
                plans.append(plan)
                yield plan.places

        rows = self.fetch.rows(wanted(), pin=self.device.type == "cuda")
        self._running.append(rows)
        try:
            for fetched in rows:
                here = fetched.to(self.device, non_blocking=True)
                yield plans.popleft().batch(here, self.layout)
        finally:
            rows.close()
            self._running.remove(rows)

    def close(self) -> None:
        """End threads and processes."""
        for rows in self._running:
            rows.close()
