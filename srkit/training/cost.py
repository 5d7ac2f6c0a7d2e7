"""What a run will cost, measured on its own networks without training them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass

import psutil
import torch
from torch.utils.flop_counter import FlopCounterMode

from srkit.data.jitter import jittered
from srkit.data.sampler import Batch
from srkit.errors import InputError
from srkit.models import checkpoint
from srkit.recipe import Recipe
from srkit.training import distributed
from srkit.training.parts import Parts, build_parts, compile_networks, rehearse
from srkit.training.state import State
from srkit.training.step import step
from srkit.training.validation import Validation

WARM_UP = 3  # steps: the first ones pay for allocation, the choice of kernels, compilation
MIN_STEPS, MIN_SECONDS = 5, 3.0  # of a measurement


@dataclass(frozen=True)
class Plan:
    """What training a recipe costs on this machine.

    Attributes:
        recipe: The recipe, with the precision it was measured in.
        device: Where it was measured.
        parameters: Number of weights by network.
        flops: Multiplications and additions to upscale one LR image of the recipe's size.
        memory: Bytes of one process: peak allocation on a CUDA device, else the whole process.
        seconds_per_step: Mean over a few seconds.
    """

    recipe: Recipe
    device: torch.device
    parameters: dict[str, int]
    flops: int
    memory: int
    seconds_per_step: float


def plan(recipe: Recipe, *, device: str = "auto", compiled: bool = False) -> Plan:
    """Measure what training a recipe would cost, on random images; nothing is written.

    Raises:
        SrkitError: The recipe's parts don't fit together, or the device can't train it.
    """
    processes = distributed.start(device, recipe.precision)
    recipe = recipe.changed({"precision": processes.precision})
    processes.images_at_once(recipe.batch_size, recipe.accumulate)
    torch.manual_seed(recipe.seed)
    parts = build_parts(recipe, processes.device)
    rehearse(recipe, parts, processes.device)
    lr = torch.rand(1, 3, *[recipe.data.size // recipe.scale] * 2, device=processes.device)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        parts.generator.eval()(lr)
    if compiled:
        compile_networks(parts, processes.device)
    state = State.of(recipe, parts, processes)
    batches = _random_batches(recipe, recipe.batch_size // processes.count, processes.device)
    seconds = seconds_per_step(state, parts, batches)
    return Plan(
        recipe,
        processes.device,
        {n: sum(p.numel() for p in net.parameters()) for n, net in state.networks.items()},
        counter.get_total_flops(),
        _memory(processes.device),
        seconds,
    )


def _memory(device: torch.device) -> int:
    """Return the bytes that training has taken so far."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    memory: int = psutil.Process().memory_info().rss
    return memory


def _random_batches(recipe: Recipe, count: int, device: torch.device) -> Iterator[Batch]:
    """Yield batches of ``count`` images like those of a loader."""
    size, lr = recipe.data.stored_size, None
    for number in itertools.count():
        hr = torch.rand(count, 3, size, size, device=device)
        if recipe.data.pairs:
            lr = torch.rand(count, 3, *[size // recipe.scale] * 2, device=device)
        hr = hr.contiguous(memory_format=torch.channels_last)
        batch = Batch(hr, torch.arange(count, device=device), lr)
        yield jittered(batch, recipe, number) if recipe.data.framing == "jitter" else batch


def seconds_per_step(state: State, parts: Parts, batches: Iterator[Batch]) -> float:
    """Return the mean time of a step over a few seconds; the state is put back as it was."""
    wait = getattr(torch, state.processes.device.type).synchronize
    before = state.snapshot()
    state.networks["generator"].train()
    for _ in range(WARM_UP):
        step(state, parts, next(batches))
    wait()
    began, done, going = time.perf_counter(), 0, True
    while going:
        step(state, parts, next(batches))
        done += 1
        if done % MIN_STEPS == 0:
            wait()
            # Every process must take as many steps as the others.
            going = any(state.processes.collect(time.perf_counter() - began < MIN_SECONDS))
    seconds = (time.perf_counter() - began) / done
    state.restore(before, "measuring")
    return seconds


def steps_within(
    seconds: float, state: State, parts: Parts, batches: Iterator[Batch], validation: Validation
) -> int:
    """Return how many steps fit into a time from now, validations included.

    The state is put back as it was.

    Raises:
        InputError: Not even one does.
    """
    began, rng = time.perf_counter(), checkpoint.rng_state()
    a_step = seconds_per_step(state, parts, batches)
    stepped = time.perf_counter()
    validation.measure(state)
    checkpoint.restore_rng(*rng)
    a_validation = time.perf_counter() - stepped
    # The last step is validated whatever its number.
    spent = stepped - began + 2 * a_validation

    def fitting() -> int:
        if seconds < spent + a_step:
            raise InputError(
                f"the time budget is too short: {max(0, seconds):.1f} s are left of it when "
                f"training could begin, and measuring the speed, one step and its validation "
                f"take {spent + a_step:.1f} s"
            )
        each = a_step + a_validation / state.recipe.validate_every
        return max(1, int((seconds - spent) / each))

    return state.processes.by_main(fitting)
