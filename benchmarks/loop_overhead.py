"""What `srkit train` costs over a bare loop, and what it gains over a usual one.

    python benchmarks/loop_overhead.py --data CELEBA [--json benchmarks/results/loop_overhead.json]

Three loops with the same networks, losses, optimisers, batch, threads and memory format:

- *srkit*: `srkit.train` itself, lines of its log included (no validation, no checkpoint).
- *bare*: degrade a batch that is in memory already, forward, backward, step; nothing else. No
  sampling, no flips, no counting, no finite check, no log.
- *usual*: torch's DataLoader with worker processes that decode JPEGs, resize and degrade them
  image by image with Pillow and NumPy, and the bare step.

srkit's and the bare loop take turns of a few steps within one run, so that both see the same
noise of the machine; the ratio is the median over the turns. The usual loop runs right after.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bare import bare_step, relative
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

import srkit
from srkit import registry
from srkit.data import sources
from srkit.imaging import codec
from srkit.inference.device import device_named
from srkit.recipe import Recipe

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "inception-gan, width 0.25": (
        "inception-gan",
        {"generator.width": 0.25, "discriminator.width": 0.25},
    ),
    "face-residual, 20k parameters": (
        "faces",
        {"generator.width": 18, "generator.blocks": 2, "ema": 0.0},
    ),
}
WANTED = {"inception-gan, width 0.25": 0.95, "face-residual, 20k parameters": 0.85}


def batches_in_memory(
    files: list[Path], recipe: Recipe, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (hr, noise seeds), a few batches of real photos over and over."""
    made = []
    for number in range(8):
        chosen = files[number * recipe.batch_size : (number + 1) * recipe.batch_size]
        images = [frame(file, recipe) for file in chosen]
        hr = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float().div(255)
        hr = hr.to(device).contiguous(memory_format=torch.channels_last)
        made.append((hr, torch.arange(len(hr), device=device) + number))
    return itertools.cycle(made)


def frame(file: Path, recipe: Recipe) -> np.ndarray:
    """Decode, frame and resize a photo as srkit does."""
    with Image.open(file) as image:
        return np.array(codec.frame(image.convert("RGB"), recipe.data.framing, recipe.data.size))


class Usual(Dataset[tuple[Tensor, Tensor]]):
    """Decodes, frames and degrades an image at a time, as most training code does."""

    def __init__(self, files: list[Path], recipe: Recipe) -> None:
        self.files, self.recipe = files, recipe

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        hr = frame(self.files[index], self.recipe)
        side = self.recipe.data.size // self.recipe.scale
        small = Image.fromarray(hr).resize((side, side), Image.Resampling.BICUBIC)
        noisy = np.asarray(small, dtype=np.float32) / 255
        noisy = noisy + np.random.normal(0, 0.02, noisy.shape).astype(np.float32)
        lr = np.round(noisy.clip(0, 1) * 255) / 255
        return (
            torch.from_numpy(hr).permute(2, 0, 1).float() / 255,
            torch.from_numpy(lr).permute(2, 0, 1).float(),
        )


def forever(loader: DataLoader[Any]) -> Iterator[Any]:
    """Yield a loader's batches epoch after epoch."""
    while True:
        yield from loader


def measure(
    name: str, changes: dict[str, Any], files: list[Path], arguments: argparse.Namespace
) -> dict[str, Any]:
    """Time the three loops for one recipe."""
    device = device_named(arguments.device)
    turns, size = arguments.turns, arguments.steps
    recipe: Recipe = registry.build("recipes", name).changed(
        {**changes, "steps": size * (turns + 2) + 1, "validate_every": 10**6}
    )
    step = bare_step(recipe, device)
    memory = batches_in_memory(files, recipe, device)

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    ours: list[float] = []
    bare: list[float] = []
    left = [0.0]

    def report(record: Mapping[str, Any]) -> None:
        """End srkit's turn, and let the bare loop have one."""
        if "losses" not in record:
            return
        wait()
        now = time.perf_counter()
        if record["step"] > 2 * size:  # the first turns pay for allocation and kernel choice
            ours.append(now - left[0])
        began = time.perf_counter()
        for _ in range(size):
            hr, seeds = next(memory)
            step(hr, seeds=seeds)
        wait()
        if record["step"] > 2 * size:
            bare.append(time.perf_counter() - began)
        left[0] = time.perf_counter()

    with tempfile.TemporaryDirectory() as folder:
        srkit.train(
            recipe,
            data=arguments.data,
            out=Path(folder) / "run",
            device=arguments.device,
            log_every=size,
            checkpoint_every=10**6,
            report=report,
        )
    ours, bare = ours[:turns], bare[:turns]  # the last line of the log is of one step
    of_bare, quartiles = relative(bare, ours)

    loader = DataLoader(
        Usual(files, recipe),
        recipe.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=arguments.workers,
        persistent_workers=True,
    )
    stream = forever(loader)
    usual: list[float] = []
    for turn in range(turns // 3 + 1):
        began = time.perf_counter()
        for _ in range(size):
            hr, lr = (t.to(device) for t in next(stream))
            step(hr.contiguous(memory_format=torch.channels_last), lr=lr)
        wait()
        if turn:
            usual.append(time.perf_counter() - began)
    images = recipe.batch_size * size
    return {
        "generator_parameters": sum(p.numel() for p in recipe.build("generator").parameters()),
        "batch_size": recipe.batch_size,
        "images_per_second": {
            "srkit": round(images / statistics.median(ours), 1),
            "bare": round(images / statistics.median(bare), 1),
            "usual": round(images / statistics.median(usual), 1),
        },
        "of_bare": of_bare,
        "of_bare_quartiles": quartiles,
        "of_usual": round(statistics.median(usual) / statistics.median(ours), 3),
    }


def main() -> None:
    """Time all cases, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="celeba")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--turns", type=int, default=24)
    parser.add_argument("--steps", type=int, default=20, help="a turn")
    parser.add_argument("--workers", type=int, default=2, help="of the usual loop")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    files = sources.split_files(sources.locate(arguments.data))
    device = device_named(arguments.device)
    result: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "workers": arguments.workers,
        "torch": torch.__version__,
        "srkit": srkit.__version__,
    }
    for case, (name, changes) in CASES.items():
        result[case] = measure(name, changes, files, arguments)
        wanted = WANTED[case]
        print(f"{case}: {result[case]}  (at least {wanted} of bare is wanted)", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
