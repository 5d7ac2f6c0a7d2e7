"""Scenario 1 at width 0.25 for 15 minutes on a CPU: how far beyond bicubic?

    python benchmarks/pixel_scenario.py --data CELEBA --out runs/pixel-15min \
        --json benchmarks/results/pixel_scenario.json

Measures the speed over a few batches, chooses the number of batches that fits into the minutes
(the learning-rate schedule is the paper's, counted in batches), trains through
`srkit train inception-gan-pixel --set generator.width=0.25`, and benches on the test split.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

import srkit

TRIAL = 60  # batches


def trained(arguments: argparse.Namespace, out: Path, steps: int) -> float:
    """Train by command line; return the seconds it took, start and validations included."""
    command = [sys.executable, "-m", "srkit", "train", "inception-gan-pixel"]
    command += ["--set", "generator.width=0.25", "--data", arguments.data]
    command += ["--steps", str(steps), "--out", str(out)]
    started = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - started


def main() -> None:
    """Train for the minutes given, bench, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="celeba")
    parser.add_argument("--out", type=Path, default=Path("runs/pixel-15min"))
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    shutil.rmtree(arguments.out, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        # Two trials tell the start-up, which the long run has only once, from the batches.
        short = trained(arguments, Path(folder) / "short", TRIAL)
        long = trained(arguments, Path(folder) / "long", 3 * TRIAL)
    per_batch = (long - short) / (2 * TRIAL)
    steps = int((60 * arguments.minutes - (short - TRIAL * per_batch)) / per_batch * 0.95)
    seconds = trained(arguments, arguments.out, steps)
    report = srkit.bench([arguments.out], data=arguments.data)
    quality = report.as_json()["quality"]
    result = {
        "steps": steps,
        "seconds": round(seconds),
        "threads": torch.get_num_threads(),
        "protocol": quality["protocol"],
        "methods": {
            "trained" if name != "bicubic" else name: scores
            for name, scores in quality["summary"].items()
        },
    }
    print(json.dumps(result, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
