"""Which part of a batch is this process's, where several processes or machines share it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from srkit.errors import OptionError


@dataclass(frozen=True)
class Share:
    """One of ``count`` equal parts of a batch; ``index`` counts from 0."""

    index: int = 0
    count: int = 1

    def __contains__(self, number: int) -> bool:
        """Return whether the job of this number is in it."""
        return number % self.count == self.index

    def __str__(self) -> str:
        return f"{self.index + 1}/{self.count}"


def named(text: str) -> Share:
    """Return the share that a user writes as ``2/5``.

    Raises:
        OptionError: It is no share.
    """
    found = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    index, count = (int(number) for number in found.groups()) if found else (0, 0)
    if not 1 <= index <= count:
        raise OptionError(f"a share is written as 2/5, the second of five, not '{text}'")
    return Share(index - 1, count)


def of_environment(environment: Mapping[str, str] = os.environ) -> Share:
    """Return the share that torchrun, accelerate or a SLURM array gives this process.

    A job array inside of which torchrun starts several processes is shared among all of them. The
    tasks of an array may begin anywhere and go in steps, but should be as many as were asked for.
    """
    share = Share()
    tasks = _whole(environment, "SLURM_ARRAY_TASK_COUNT")
    task = _whole(environment, "SLURM_ARRAY_TASK_ID")
    if tasks and task is not None:
        first = _whole(environment, "SLURM_ARRAY_TASK_MIN") or 0
        step = _whole(environment, "SLURM_ARRAY_TASK_STEP") or 1
        share = Share((task - first) // step % tasks, tasks)
    ranks, rank = _whole(environment, "WORLD_SIZE"), _whole(environment, "RANK")
    if ranks and rank is not None and rank < ranks:
        share = Share(share.index * ranks + rank, share.count * ranks)
    return share


def local_device(devices: int, environment: Mapping[str, str] = os.environ) -> str:
    """Return the CUDA device of this process where a launcher started one for each, else ``auto``.

    Args:
        devices: How many there are here; processes beyond that share them.
        environment: The process's.
    """
    rank = _whole(environment, "LOCAL_RANK")
    return "auto" if rank is None or devices == 0 else f"cuda:{rank % devices}"


def _whole(environment: Mapping[str, str], name: str) -> int | None:
    text = environment.get(name, "")
    return int(text) if text.isdecimal() else None
