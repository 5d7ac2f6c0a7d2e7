"""Images a second of one training step by memory layout and precision, on one device.

    python benchmarks/training_step.py [--device cuda] [--threads N] [--json FILE]

The same recipe, networks and batch; the ways take turns, so that all see the same noise of the
machine: the ratios count. `srkit train` uses channels_last. Where a processor has no bfloat16 in
hardware, its row says what software costs, and why `--precision auto` takes float32 there. With
one thread on a CPU the clock is the process's own time, which other programs don't change.
FILE has an entry a processor; those of others stay.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from bare import bare_step, relative
from machine import processor

from srkit import registry
from srkit.inference.device import device_named, keep_memory
from srkit.recipe import Recipe
from srkit.training.distributed import has_bf16

CASES = {
    "faces": ("faces", {}),
    "inception-gan-pixel, width 0.25": ("inception-gan-pixel", {"generator.width": 0.25}),
    "inception-gan, width 0.25": (
        "inception-gan",
        {"generator.width": 0.25, "discriminator.width": 0.25},
    ),
}
WAYS = {
    "fp32": (torch.channels_last, None),
    "fp32, contiguous": (torch.contiguous_format, None),
    "bf16": (torch.channels_last, torch.bfloat16),
}
WARM_UP = 2  # rounds, which pay for allocation and the choice of kernels


def stepper(
    recipe: Recipe, device: torch.device, layout: torch.memory_format, dtype: torch.dtype | None
) -> Callable[[], None]:
    """Return a function that takes one training step."""
    take = bare_step(recipe, device, layout=layout, dtype=dtype)
    side = recipe.data.size
    hr = torch.rand(recipe.batch_size, 3, side, side, device=device)
    hr = hr.contiguous(memory_format=layout)
    seeds = torch.arange(recipe.batch_size, device=device)

    def step() -> None:
        take(hr, seeds=seeds)
        if device.type == "cuda":
            torch.cuda.synchronize()

    return step


def name_of(device: torch.device) -> str:
    """Return what a processor or a GPU calls itself."""
    if device.type == "cuda":
        return torch.cuda.get_device_name()
    here = processor()
    family = f", family {here['family']}" if here["family"] else ""
    return f"{here['processor']}{family}"


def measured(recipe: Recipe, device: torch.device, rounds: int, clock: Callable[[], float]) -> dict:
    """Return images a second of each way, and its speed over the first one's."""
    steps = {way: stepper(recipe, device, *kind) for way, kind in WAYS.items()}
    times: dict[str, list[float]] = {way: [] for way in steps}
    for round_ in range(rounds + WARM_UP):
        for way, step in steps.items():
            started = clock()
            step()
            if round_ >= WARM_UP:
                times[way].append(clock() - started)
    result = {}
    for way, seconds in times.items():
        ratio, quartiles = relative(times["fp32"], seconds)
        speed = round(recipe.batch_size / statistics.median(seconds), 1)
        result[way] = {"images_per_second": speed, "over_fp32": ratio, "quartiles": quartiles}
    return result


def main() -> None:
    """Time all cases, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    device = device_named(arguments.device)
    torch.set_num_threads(arguments.threads)
    if device.type == "cpu":
        keep_memory()
    alone = device.type == "cpu" and arguments.threads == 1
    clock = time.process_time if alone else time.perf_counter
    entry: dict[str, object] = {
        "flags": processor()["flags"] if device.type == "cpu" else [],
        "bf16_in_hardware": has_bf16(device),
        "threads": arguments.threads,
        "clock": clock.__name__,
        "torch": torch.__version__,
    }
    for case, (name, changes) in CASES.items():
        recipe = registry.build("recipes", name).changed(changes)
        entry[case] = measured(recipe, device, arguments.rounds, clock)
        print(case, entry[case], flush=True)
    if file := arguments.json:
        results = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        text = json.dumps(results | {name_of(device): entry}, indent=1)
        file.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
