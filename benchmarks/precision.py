"""Whether training in bfloat16 ends where float32 does: short runs of `faces` over seeds.

    python benchmarks/precision.py runs/precision --data FACES --val VALIDATION \
        [--steps 250] [--seeds 0 1 2] [--threads 1] [--json benchmarks/results/precision.json]

Each run is `srkit train faces` from its random weights, with a moving average short enough for so
few steps; all that differs is the seed or the precision. PSNR is that of the validation photos at
the end, which `srkit train` computes in float32. A finished run is not done again.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from machine import processor

PRECISIONS = ("fp32", "bf16")
EMA = 0.98  # the recipe's .999 would hold mostly the first weights


def final(folder: Path) -> float | None:
    """Return the last validation's PSNR of a finished run."""
    log = folder / "log.jsonl"
    rows = [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []
    scores = [row["validation"]["psnr"] for row in rows if "validation" in row]
    return float(scores[-1]) if scores and (folder / "model.safetensors").is_file() else None


def run(folder: Path, seed: int, precision: str, arguments: argparse.Namespace) -> float:
    """Train once; return PSNR in dB."""
    if (score := final(folder)) is not None:
        return score
    words = ["train", "faces", "--data", arguments.data, "--val", arguments.val, "--device", "cpu"]
    words += ["--out", folder, "--steps", arguments.steps, "--seed", seed]
    words += ["--precision", precision, "--set", f"ema={EMA}"]
    command = [sys.executable, "-m", "srkit", *map(str, words)]
    threads = {"OMP_NUM_THREADS": str(arguments.threads)}
    subprocess.run(command, check=True, env=os.environ | threads)
    score = final(folder)
    assert score is not None
    return score


def main() -> None:
    """Train all, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--val", required=True)
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    psnr: dict[str, dict[str, float]] = {precision: {} for precision in PRECISIONS}
    for seed in arguments.seeds:
        for precision in PRECISIONS:
            folder = arguments.out / f"{precision}-{seed}"
            psnr[precision][str(seed)] = run(folder, seed, precision, arguments)
            print(precision, seed, psnr[precision][str(seed)], flush=True)
    scores = psnr["fp32"].values()
    result: dict[str, Any] = {
        **processor(),
        "recipe": "faces",
        "steps": arguments.steps,
        "psnr": psnr,
        "spread_of_fp32": round(max(scores) - min(scores), 4),
        "mean_difference": round(
            statistics.mean(psnr["bf16"][seed] - psnr["fp32"][seed] for seed in psnr["fp32"]), 4
        ),
        "largest_difference": round(
            max(abs(psnr["bf16"][seed] - psnr["fp32"][seed]) for seed in psnr["fp32"]), 4
        ),
    }
    print(json.dumps(result, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
