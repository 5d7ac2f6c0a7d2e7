"""How much fits where: on the device, in a file of decoded pictures, or nowhere."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil
import torch

from srkit.data import cache
from srkit.data.cache import Decoded
from srkit.data.decoding import Progress
from srkit.data.pairs import Pairs
from srkit.data.sources import Source
from srkit.errors import InputError

DEVICE_SHARE = 0.4  # of a GPU's free memory: networks and their activations need the rest
HOST_SHARE = 0.5  # of the memory that is available
DISK_SHARE = 0.9  # of the free space

Keep = Literal["auto", "device", "disk", "files"]
Kept = Literal["device", "disk", "files"]


@dataclass(frozen=True)
class Place:
    """Where pictures may be kept, and for whom.

    Attributes:
        device: Where batches go.
        folder: Of the cache; None for none.
        processes: That train together; each holds the set.
        explicit: The user chose the cache's folder, so even a small set is kept there.
    """

    device: torch.device
    folder: Path | None
    processes: int = 1
    explicit: bool = False

    def host(self) -> int:
        """Bytes of the host's memory that one process may fill with pictures."""
        available = psutil.virtual_memory().available
        used = psutil.Process().memory_info().rss
        limits = [limit - used for limit in _container_limits()]
        return int(HOST_SHARE * min([available, *limits]) / self.processes)

    def on_device(self) -> int:
        """Bytes of the device's memory that pictures may fill."""
        if self.device.type != "cuda":
            return self.host()
        free, _ = torch.cuda.mem_get_info(self.device)
        return int(DEVICE_SHARE * free)

    def on_disk(self) -> int:
        """Bytes that a new file of the cache may have."""
        if self.folder is None:
            return 0
        folders = (self.folder, *self.folder.absolute().parents)
        # Path.exists raises where it may not look.
        there = next(path for path in folders if os.path.exists(path))  # noqa: PTH110
        return int(DISK_SHARE * shutil.disk_usage(there).free)

    def choose(self, source: Source) -> Kept:
        """Return the first of ``device``, ``disk`` and ``files`` that a source's pictures fit."""
        need = source.expected
        # What is larger than the host's memory gets to a GPU through a file.
        if need <= self.on_device() and (self.folder is not None or need <= self.host()):
            return "device"
        if self.folder is None:
            return "files"
        file = cache.file_for(source, self.folder)
        return "disk" if file and (file.exists() or need <= self.on_disk()) else "files"

    def keep(self, source: Source, keep: Keep, progress: Progress) -> tuple[Kept, Decoded]:
        """Decode a source's pictures, or find them decoded, and keep them.

        A disk that is too full is no error: they are then decoded anew for each batch.

        Args:
            source: Not empty.
            keep: Where; ``auto``: as `choose` says.
            progress: Called with the pictures done and their number.

        Returns:
            Where they are kept, and they: for ``device`` in the host's memory, for ``disk``
            mapped, for ``files`` not at all.

        Raises:
            InputError: Too many are broken, or they can't be kept as was asked for.
        """
        kept = self.choose(source) if keep == "auto" else keep
        notes: list[str] = []
        if kept == "disk" and self.folder is None:
            raise InputError("pictures can't be kept on disk without a cache: give it a folder")
        if kept == "disk" or (kept == "device" and source.expected > self.host() and self.folder):
            try:
                return kept, self._obtain(source, "mapped", progress)
            except OSError as error:
                why = error.strerror or error
                notes.append(f"can't keep decoded pictures in {self.folder}: {why}")
                kept = "device" if keep == "device" else "files"
        if kept == "files" and isinstance(source, Pairs):
            why = f" ({notes[0]})" if notes else ""
            raise InputError(
                f"{source.root}: pairs must be kept decoded, and there is no room for their "
                f"{source.expected >> 20} MiB, neither on {self.device} nor on disk{why}"
            )
        decoded = self._obtain(source, "memory" if kept == "device" else "nothing", progress)
        decoded.notes[:0] = notes
        return kept, decoded

    def _obtain(
        self, source: Source, keep: Literal["memory", "mapped", "nothing"], progress: Progress
    ) -> Decoded:
        together = self.processes > 1
        always = self.explicit or together
        return cache.obtain(
            source, keep, self.folder, always=always, together=together, progress=progress
        )


def _container_limits() -> Iterator[int]:
    """Yield what a container allows, in bytes, as cgroups say it (version 2, version 1)."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            yield int((Path("/sys/fs/cgroup") / name).read_text(encoding="ascii"))
        except (OSError, ValueError):  # there is none, or it is "max"
            continue
