"""What a run will cost, measured on its own networks without training them."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from srkit.data.sampler import Batch
from srkit.errors import InputError
from srkit.inference.device import device_named
from srkit.models import checkpoint
from srkit.recipe import Recipe
from srkit.training import distributed as machines
from srkit.training import parts as build
from srkit.training.parts import Parts
from srkit.training.state import State
from srkit.training.step import step
from srkit.training.validation import METRICS, Validation

WARM_UP = 3  # batches: the first ones pay for allocation, the choice of kernels, compilation
LEAST, SECONDS = 5, 3.0  # of batches and of time that a measurement takes at least


@dataclass(frozen=True)
class Plan:
    """What training a recipe costs on this machine.

    Attributes:
        recipe: The recipe.
        device: Where it was measured.
        parameters: By network.
        inference_flops: Multiplications and additions to enlarge one LR picture of the recipe's
            size.
        step_flops: Of one whole step of one process: every pass of every network forward and
            backward.
        memory: Bytes of one step of one process: peak allocation where the device tells it, else
            weights, gradients, moments and what the backward pass keeps, added up.
        memory_measured: Whether the device told it.
        checkpoint: Bytes of one training checkpoint.
        seconds_per_step: Mean over a few seconds.
    """

    recipe: Recipe
    device: torch.device
    parameters: dict[str, int]
    inference_flops: int
    step_flops: int
    memory: int
    memory_measured: bool
    checkpoint: int
    seconds_per_step: float


def plan(recipe: Recipe, *, device: str = "auto", compiled: bool = False) -> Plan:
    """Measure what training a recipe would cost, on random pictures; nothing is written.

    Args:
        recipe: Complete.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        compiled: Compile the networks before the time is taken.

    Raises:
        SrkitError: The recipe's parts don't fit together, or the device can't train it.
    """
    where = None if device == "auto" else device_named(device)
    joined = machines.start(where, recipe.precision, recipe.accumulate)
    joined.require_shares(recipe.batch_size, recipe.accumulate)
    torch.manual_seed(recipe.seed)
    parts = build.parts(recipe, joined.device)
    build.rehearse(recipe, parts, joined.device)
    state = State.of(recipe, parts, joined)
    batches = _random_batches(recipe, recipe.batch_size // joined.count, joined.device)
    parts.generator.train()
    with FlopCounterMode(display=False) as whole:
        step(state, parts, next(batches))
    lr = torch.rand(1, 3, *[recipe.data.size // recipe.scale] * 2, device=joined.device)
    parts.generator.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as inference:
        parts.generator(lr)
    parts.generator.train()
    memory, measured = _memory(state, parts, next(batches))
    if compiled:
        build.compile_networks(parts, joined.device)
    seconds = seconds_per_step(state, parts, batches)
    tensors, _ = state.capture()
    return Plan(
        recipe,
        joined.device,
        {n: sum(p.numel() for p in net.parameters()) for n, net in state.networks.items()},
        inference.get_total_flops(),
        whole.get_total_flops(),
        memory,
        measured,
        sum(tensor.nbytes for tensor in tensors.values()),
        seconds,
    )


def _random_batches(recipe: Recipe, count: int, device: torch.device) -> Iterator[Batch]:
    """Yield batches like those of a feed, of ``count`` pictures."""
    size, lr = recipe.data.stored_size, None
    while True:
        hr = torch.rand(count, 3, size, size, device=device)
        if recipe.data.pairs:
            lr = torch.rand(count, 3, *[size // recipe.scale] * 2, device=device)
        hr = hr.contiguous(memory_format=torch.channels_last)
        yield Batch(hr, torch.arange(count, device=device), lr)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def seconds_per_step(state: State, parts: Parts, batches: Iterator[Batch]) -> float:
    """Return the mean time of a step over a few seconds; the state is put back as it was."""
    device = state.processes.device
    before = state.snapshot()
    state.networks["generator"].train()
    for _ in range(WARM_UP):
        step(state, parts, next(batches))
    _wait(device)
    began, done, going = time.perf_counter(), 0, True
    while going:
        step(state, parts, next(batches))
        done += 1
        if done % LEAST == 0:
            _wait(device)
            # Every process must take as many steps as the others.
            going = state.processes.any(time.perf_counter() - began < SECONDS)
    seconds = (time.perf_counter() - began) / done
    state.restore(before, "measuring")
    return seconds


def steps_within(
    seconds: float,
    state: State,
    parts: Parts,
    batches: Iterator[Batch],
    validation: Validation,
    checkpoint_every: int,
    metrics: Iterable[str] = METRICS,
) -> int:
    """Return how many steps fit into a time, validations and checkpoints included.

    Args:
        seconds: From now.
        state: Put back as it was.
        parts: The recipe's.
        batches: Of the run.
        validation: Of the run.
        checkpoint_every: Steps between two checkpoints.
        metrics: Of a validation.

    Raises:
        InputError: Not one.
    """
    recipe, processes = state.recipe, state.processes
    began, random = time.perf_counter(), checkpoint.rng_state()
    a_step = seconds_per_step(state, parts, batches)
    clock = time.perf_counter()
    at_once = recipe.batch_size // (processes.count * recipe.accumulate)
    sr = validation.enlarge(state.shipped, at_once, processes)
    processes.by_main(lambda: validation.scores(sr, metrics))
    a_validation = time.perf_counter() - clock
    clock = time.perf_counter()
    tensors, metadata = state.capture()

    def save() -> None:
        with tempfile.TemporaryDirectory() as folder:
            checkpoint.write(Path(folder) / "checkpoint", tensors, recipe, 0, metadata)

    processes.by_main(save)
    a_checkpoint = time.perf_counter() - clock
    # The last step is validated and saved whatever its number.
    spent = time.perf_counter() - began + a_validation + a_checkpoint
    least = spent + a_step
    a_step += a_validation / recipe.validate_every + a_checkpoint / checkpoint_every
    checkpoint.restore_rng(*random)

    def fitting() -> int:
        if seconds < least:
            raise InputError(
                f"the time budget is too short: {max(0, seconds):.1f} s are left of it when "
                f"training could begin, and measuring the speed, one step and its validation "
                f"take {least:.1f} s"
            )
        return max(1, int((seconds - spent) / a_step))

    return processes.by_main(fitting)


def _memory(state: State, parts: Parts, batch: Batch) -> tuple[int, bool]:
    """Return (bytes that a step needs, whether the device told so)."""
    device = state.processes.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        step(state, parts, batch)
        return torch.cuda.max_memory_allocated(device), True
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # an output that holds itself would never be freed

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        step(state, parts, batch)
    tensors, _ = state.capture()
    parameters = [p for network in state.networks.values() for p in network.parameters()]
    pointers = {p.untyped_storage().data_ptr() for p in parameters}
    activations = sum(size for pointer, size in kept.items() if pointer not in pointers)
    gradients = sum(p.nbytes for p in parameters)
    return activations + gradients + sum(t.nbytes for t in tensors.values()), False
