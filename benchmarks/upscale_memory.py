"""Peak memory of `srkit upscale` over the bytes of its result, from 1 to 48 megapixels of input.

    python benchmarks/upscale_memory.py [--model NAME] [--megapixels 1 4 12 48] [--json FILE]

Each size is one process: the real command, a JPEG in and a JPEG out. The photograph is
scikit-image's astronaut, repeated. Its peak (``ru_maxrss``) less that of the same command on a
image of 640x480 (six tiles) is what the size of the image costs. That over the bytes by which
the decoded result (3 a pixel) is larger should be the same for all sizes. It can't be below
1 + 4/3 and the input's 1/16: the result is assembled once, and Pillow, which writes it, keeps RGB
in four bytes a pixel.

Without ``--model`` it is a network of 17,000 parameters with random weights (recipe `faces-tiny`),
since time is no matter here: the shipped one's activations are measured by naming it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
from PIL import Image

import srkit
from srkit import registry
from srkit.models import checkpoint

SMALL = (640, 480)
RUN = """
import resource, sys
from srkit.cli import main
status = main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
sys.exit(status)
"""


def tiny(folder: Path) -> Path:
    """Write the small network."""
    recipe = registry.build("recipes", "faces-tiny")
    tensors = checkpoint.prefixed("generator", checkpoint.generator(recipe).state_dict())
    checkpoint.write(folder / "tiny.safetensors", tensors, recipe, 0)
    return folder / "tiny.safetensors"


def photo(file: Path, width: int, height: int) -> Path:
    """Write a JPEG of that size."""
    tile = skimage.data.astronaut()
    down, across = math.ceil(height / 512), math.ceil(width / 512)
    Image.fromarray(np.tile(tile, (down, across, 1))[:height, :width]).save(file, quality=90)
    return file


def peak(file: Path, out: Path, model: str) -> tuple[int, float]:
    """Return the peak resident memory of one command in bytes, and how long it took."""
    command = [sys.executable, "-c", RUN, "upscale", str(file), "-o", str(out)]
    started = time.perf_counter()
    done = subprocess.run(
        [*command, "--model", model, "--device", "cpu"], check=True, capture_output=True, text=True
    )
    return int(done.stdout.split()[-1]), time.perf_counter() - started


def main() -> None:
    """Measure all sizes, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model")
    parser.add_argument("--megapixels", type=float, nargs="+", default=[1, 4, 12, 24, 48])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = arguments.model or str(tiny(folder))
        least, _ = peak(photo(folder / "small.jpg", *SMALL), folder / "small-out.jpg", model)
        scale = srkit.load(model, device="cpu").scale
        small = 3 * SMALL[0] * SMALL[1] * scale**2
        for megapixels in arguments.megapixels:
            width = round(math.sqrt(megapixels * 1e6 * 4 / 3))
            height = round(width * 3 / 4)
            file = photo(folder / "in.jpg", width, height)
            most, seconds = peak(file, folder / "out.jpg", model)
            result = 3 * width * height * scale**2
            rows.append(
                {
                    "input": f"{width}x{height}",
                    "result_bytes": result,
                    "peak_bytes": most,
                    "growth_over_result": round((most - least) / (result - small), 3),
                    "seconds": round(seconds, 1),
                }
            )
            print(json.dumps(rows[-1]), flush=True)
    result = {
        "model": arguments.model or "faces-tiny, random weights",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, no GPU",
        "peak_bytes_of_640x480": least,
        "sizes": rows,
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
