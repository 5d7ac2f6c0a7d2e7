"""Peak memory of `srkit upscale` over the bytes of its result, from 1 to 48 megapixels of input.

    taskset -c 0 python benchmarks/upscale_memory.py [--formats jpg] [--megapixels 1 3 12 48]

Each row is one process: the real command, a JPEG in and a file of that format out. The photograph
is scikit-image's astronaut, repeated. The process's peak (``VmHWM``, so Linux only) less that of
the same command on an image of 768x768, which has the first tile of full size, is what the size of
the image costs. That over the bytes by which the decoded result (3 a pixel) is larger should be the
same for all sizes. It can't be below 4/3 and the input's 1/16: the result is drawn where Pillow's
encoders read it, in four bytes a pixel. Encoders of WebP and AVIF keep copies of the image. What is
freed and can't be used again, 10 or 20 MB by chance, shows in results of less than 200 megapixels.

Without ``--model`` it is a network of 17,000 parameters with random weights (recipe `faces-tiny`),
since time is no matter here: the shipped one's activations are measured by naming it.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
from machine import processor
from PIL import Image

import srkit
from srkit import registry
from srkit.models import checkpoint

SMALL = (768, 768)
# Not ru_maxrss: a process begins with that of the one that has started it.
RUN = """
import re, sys
from pathlib import Path
from srkit.cli import main
status = main(sys.argv[1:])
print(1024 * int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]))
sys.exit(status)
"""


def tiny(folder: Path) -> Path:
    """Write the small network."""
    recipe = registry.build("recipes", "faces-tiny")
    tensors = checkpoint.prefixed("generator", recipe.build("generator").state_dict())
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
    """Measure all formats and sizes, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model")
    parser.add_argument("--formats", nargs="+", default=["jpg"], help="of results")
    parser.add_argument("--megapixels", type=float, nargs="+", default=[1, 3, 12, 48])
    parser.add_argument("--json", type=Path, help="rows of other sizes and formats in it stay")
    arguments = parser.parse_args()
    name = arguments.model or "faces-tiny, random weights"
    rows: dict[str, Any] = {}
    if arguments.json and arguments.json.is_file():
        rows = json.loads(arguments.json.read_text(encoding="utf-8"))["rows"]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model = arguments.model or str(tiny(folder))
        scale = srkit.load(model, device="cpu").scale
        small = 3 * SMALL[0] * SMALL[1] * scale**2
        for suffix in arguments.formats:
            file = photo(folder / "in.jpg", *SMALL)
            least, _ = peak(file, folder / f"out.{suffix}", model)
            for megapixels in arguments.megapixels:
                width = round(math.sqrt(megapixels * 1e6 * 4 / 3))
                height = round(width * 3 / 4)
                file = photo(folder / "in.jpg", width, height)
                most, seconds = peak(file, folder / f"out.{suffix}", model)
                result = 3 * width * height * scale**2
                row = {
                    "model": name,
                    "result_bytes": result,
                    "peak_bytes": most,
                    "peak_bytes_of_768x768": least,
                    "growth_over_result": round((most - least) / (result - small), 3),
                    "seconds": round(seconds, 1),
                    **processor(),
                }
                rows[f"{suffix}, {width}x{height}"] = row
                print(suffix, json.dumps(row), flush=True)
                if arguments.json:
                    text = json.dumps({"rows": rows}, indent=1) + "\n"
                    arguments.json.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
