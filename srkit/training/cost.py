"""What a run will cost, measured on its own networks without training them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psutil
import torch
from torch.utils.flop_counter import FlopCounterMode

from srkit import registry
from srkit.data.jitter import jittered
from srkit.data.sampler import Batch
from srkit.errors import InputError, is_in_shell
from srkit.models import checkpoint
from srkit.recipe import Recipe
from srkit.training import distributed
from srkit.training.parts import Parts, build_parts, compile_networks, rehearse
from srkit.training.state import State
from srkit.training.step import step
from srkit.training.validation import Validation

WARM_UP = 3  # steps: the first ones pay for allocation, the choice of kernels, compilation
MIN_STEPS, MIN_SECONDS = 5, 3.0  # of a measurement
FORECAST_FROM = 20  # steps: fewer are done as soon as they could be forecast
LONG = 6 * 3600.0  # seconds on a CPU after which a run is told what else there is


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


def forecast(
    state: State, parts: Parts, held_out: int, seconds: float | None = None
) -> dict[str, float]:
    """Return roughly the ``seconds`` that the rest of a run takes, and its ``memory`` in bytes.

    From a step on random images after another that warms up; the state is put back as it was.
    ``held_out`` is the number of images of a validation; ``seconds`` the time, where it is known.
    """
    recipe, processes = state.recipe, state.processes
    if seconds is None:
        batches = _random_batches(recipe, recipe.batch_size // processes.count, processes.device)
        a_step = seconds_per_step(state, parts, batches, warm_up=1, steps=1, at_least=0.0)
        # A validation is forward passes alone, each about a third of a step.
        validations = held_out / (3 * recipe.batch_size * recipe.validate_every)
        seconds = (recipe.steps - state.step) * a_step * (1 + validations)
    return {"seconds": seconds, "memory": _memory(processes.device)}


def shorter(recipe: Recipe) -> str:
    """Return what makes a long run on a CPU faster."""
    widths = [o for o in registry.options("generators", recipe.generator.name) if o.name == "width"]
    changes: dict[str, Any] = {"steps": recipe.steps // 10}
    if widths:
        changes["generator.width"] = type(widths[0].default)(
            recipe.generator.options.get("width", widths[0].default) / 4
        )
    if is_in_shell():
        how = " or ".join(f"--set {path}={value}" for path, value in changes.items())
        return f"faster: a GPU, --time-budget 2h, {how}; --plan shows the cost of each"
    return f"faster: a GPU, time_budget=7200, or recipe.changed({changes}); see srkit.plan"


def seconds_per_step(
    state: State,
    parts: Parts,
    batches: Iterator[Batch],
    *,
    warm_up: int = WARM_UP,
    steps: int = MIN_STEPS,
    at_least: float = MIN_SECONDS,
) -> float:
    """Return the mean time of a step over a few seconds; the state is put back as it was."""
    wait = getattr(torch, state.processes.device.type).synchronize
    before = state.snapshot()
    state.networks["generator"].train()
    for _ in range(warm_up):
        step(state, parts, next(batches))
    wait()
    began, done, going = time.perf_counter(), 0, True
    while going:
        step(state, parts, next(batches))
        done += 1
        if done % steps == 0:
            wait()
            # Every process must take as many steps as the others.
            going = any(state.processes.collect(time.perf_counter() - began < at_least))
    seconds = (time.perf_counter() - began) / done
    state.restore(before, "measuring")
    return seconds


def steps_within(
    seconds: float, state: State, parts: Parts, batches: Iterator[Batch], validation: Validation
) -> int:
    """Return how many steps fit into a time from now, validations included.

    The state is put back as it was. InputError: not even one step does.
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
