"""One process, or those that ``torchrun`` started together, on one device each."""

from __future__ import annotations

import contextlib
import datetime
import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch import distributed as dist

from srkit import torchrun
from srkit.errors import ElsewhereError, InputError, SrkitError, option
from srkit.inference.device import device_named, keep_memory
from srkit.inference.device import has_bf16 as cpu_has_bf16

T = TypeVar("T")

# While one process decodes a large set or compiles, the others wait; by default for ten minutes.
TIMEOUT = datetime.timedelta(hours=3)


@dataclass(frozen=True)
class Processes:
    """This process among those that train together; alone, everything here costs nothing.

    Gradients are averaged by one all-reduce of one flat vector a step, not by
    DistributedDataParallel: two networks whose gradients come from one pass don't fit its rule of
    one backward pass a forward pass, and networks this small have little to overlap.
    """

    device: torch.device  # of this process
    rank: int = 0  # number of this process
    count: int = 1  # number of processes
    precision: str = "fp32"  # what networks compute in: ``fp32``, ``bf16``, ``fp16``
    scaler: torch.amp.GradScaler | None = None  # of fp16's gradients

    @property
    def main(self) -> bool:
        """Whether this process is the one that writes and reports."""
        return self.rank == 0

    def images_at_once(self, batch_size: int, accumulate: int) -> int:
        """Return the images that a process computes at a time.

        InputError: the batch can't be divided equally.
        """
        if batch_size % (self.count * accumulate):
            raise InputError(
                f"batch_size {batch_size} can't be divided equally: {self.count} processes, "
                f"each in {accumulate} parts"
            )
        return batch_size // (self.count * accumulate)

    def scale(self, loss: Tensor) -> Tensor:
        """Return a loss scaled up where fp16's gradients would vanish, else as it is."""
        return loss if self.scaler is None else self.scaler.scale(loss)

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace floating-point tensors by their means over the processes, in place."""
        if self.count == 1 or not tensors:
            return
        flat = torch.cat([tensor.detach().reshape(-1).float() for tensor in tensors])
        with _reached():
            dist.all_reduce(flat)
        flat /= self.count
        parts = flat.split([tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.detach().copy_(part.view(tensor.shape))

    def collect(self, value: T) -> list[T]:
        """Return every process's value, in order; tensors among them are on the CPU."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        with _reached():
            dist.all_gather_object(values, value)
        return values

    def by_main(self, work: Callable[[], T]) -> T:
        """Let the main process do something; all return its result, or raise its error."""
        if self.count == 1:
            return work()
        return cast(T, self.collect(self._agreed(work, self.main))[0])

    def main_first(self, work: Callable[[], T]) -> T:
        """Let every process do the same, the main one before the others; an error is all's."""
        if self.count == 1:
            return work()
        first, then = self._agreed(work, self.main), self._agreed(work, not self.main)
        return cast(T, first if self.main else then)

    def _agreed(self, work: Callable[[], T], mine: bool) -> T | None:
        """Do something if it is this process's turn; an error of one process is raised in all."""
        result, own = None, None
        try:
            result = work() if mine else None
        except Exception as error:
            own = error
        # Some errors can't be pickled, but their text can.
        status = getattr(own, "status", SrkitError.status)
        errors = self.collect(None if own is None else (status, str(own)))
        if own is not None:
            raise own
        for failure in filter(None, errors):
            raise ElsewhereError(*failure)
        return result


@contextlib.contextmanager
def _reached() -> Iterator[None]:
    """Say in one line that another process is gone, as after a kill or a power cut."""
    try:
        yield
    except RuntimeError as error:
        raise SrkitError(
            "another process of this run has ended, or can't be reached; start all again with "
            f"{option('resume', True)} ({str(error).splitlines()[0]:.100})"
        ) from error


def start(device: str = "auto", precision: str = "auto") -> Processes:
    """Join the processes that ``torchrun`` started, or be the only one.

    Each of several processes on CUDA has a device of its own, whatever number ``device`` has. The
    precision ``auto`` is ``bf16`` where all processes have it in hardware, else ``fp32``.
    InputError: there is no such device, or it can't compute in that precision.
    """
    rank, count = torchrun.number("RANK", 0), torchrun.number("WORLD_SIZE", 1)
    if count > 1:
        where = _own_device(device)
        if not dist.is_initialized():
            # Default arguments in there hold the group that exists when it is imported. The first
            # optimiser imports it: the group's threads would then outlive `leave`, and abort the
            # process if they still run when the interpreter ends.
            importlib.import_module("torch.distributed.nn")
            # Objects travel over gloo, so that they need no memory of a GPU.
            backend = "cpu:gloo,cuda:nccl" if where.type == "cuda" else "gloo"
            dist.init_process_group(backend, timeout=TIMEOUT)
    else:
        where = device_named(device)
    if where.type == "cuda" and where.index is not None:
        torch.cuda.set_device(where)  # what names no device would allocate on the first one
    if where.type == "cpu":
        keep_memory()
    if precision == "auto":
        everywhere = all(Processes(where, rank, count).collect(has_bf16(where)))
        precision = "bf16" if everywhere else "fp32"
    if precision == "fp16" and where.type != "cuda":
        raise InputError(f"a {where.type} can't train in fp16; take bf16 or fp32")
    if precision == "bf16" and where.type == "cuda" and not has_bf16(where):
        raise InputError(
            f"{where} can't train in bf16; take fp16 or fp32, or, for a run that began in bf16, "
            "a device that can"
        )
    scaler = torch.amp.GradScaler(where.type) if precision == "fp16" else None
    return Processes(where, rank, count, precision, scaler)


def has_bf16(device: torch.device) -> bool:
    """Return whether a device computes bfloat16 in hardware, by which it is faster."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and cpu_has_bf16()


def _own_device(name: str) -> torch.device:
    """Return the device of one of several processes, before anything is allocated on another."""
    kind, local = name.partition(":")[0], torchrun.number("LOCAL_RANK", 0)
    if kind not in ("auto", "cuda") or (kind == "auto" and not torch.cuda.is_available()):
        return device_named("cpu" if kind == "auto" else name)
    if local >= torch.cuda.device_count():
        raise InputError(f"process {local} of this machine has no CUDA device of its own here")
    return device_named(f"cuda:{local}")


def leave() -> None:
    """Leave the processes that were launched together, as the last thing done; ends threads."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
