"""What worker processes do: decode batches ahead of the step that needs them."""

from __future__ import annotations

import itertools
import signal
import threading
import warnings
from collections.abc import Callable, Generator, Iterator
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


# Yields a batch, counted from 0, and every so-many-th after it.
Batches: TypeAlias = Callable[[int, int], Iterator[HostBatch]]

Sample: TypeAlias = tuple[int, str, bytes | None]  # epoch, name, encoded image


def newly_decoded(
    dataset: Dataset, places: np.ndarray, sampler: Sampler, first: int, workers: int
) -> Iterator[HostBatch]:
    """Yield batch ``first`` and every ``workers``-th after it, of images decoded by number.

    ``places``, int64, rows x 2, are which image, and which of its rows, each row is. InputError: an
    image has changed.
    """
    for step in itertools.count(first, workers):
        (index,), (mirrored,), (keys,) = sampler.span(step, 1)
        try:
            rows = [dataset.decode(number)[row] for number, row in places[index].tolist()]
        except InputError as error:
            raise InputError(f"an image has changed since this run began: {error}") from error
        yield torch.from_numpy(np.stack(rows)), mirrored, keys, []


def streamed(
    source: StreamSource, recipe: Recipe, mine: range, world_size: int, first: int, workers: int
) -> Iterator[HostBatch]:
    """Yield batch ``first`` and every ``workers``-th after it, of images one after another.

    Each worker of each process, whose rows of a batch are ``mine``, has a stream of its own. In a
    broken image's place comes the next good one, which comes again. So which images are broken
    moves no other, and samples can be passed over undecoded.
    """
    count = len(mine)
    stream = mine.start // count + world_size * (first % workers)
    streams, skip = workers * world_size, first // workers * count
    samples = _framed(source.samples(recipe.seed, stream, streams, skip), recipe.data)
    while True:
        epochs, names, rows, wrong = zip(*itertools.islice(samples, count), strict=True)
        hashes = hashed(name.encode() for name in names)
        seed = torch.full_like(hashes, recipe.seed)
        keys = seeds.derive(seed, _KEY, torch.tensor(epochs), hashes)
        mirrored, broken = flipped(keys) & recipe.data.flips, [each for each in wrong if each]
        yield torch.from_numpy(np.concatenate(rows)), mirrored, noise_seeds(keys), broken


def _framed(samples: Iterator[Sample], data: Data) -> Iterator[tuple[int, str, np.ndarray, str]]:
    """Yield epoch and name of each sample, its row or the next good one, and what is wrong."""
    waiting: list[tuple[int, str, str]] = []
    for epoch, name, encoded in samples:
        row = decoded_or_message(framed, name, encoded, data)
        waiting.append((epoch, name, row if isinstance(row, str) else ""))
        if not isinstance(row, str):
            for epoch, name, wrong in waiting:
                yield epoch, name, row, wrong
            waiting.clear()
        elif len(waiting) == HOPELESS:
            raise InputError(f"{HOPELESS} images one after another are broken, last {row}")


class _Batches(IterableDataset[Any]):
    """One worker's batches from batch ``start`` on."""

    def __init__(self, batches: Batches, start: int) -> None:
        self.batches, self.start = batches, start

    def __iter__(self) -> Iterator[HostBatch | str]:
        # The loader asks its workers in turn.
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        try:
            yield from self.batches(self.start + worker, workers)
        except InputError as error:  # raised here, it would come out with a traceback as its text
            yield str(error)


def in_workers(
    batches: Batches, start: int, *, workers: int, device: torch.device
) -> Generator[HostBatch]:
    """Yield batch ``start`` and all after it, made by worker processes; end them when closed.

    No ``workers`` is this process. InputError: what ``batches`` raises. SrkitError: a process was
    ended from outside.
    """
    with warnings.catch_warnings():
        # Where processes are forked; the workers neither compute in parallel nor use the device.
        warnings.filterwarnings("ignore", ".*multi-threaded", DeprecationWarning)
        # More workers than processors: whoever asks for them may have slow disks.
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
        loader = DataLoader(
            _Batches(batches, start),
            batch_size=None,
            num_workers=workers,
            prefetch_factor=DEPTH if workers else None,
            pin_memory=device.type == "cuda",  # copied from while it computes
            worker_init_fn=_leave_signals,
            generator=torch.Generator(),  # it draws a seed: not from the one that the networks use
        )
        loaded = _started(loader)
    try:
        for batch in loaded:
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


def _started(loader: DataLoader[Any]) -> Iterator[Any]:
    """Start the processes of a loader, and undo what torch does to SIGCHLD.

    Its handler raises wherever the main process happens to be when a worker dies, be it in the
    middle of a step. Without it the next batch that is waited for says so, seconds later.
    """
    number = getattr(signal, "SIGCHLD", 0)  # Windows has none
    before = signal.getsignal(number) if number else None
    batches = iter(loader)
    if before is not None and threading.current_thread() is threading.main_thread():
        signal.signal(number, before)
    return batches


def _leave_signals(_worker: int) -> None:
    """Let a worker process ignore Ctrl-C, which the main one handles, and end on SIGTERM."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
