"""Images a second of one training step, contiguous against channels_last, on one device.

    python benchmarks/training_step.py [--device cuda] [--json FILE]

The same recipe, networks and batch, steps of both layouts taken in turns, so that both see the
same noise of the machine; the ratio is what counts. `srkit train` uses channels_last.
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

from srkit import registry
from srkit.inference.device import device_named
from srkit.recipe import Recipe

CASES = {
    "faces": ("faces", {}),
    "inception-gan-pixel, width 0.25": ("inception-gan-pixel", {"generator.width": 0.25}),
    "inception-gan, width 0.25": (
        "inception-gan",
        {"generator.width": 0.25, "discriminator.width": 0.25},
    ),
}


def stepper(
    recipe: Recipe, device: torch.device, layout: torch.memory_format
) -> Callable[[], None]:
    """Return a function that takes one training step in a memory format."""
    take = bare_step(recipe, device, layout=layout)
    side = recipe.data.size
    hr = torch.rand(recipe.batch_size, 3, side, side, device=device)
    hr = hr.contiguous(memory_format=layout)
    seeds = torch.arange(recipe.batch_size, device=device)

    def step() -> None:
        take(hr, seeds=seeds)
        if device.type == "cuda":
            torch.cuda.synchronize()

    return step


def main() -> None:
    """Time all cases, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    device = device_named(arguments.device)
    result: dict[str, object] = {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    for case, (name, changes) in CASES.items():
        recipe = registry.build("recipes", name).changed(changes)
        layouts = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
        steps = {key: stepper(recipe, device, layout) for key, layout in layouts.items()}
        times: dict[str, list[float]] = {key: [] for key in steps}
        for round_ in range(arguments.rounds + 3):
            for key, step in steps.items():
                started = time.perf_counter()
                step()
                if round_ >= 3:  # the first ones pay for allocation and kernel choice
                    times[key].append(time.perf_counter() - started)
        middle = {key: statistics.median(values) for key, values in times.items()}
        speeds = {key: round(recipe.batch_size / value, 1) for key, value in middle.items()}
        faster, quartiles = relative(times["contiguous"], times["channels_last"])
        result[case] = {
            "images_per_second": speeds,
            "ratio": faster,
            "ratio_quartiles": quartiles,
        }
        print(case, result[case], flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
