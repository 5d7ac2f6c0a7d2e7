"""One process or many on one device each, by Hugging Face accelerate."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.tracking import get_available_trackers
from accelerate.utils import (
    GradientAccumulationPlugin,
    InitProcessGroupKwargs,
    LoggerType,
    broadcast_object_list,
    gather_object,
)
from torch import Tensor

from srkit.errors import InputError, SrkitError, nearest
from srkit.inference.memory import keep_memory

T = TypeVar("T")

# While one process decodes a large set or compiles, the others wait; by default for ten minutes.
PATIENCE = datetime.timedelta(hours=3)
# What accelerate calls each precision of a recipe.
PRECISIONS = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}


@dataclass(frozen=True)
class Failure:
    """What one process failed with, as the others are told.

    Not the exception itself: some can't be pickled, and some not be made from their text.
    """

    kind: type[SrkitError]
    text: str

    @classmethod
    def of(cls, error: Exception | None, rank: int) -> Failure | None:
        """Return what the others are told of an error, if there was one."""
        if error is None:
            return None
        if isinstance(error, SrkitError):
            return cls(type(error), str(error))
        return cls(SrkitError, f"process {rank} failed: {error!r}")

    def error(self) -> SrkitError:
        """Return an error of the same kind and words, ``elsewhere`` set: another says it."""
        error = self.kind.__new__(self.kind)
        error.args = (self.text,)
        error.elsewhere = True  # type: ignore[attr-defined]
        return error


def _tried(work: Callable[[], T]) -> tuple[T | None, Exception | None]:
    try:
        return work(), None
    except Exception as error:
        return None, error


@dataclass(frozen=True)
class Processes:
    """This process among those that train together; alone, everything here costs nothing.

    Gradients are averaged by one all-reduce of one flat vector a step, not by
    DistributedDataParallel: two networks whose gradients come from one pass don't fit its rule of
    one backward pass a forward pass, and networks this small have little to overlap.

    Attributes:
        accelerator: Hugging Face's.
        device: Of this process.
    """

    accelerator: Accelerator
    device: torch.device

    @property
    def rank(self) -> int:
        """This process's number, from 0."""
        return int(self.accelerator.process_index)

    @property
    def count(self) -> int:
        """How many there are."""
        return int(self.accelerator.num_processes)

    @property
    def main(self) -> bool:
        """Whether this is the one that writes and reports."""
        return self.rank == 0

    def require_shares(self, batch_size: int, accumulate: int) -> None:
        """See that a batch can be divided equally among the processes and their parts.

        Raises:
            InputError: It can't.
        """
        if batch_size % (self.count * accumulate):
            raise InputError(
                f"batch_size {batch_size} can't be divided equally: {self.count} processes, "
                f"each in {accumulate} parts"
            )

    def autocast(self) -> AbstractContextManager[Any]:
        """Return a context in which networks compute in the run's precision."""
        context: AbstractContextManager[Any] = self.accelerator.autocast()
        return context

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace floating-point tensors by their means over the processes, in place."""
        if self.count == 1 or not tensors:
            return
        flat = torch.cat([tensor.detach().reshape(-1).float() for tensor in tensors])
        torch.distributed.all_reduce(flat)
        flat /= self.count
        parts = flat.split([tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.detach().copy_(part.view(tensor.shape))

    def gather(self, tensor: Tensor) -> Tensor:
        """Return all processes' tensors (of one shape) one after another along dimension 0."""
        if self.count == 1:
            return tensor
        result: Tensor = self.accelerator.gather(tensor.contiguous())
        return result

    def collect(self, value: T) -> list[T]:
        """Return every process's value, in order."""
        if self.count == 1:
            return [value]
        found: list[T] = gather_object([value])
        return found

    def any(self, flag: bool) -> bool:
        """Return whether any process says yes; all must ask."""
        return any(self.collect(flag))

    def by_main(self, work: Callable[[], T]) -> T:
        """Let the main process do something, and give all what came of it, errors included."""
        if self.count == 1:
            return work()
        result, error = _tried(work) if self.main else (None, None)
        told: list[Any] = [(result, Failure.of(error, self.rank))]
        broadcast_object_list(told)
        found, failure = told[0]
        if error is not None:
            raise error
        if failure is not None:
            raise failure.error()
        done: T = found
        return done

    def main_first(self, work: Callable[[], T]) -> T:
        """Let every process do the same, the main one before the others; an error is all's."""
        if self.count == 1:
            return work()
        result: T | None = None
        for mine in (self.main, not self.main):
            found, error = _tried(work) if mine else (None, None)
            failures = self.collect(Failure.of(error, self.rank))
            if error is not None:
                raise error
            for failure in failures:
                if failure is not None:
                    raise failure.error()
            result = found if mine else result
        assert result is not None
        return result

    def start_trackers(self, name: str, settings: dict[str, Any]) -> None:
        """Begin a run with the experiment trackers there are.

        Raises:
            InputError: One can't: it wants a login, say.
        """
        try:
            self.accelerator.init_trackers(name, settings)
        except Exception as error:  # each tracker has its own kinds
            raise InputError(f"can't log with {self.accelerator.log_with}: {error}") from error

    def end_trackers(self) -> None:
        """Let the trackers write what they still hold."""
        for tracker in self.accelerator.trackers:
            tracker.finish()


def leave() -> None:
    """Part from the processes that were launched together, as the last thing done."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def start(
    device: torch.device | None,
    precision: str = "fp32",
    accumulate: int = 1,
    *,
    trackers: Sequence[str] = (),
    folder: Path | None = None,
) -> Processes:
    """Join the processes that were launched together, or be the only one.

    ``torchrun`` and ``accelerate launch`` say through the environment who takes part.

    Args:
        device: Where to compute; None for what is best here. Of several processes on CUDA each
            has its own whatever is said, but for ``cpu``.
        precision: ``fp32``, ``bf16``, ``fp16``.
        accumulate: Backward passes a batch, by which each is divided.
        trackers: Names of experiment trackers that accelerate knows.
        folder: Where trackers that write files do so.

    Raises:
        InputError: The device can't compute in that precision, or a tracker isn't there.
    """
    _require_trackers(trackers)
    told = os.environ.get("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "1")
    if told not in ("1", str(accumulate)):  # 1 is also what launchers say if not told
        raise InputError(
            f"ACCELERATE_GRADIENT_ACCUMULATION_STEPS is {told}, and the recipe's accumulate "
            f"{accumulate}: set one of them"
        )
    # accelerate keeps one state a process. An earlier run here may have had another device or
    # precision; only processes that already talk to each other must stay as they are.
    talking = torch.distributed.is_available() and torch.distributed.is_initialized()
    AcceleratorState._reset_state(reset_partial_state=not talking)
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    on_cpu = device is not None and device.type == "cpu"
    if device is None and launched > 1:  # accelerate wants to be told, or each would be alone
        on_cpu = not (torch.cuda.is_available() or torch.xpu.is_available())
    try:
        accelerator = Accelerator(
            cpu=on_cpu,
            mixed_precision=PRECISIONS[precision],
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=accumulate),
            device_placement=False,
            log_with=list(trackers) or None,
            project_dir=folder,
            kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
        )
    except ValueError as error:
        where = device or "this device"
        raise InputError(f"{where} can't train in {precision}: {error}") from error
    chosen = accelerator.device
    if launched > 1 and accelerator.num_processes == 1:  # each would write what the others do
        raise InputError(f"{launched} processes were launched, and {chosen} is for one alone")
    if chosen.type == "cuda" and accelerator.num_processes > 1:
        torch.cuda.set_device(chosen)
    if device is not None and accelerator.num_processes == 1:
        chosen = device
    if chosen.type == "cpu":
        if precision == "fp16":  # accelerate would train in float32 without a word
            raise InputError("a cpu can't train in fp16; take bf16 or fp32")
        keep_memory()
    return Processes(accelerator, torch.device(chosen))


def _require_trackers(names: Sequence[str]) -> None:
    known = {str(each.value): each for each in LoggerType if each != LoggerType.ALL}
    for name in names:
        if name not in known:
            raise InputError(
                f"unknown tracker '{name}'{nearest(name, known)}; known: {', '.join(known)}"
            )
        if known[name] not in get_available_trackers():
            raise InputError(f"tracker '{name}' is not installed here: pip install {name}")
