"""Images -> batches on the device.

Where the set fits in memory, it is decoded once and held there as one array; where it doesn't,
worker processes decode each batch ahead of the step that needs it. The batches are the same to
the bit (`srkit.data.sampler` says how they follow from seed and step).
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import psutil
import torch
from torch import Tensor

from srkit import registry, torchrun
from srkit.data import held_out as held
from srkit.data.cache import Progress, decode
from srkit.data.datasets import MOST_BROKEN, Dataset, Layout, Pairs, TooManyBrokenError, row_keys
from srkit.data.held_out import Images
from srkit.data.jitter import jittered
from srkit.data.sampler import Batch, Sampler, rows_of_rank
from srkit.data.sources import find, notes_on
from srkit.data.workers import HostBatch, in_workers, newly_decoded, streamed
from srkit.errors import InputError, option
from srkit.files import cache_folder
from srkit.hookspecs import StreamSource
from srkit.readahead import cpus
from srkit.recipe import Recipe

AHEAD = 64  # batches drawn at once: hashing 64 costs hardly more than hashing one
DEVICE_SHARE = 0.4  # of a GPU's free memory: networks and their activations need the rest
HOST_SHARE = 0.5  # of the memory that is available
JUDGED = 50  # images of a stream after which too many broken ones end a run
MOST_WORKERS = 8  # per process; more seldom decode faster than the device computes

Storage = Literal["auto", "memory", "stream"]


@dataclass(kw_only=True)
class Loader:
    """Batches of training images, on the device."""

    recipe: Recipe  # the run's, by which photos are jittered
    layout: Layout
    device: torch.device
    read: Callable[[int], Generator[HostBatch]]  # stored images from a batch, counted from 0, on
    storage: Storage  # where the images are: ``memory`` or ``stream``
    # First 16 hexadecimal digits of a SHA-256: that of the decoded training pixels in order, each
    # lr after its hr; for a `StreamSource` that of its sorted addresses.
    fingerprint: str
    count: int | None = None  # training images; None where it isn't known, as for shards
    # Framing to the sorted `row_keys` of the training images; empty for shards.
    trained_on: Mapping[str, Tensor] = field(default_factory=dict)
    # A message for each image that can't be read; grows while a stream is read.
    broken: list[str] = field(default_factory=list)
    # What else the user should hear, as that the disk is too full for a cache.
    notes: list[str] = field(default_factory=list)
    _opened: list[Generator[HostBatch]] = field(default_factory=list, init=False)

    def batches(self, start: int) -> Generator[Batch]:
        """Yield this process's part of batch ``start``, counted from 0, and of all after it.

        Raises:
            InputError: An image can no longer be read, or too many are broken.
            SrkitError: A process was ended from outside.
        """
        jitters = self.recipe.data.framing == "jitter"
        stored = self.read(start)
        self._opened.append(stored)
        seen = bad = 0
        with closing(stored):
            for number, (*tensors, broken) in enumerate(stored, start):
                rows, flip, seeds = (x.to(self.device, non_blocking=True) for x in tensors)
                seen, bad = seen + len(rows), bad + len(broken)
                self.broken += [each for each in broken if each not in self.broken]
                if broken and seen >= JUDGED and bad > MOST_BROKEN * seen:
                    raise TooManyBrokenError(self.broken, seen)
                hr, lr = self.layout.split(rows)
                batch = Batch(_unit(hr, flip), seeds, None if lr is None else _unit(lr, flip))
                yield jittered(batch, self.recipe, number) if jitters else batch

    def close(self) -> None:
        """End the worker processes."""
        for stored in self._opened:
            stored.close()


def _unit(images: Tensor, mirrored: Tensor) -> Tensor:
    """Return uint8 images, some of them mirrored, as float32 in [0, 1]."""
    turned = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
    return turned.to(torch.float32).div_(255)


def in_memory(
    pixels: Tensor, sampler: Sampler, device: torch.device, start: int
) -> Generator[HostBatch]:
    """Yield the images of batch ``start``, counted from 0, and of all after it: each is an index.

    ``pixels`` (uint8, images x `Layout.bytes`) are on the device, or in the host's memory where the
    device has no room; held-out ones may be among them.
    """
    for first in itertools.count(start, AHEAD):
        places, mirrored, seeds = sampler.span(first, AHEAD)
        each = zip(
            _sent(places, pixels.device),
            _sent(mirrored, device),
            _sent(seeds, device),
            strict=True,
        )
        for place, flip, seed in each:
            yield pixels.index_select(0, place), flip, seed, []


def _sent(host: Tensor, device: torch.device) -> Tensor:
    """Send a tensor to the device in a transfer that isn't waited for."""
    return (host.pin_memory() if device.type == "cuda" else host).to(device, non_blocking=True)


def open_loader(
    source: str | Path,
    val: str | Path | None,
    recipe: Recipe,
    *,
    device: torch.device,
    rank: int = 0,
    world_size: int = 1,
    storage: Storage = "auto",
    workers: int | None = None,
    cache: Path | Literal[False] | None = None,
    progress: Progress = lambda done, total: None,
) -> tuple[Loader, Images]:
    """Return (training batches on a device, held-out images).

    Sources and options are those of `srkit.train`. Process ``rank``, of ``world_size`` that train
    together, takes its own rows of each batch; ``progress`` is called with the number of images
    decoded and of all. InputError: no such source, nothing in it, or too many broken images.
    """
    mine = rows_of_rank(recipe.batch_size, rank, world_size)
    local = torchrun.number("LOCAL_WORLD_SIZE", world_size)  # those that share this machine
    if workers is None:
        workers = max(1, min(MOST_WORKERS, cpus() // local))
    train, own = find(source, recipe)
    apart = own if val is None else held.find(val, recipe)
    held_out = None if apart is None else held.first_images(apart, recipe)
    if isinstance(train, StreamSource):
        if held_out is None:
            raise InputError(f"{source} has no validation images: give {option('val')}")
        return _stream(train, apart, recipe, device, mine, world_size, workers), held_out
    folder = None if cache is False else cache or cache_folder("decoded")
    need, room = train.expected * train.layout.bytes, host_room(local)
    if storage == "auto":
        storage = "memory" if need <= room else "stream"
    decoded = decode(train, folder, pixels=storage == "memory", progress=progress)
    whole, without_held_out = decoded.digests.tolist()
    rows, fingerprint = np.arange(len(decoded.places)), whole
    if held_out is None:
        rows, others = held.split(decoded.places)
        if not len(rows):
            raise InputError(f"{source}: two images or more are needed, one of them for validation")
        held_out, fingerprint = held.first_of_rows(others, train, decoded), without_held_out
    keys = torch.from_numpy(decoded.keys[rows])
    notes = [*notes_on(source), *decoded.notes, *_copies(keys, held_out)]
    if isinstance(train, Pairs) and not rank:
        for name in registry.offers("pair_checks"):
            notes += registry.call("pair_checks", name, train.files, train.scale)
    train_rows = torch.from_numpy(rows)
    sampler = Sampler(train_rows, recipe.batch_size, recipe.seed, mine, recipe.data.flips)
    read: Callable[[int], Generator[HostBatch]]
    if decoded.pixels is not None:
        pixels = torch.from_numpy(decoded.pixels)
        fits = need <= device_room(device, room)
        read = partial(in_memory, pixels.to(device) if fits else pixels, sampler, device)
    else:
        batches = partial(newly_decoded, train, decoded.places, sampler)
        read = partial(in_workers, batches, workers=workers, device=device)
    loader = Loader(
        recipe=recipe,
        layout=train.layout,
        device=device,
        read=read,
        storage="stream" if decoded.pixels is None else "memory",
        fingerprint=fingerprint[:16],
        count=len(rows),
        trained_on={train.framing: keys.unique()},
        broken=decoded.messages(train),
        notes=notes,
    )
    return loader, held_out


def _stream(
    source: StreamSource,
    held_out: Dataset | StreamSource | None,
    recipe: Recipe,
    device: torch.device,
    mine: range,
    world_size: int,
    workers: int,
) -> Loader:
    if source.shards < world_size:
        raise InputError(
            f"{source.shards} shards are too few for {world_size} processes, "
            "each of which needs at least one"
        )
    addresses, notes, most = source.identity(), [], source.shards // world_size
    if most < workers:
        notes.append(f"{most} workers, not {workers}: too few shards for more")
    if isinstance(held_out, StreamSource) and (both := {*held_out.identity()} & {*addresses}):
        notes.append(f"{len(both)} shards are both trained on and held out")
    batches = partial(streamed, source, recipe, mine, world_size)
    return Loader(
        recipe=recipe,
        layout=Layout(recipe.data.stored_size),
        device=device,
        read=partial(in_workers, batches, workers=min(workers, most), device=device),
        storage="stream",
        fingerprint=hashlib.sha256("\n".join(sorted(addresses)).encode()).hexdigest()[:16],
        notes=notes,
    )


def _copies(keys: Tensor, held_out: Images) -> Iterator[str]:
    """Yield a line for copies among the training images, and for those that are held out, too."""
    trained = set(keys.tolist())
    if count := len(keys) - len(trained):
        yield f"{count} of {len(keys)} training images are copies of others"
    hr = held_out.pixels
    others = row_keys(hr.flatten(1).numpy(), Layout(hr.shape[-1])).tolist()
    if count := sum(key in trained for key in others):
        yield f"{count} of {len(others)} validation images are trained on: their scores say little"


def host_room(world_size: int) -> int:
    """Return the bytes of the host's memory that one process may fill with images."""
    used = psutil.Process().memory_info().rss
    limits = [limit - used for limit in _container_limits()]
    return int(HOST_SHARE * min([psutil.virtual_memory().available, *limits]) / world_size)


def device_room(device: torch.device, host: int) -> int:
    """Return the bytes of the device's memory that images may fill."""
    if device.type != "cuda":
        return host  # its memory is the host's
    free, _ = torch.cuda.mem_get_info(device)
    return int(DEVICE_SHARE * free)


def _container_limits() -> Iterator[int]:
    """Yield what a container allows, in bytes, as cgroups say it (version 2, version 1)."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            yield int((Path("/sys/fs/cgroup") / name).read_text(encoding="ascii"))
        except (OSError, ValueError):  # there is none, or it is "max"
            continue
