"""What worker processes do: decode batches ahead of the step that needs them."""

from __future__ import annotations

import itertools
import signal
import threading
import warnings
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from srkit import seeds
from srkit.data.datasets import Dataset, decoded_or_message, framed, hashed
from srkit.data.sampler import Sampler, flipped, noise_seeds
from srkit.errors import InputError, SrkitError, option
from srkit.hookspecs import StreamSource
from srkit.recipe import Data, Recipe

DEPTH = 4  # batches that each worker is ahead
HOPELESS = 100  # broken images one after another
_KEY = 13  # purpose of a seed, beside those of the sampler

# Rows, uint8, `b` x `Layout.bytes`; whether mirrored; seeds; messages for broken images.
HostBatch: TypeAlias = tuple[Tensor, Tensor, Tensor, list[str]]


@dataclass(frozen=True)
class DatasetReader:
    """Batches of images decoded by number.

    ``places`` (int64, rows x 2) says which image, and which of its rows, each row is.
    """

    dataset: Dataset
    places: Tensor
    sampler: Sampler

    def batches(self, start: int, worker: int, workers: int) -> Iterator[HostBatch]:
        """Yield batch ``start + worker`` and every ``workers``-th after it.

        Raises:
            InputError: An image that could be read at first no longer can.
        """
        for step in itertools.count(start + worker, workers):
            (index,), (mirrored,), (keys,) = self.sampler.span(step, 1)
            try:
                rows = [self.dataset.decode(n)[row] for n, row in self.places[index].tolist()]
            except InputError as error:
                raise InputError(f"an image has changed since this run began: {error}") from error
            yield torch.from_numpy(np.stack(rows)), mirrored, keys, []


Sample: TypeAlias = tuple[int, str, bytes | None]  # epoch, name, encoded image


@dataclass(frozen=True)
class StreamReader:
    """Batches of images that come one after another.

    Attributes:
        source: The images.
        recipe: Framing, size and flips; seed.
        mine: This process's rows of a batch.
        world_size: Number of processes.
        workers: Number of each process's streams; batch n is of stream n, modulo their number.
    """

    source: StreamSource
    recipe: Recipe
    mine: range
    world_size: int
    workers: int

    def batches(self, start: int, worker: int, workers: int) -> Iterator[HostBatch]:
        """Yield batch ``start + worker`` and every ``workers``-th after it.

        In a broken image's place comes the next good one, which comes again. So which images are
        broken moves no other, and samples can be passed over undecoded.
        """
        first = start + worker
        count, data = len(self.mine), self.recipe.data
        rank = self.mine.start // count
        stream = rank + self.world_size * (first % self.workers)
        skip = first // self.workers * count
        streams = self.workers * self.world_size
        samples = self.source.samples(self.recipe.seed, stream, streams, skip)
        ahead: deque[Sample] = deque()

        def after() -> np.ndarray:
            for place in range(HOPELESS):
                if place == len(ahead):
                    ahead.append(next(samples))
                _, name, encoded = ahead[place]
                if not isinstance(sample := frame_sample(name, encoded, data), str):
                    return sample
            raise InputError(f"{HOPELESS} images one after another are broken, last {sample}")

        while True:
            batch = [ahead.popleft() if ahead else next(samples) for _ in range(count)]
            rows: list[np.ndarray] = []
            broken: list[str] = []
            for _, name, encoded in reversed(batch):
                sample = frame_sample(name, encoded, data)
                if isinstance(sample, str):
                    broken.append(sample)
                    sample = rows[-1] if rows else after()
                rows.append(sample)
            keys = self._keys(batch)
            mirrored = flipped(keys) & data.flips
            yield torch.from_numpy(np.concatenate(rows[::-1])), mirrored, noise_seeds(keys), broken

    def _keys(self, samples: list[Sample]) -> Tensor:
        """Return a key for each sample, from which its flip and noise follow; int64."""
        names = hashed(name.encode() for _, name, _ in samples)
        epochs = torch.tensor([epoch for epoch, _, _ in samples])
        return seeds.derive(torch.full_like(names, self.recipe.seed), _KEY, epochs, names)


Reader: TypeAlias = DatasetReader | StreamReader


def frame_sample(name: str, encoded: bytes | None, data: Data) -> np.ndarray | str:
    """Return a streamed image, uint8, 1 x `Layout.bytes`, or what is wrong with it."""
    if encoded is None:
        return f"{name}: no image among its files, or several"
    return decoded_or_message(framed, name, encoded, data)


class _Batches(IterableDataset[Any]):
    """One worker's batches from batch ``start`` on."""

    def __init__(self, reader: Reader, start: int, workers: int) -> None:
        self.reader, self.start, self.workers = reader, start, max(1, workers)

    def __iter__(self) -> Iterator[HostBatch | str]:
        # The loader asks its workers in turn.
        info = get_worker_info()
        try:
            yield from self.reader.batches(self.start, info.id if info else 0, self.workers)
        except InputError as error:  # raised here, it would come out with a traceback as its text
            yield str(error)


def in_workers(
    reader: Reader, start: int, *, workers: int, device: torch.device
) -> Generator[HostBatch]:
    """Yield batch ``start`` and all after it, made by worker processes; end them when closed.

    No ``workers`` is this process.

    Raises:
        InputError: What the reader raises.
        SrkitError: A process was ended from outside.
    """
    with warnings.catch_warnings():
        # Where processes are forked; the workers neither compute in parallel nor use the device.
        warnings.filterwarnings("ignore", ".*multi-threaded", DeprecationWarning)
        # More workers than processors: whoever asks for them may have slow disks.
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
        loader = DataLoader(
            _Batches(reader, start, workers),
            batch_size=None,
            num_workers=workers,
            prefetch_factor=DEPTH if workers else None,
            pin_memory=device.type == "cuda",  # copied from while it computes
            worker_init_fn=_leave_signals,
            generator=torch.Generator(),  # it draws a seed: not from the one that the networks use
        )
        with _child_signals_kept():
            batches = iter(loader)
    try:
        for batch in batches:
            if isinstance(batch, str):
                raise InputError(batch)
            yield batch
    except (RuntimeError, EOFError, ConnectionError) as error:
        # The last two where the queue's other end is gone before anyone has looked.
        if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
            raise
        raise SrkitError(
            "a process that decodes was ended, maybe for want of memory (or of /dev/shm, in a "
            f"container); {option('workers', 1)} needs less, 0 none of /dev/shm"
        ) from error


@contextmanager
def _child_signals_kept() -> Iterator[None]:
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


def _leave_signals(_worker: int) -> None:
    """Let a worker process ignore Ctrl-C, which the main one handles, and end on SIGTERM."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
