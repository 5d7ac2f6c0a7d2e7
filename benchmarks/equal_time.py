"""Networks of the literature, and what came before them, after equal minutes of training.

    python benchmarks/equal_time.py runs/equal --data CELEBA --minutes 3 --threads 1 \
        --json benchmarks/results/equal_time.json

Each trains on the train split of CELEBA by its own recipe (`srkit train`, framing and degradation
of protocol `paper`, the paper's generator at width 0.25), in the precision that the processor has,
on batches of 32, or of 8 (VDSR, RRDB) and 2 (DRCN) where those take seconds; SRGAN goes on from
SRResNet, as in its paper; what is fitted (`srkit fit`) takes the time it takes. Then all are
benched on the test split by protocol `paper` in float32. FLOPs are two a multiply-add, of one face
of 16x16; milliseconds are of one such face by torch, the median of 30. Goes on where it was
interrupted; `--only-bench` takes what is there.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import machine
import torch
from bare import WEIGHTS
from torch.utils.flop_counter import FlopCounterMode

import srkit

QUARTER = ("--set", "generator.width=0.25")
TRAINED: dict[str, tuple[str, ...]] = {
    "srcnn": (),
    "fsrcnn": (),
    "vdsr": ("--batch-size", "8"),
    "drcn": ("--batch-size", "2"),
    "srresnet": (),
    "srgan": ("--init", "{out}/srresnet"),
    "edsr": (),
    "rrdb": ("--batch-size", "8"),
    "urdgn": (),
    "sparnet-light": (),
    "inception-gan-pixel": QUARTER,
    "inception-gan": (*QUARTER, *(f"--set={path}={w}" for path, w in WEIGHTS.items())),
}
FITTED = ("sparse-coding", "a-plus")
DONE = "equal_time.json"  # in a run's folder: the seconds it took
TIMED = 30
VALIDATED = 20  # photos: of 200, DRCN would need all its minutes


def made(name: str, out: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train or fit one, unless it is there; return how long it took, and its steps."""
    done = out / DONE
    if done.is_file():
        return dict(json.loads(done.read_text(encoding="utf-8")))
    command = [sys.executable, "-m", "srkit", "fit" if name in FITTED else "train", name]
    command += ["--data", arguments.data, "--out", str(out)]
    if name not in FITTED:
        command += ["--val", str(arguments.out / "val"), "--time-budget", f"{arguments.minutes}m"]
        command += [option.format(out=arguments.out) for option in TRAINED[name]]
    environment = {**os.environ, "OMP_NUM_THREADS": str(arguments.threads)}
    began = time.perf_counter()
    subprocess.run(command, check=True, env=environment)
    about = {"seconds": round(time.perf_counter() - began)}
    done.write_text(json.dumps(about), encoding="utf-8")
    return about


def cost(folder: Path) -> dict[str, Any]:
    """Return a network's numbers, FLOPs and milliseconds for one face of 16x16."""
    model = srkit.load(folder, engine="torch", precision="fp32", device="cpu")
    network, lr = model.generator.eval(), torch.rand(1, 3, 16, 16)
    with torch.inference_mode():
        with FlopCounterMode(display=False) as counter:
            network(lr)
        seconds = []
        for _ in range(TIMED):
            began = time.perf_counter()
            network(lr)
            seconds.append(time.perf_counter() - began)
    values = [*network.parameters(), *network.buffers()]
    return {
        "parameters": sum(value.numel() for value in values),
        "flops": counter.get_total_flops(),
        "milliseconds": round(1000 * statistics.median(seconds), 2),
    }


def main() -> None:
    """Train all, bench all, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", default="celeba")
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--only-bench", action="store_true")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows: dict[str, dict[str, Any]] = {}
    (arguments.out / "val").mkdir(parents=True, exist_ok=True)
    for file in sorted((Path(arguments.data) / "val").iterdir())[:VALIDATED]:
        shutil.copy(file, arguments.out / "val")
    for name in (*FITTED, *TRAINED):
        folder = arguments.out / name
        if arguments.only_bench and not (folder / DONE).is_file():
            continue
        rows[name] = made(name, folder, arguments)
    folders = [arguments.out / name for name in rows]
    quality = srkit.bench(folders, data=arguments.data).as_json()["quality"]
    for name, folder in zip(rows, folders, strict=True):
        model = srkit.load(folder)
        rows[name] |= cost(folder) | {"step": model.metadata.get("step")}
    result = {
        **machine.processor(),
        "torch": torch.__version__,
        "threads": arguments.threads,
        "minutes": arguments.minutes,
        "images": len(quality["images"]),
        "protocol": quality["protocol"],
        "summary": {Path(name).name: scores for name, scores in quality["summary"].items()},
        "made": rows,
    }
    print(json.dumps(result["made"], indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
