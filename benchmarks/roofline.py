"""Share of the processor's own matrix-multiply speed that networks reach, one thread, float32.

    taskset -c 0 python benchmarks/roofline.py [--envs ENVS] [--sizes 16 64] [--json FILE]

The share is what a network computes (two operations a multiply-add, by torch's own counter) over
the time from one 8-bit image to another, over the speed of the fastest float32 product of two
1024x1024 matrices that the libraries here have. Both are measured in turns in one process, as
processor time, since others may be at work on the machine; the share is the median of the turns.
It counts the multiply-adds of plain convolutions, of which Winograd's, say, would save some.

srkit's shipped models run as `srkit.load(...).upscale`, by each engine that is there. Beside them
stand the networks of `peers/`, each as its script runs it and, as there, in an environment of its
own below ENVS; what can't be had is named in the result, and why. Real-ESRGAN's operations are
counted on spandrel's statement of its two networks, with the padding that it computes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from machine import ONE_THREAD, processor

HERE = Path(__file__).parent
MODELS, ENGINES = ("faces", "faces-clean", "faces-x8"), ("torch", "onnxruntime", "openvino")
PEERS = {
    "dat-light": ("dat_light", ()),
    "real-esrgan-x4plus": ("real_esrgan", ("--model", "x4plus")),
    "real-esrgan-animevideov3": ("real_esrgan", ("--model", "animevideov3")),
}
SIDE = 1024  # of the matrices
TURN, MOST = 0.2, 20.0  # seconds: at least of a turn, and after which no further turn begins

Upscale = Callable[[np.ndarray], Any]


def products() -> dict[str, Callable[[], Any]]:
    """Return the product of two matrices by each library that is there."""
    a, b = np.random.default_rng(0).random((2, SIDE, SIDE), np.float32)
    by: dict[str, Callable[[], Any]] = {"numpy": lambda: a @ b}
    try:
        import torch
    except ImportError:
        return by
    torch.set_num_threads(1)
    s, t = torch.from_numpy(a), torch.from_numpy(b)
    return by | {"torch": lambda: s @ t}


def seconds(work: Callable[[], Any]) -> float:
    """Return the processor time of one call, from as many as a turn takes."""
    started, calls = time.process_time(), 0
    while (taken := time.process_time() - started) < TURN:
        work()
        calls += 1
    return taken / calls


def image(side: int) -> np.ndarray:
    """Return a smooth 8-bit image of that side: no network's speed depends on what it shows."""
    wave = np.sin(np.arange(3 * side) / 9)[:, None, None] * np.cos(np.arange(side)[:, None] / 7)
    return ((wave[:side] + np.array([1.0, 1.1, 0.9])) * 80).astype(np.uint8)


def measured(upscale: Upscale, side: int, operations: float, rounds: int) -> dict[str, Any]:
    """Time an image of a size and the matrices in turns."""
    lr, matrices = image(side), products()
    for work in matrices.values():
        work()
    upscale(lr)
    shares, times, peaks, started = [], [], [], time.process_time()
    while len(times) < rounds and (not times or time.process_time() - started < MOST):
        peaks.append(2 * SIDE**3 / min(map(seconds, matrices.values())))
        times.append(seconds(lambda: upscale(lr)))
        shares.append(operations / times[-1] / peaks[-1])
    return {
        "share": round(statistics.median(shares), 3),
        "from_to": [round(min(shares), 3), round(max(shares), 3)],
        "gflop": round(operations / 1e9, 3),
        "ms": round(1e3 * statistics.median(times), 2),
        "peak_gflops": round(statistics.median(peaks) / 1e9, 1),
        "turns": len(times),
    }


def counted(network: Any, side: int) -> float:
    """Return the operations of a network of torch on an image of a size."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, side, side))
    return float(counter.get_total_flops())


def ours(sizes: list[int], rounds: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Measure srkit's shipped models by each engine."""
    import torch

    import srkit
    from srkit.inference.device import keep_memory

    keep_memory(large=False)
    for name in MODELS:
        plain = srkit.load(name, device="cpu")
        operations = {side: counted(plain.generator, side) for side in sizes}
        for engine in ENGINES:
            torch.set_num_threads(1)  # an engine may have set its own
            model = srkit.load(name, device="cpu", engine=engine)
            yield (
                f"srkit {name}, {engine}",
                {
                    f"{side} px": measured(model.upscale, side, operations[side], rounds)
                    for side in sizes
                },
            )


def of_peer(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure a peer, in its environment."""
    sys.path.insert(0, str(HERE / "peers"))
    script, options = PEERS[arguments.peer]
    loaded = argparse.Namespace(threads=1, model=options[-1] if options else None)
    program = import_module(script).load(loaded)
    rows = {}
    for side in arguments.sizes:
        stated = arguments.operations.get(str(side))
        operations = stated or _watched(program.enlarge, side)
        rows[f"{side} px"] = measured(program.enlarge, side, operations, arguments.rounds)
    return rows


def _watched(enlarge: Upscale, side: int) -> float:
    """Return the operations of a call that runs in torch."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        enlarge(image(side))
    return float(counter.get_total_flops())


def real_esrgan(peer: str, sizes: list[int]) -> dict[int, float]:
    """Return the operations of Real-ESRGAN's networks, which run where no torch counts them."""
    from spandrel.architectures import ESRGAN, Compact

    padding = 20  # 10 pixels on each side; see peers/real_esrgan.py
    if peer.endswith("x4plus"):
        network: Any = ESRGAN.ESRGAN(num_filters=64, num_blocks=23, scale=4)
    else:
        network = Compact.Compact(num_feat=64, num_conv=16, upscale=4)
    return {side: counted(network.eval(), side + padding) for side in sizes}


def run_peer(peer: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure a peer in a process of its environment.

    Raises:
        CalledProcessError: It can't be installed, or fails.
    """
    sys.path.insert(0, str(HERE / "peers"))
    import run

    python = run.python_of(peer, arguments.envs)
    operations = {} if peer == "dat-light" else real_esrgan(peer, arguments.sizes)
    command = [python, __file__, "--peer", peer, "--operations", json.dumps(operations)]
    command += ["--rounds", str(arguments.rounds), "--sizes", *map(str, arguments.sizes)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=os.environ | ONE_THREAD)
    rows: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return rows


def main() -> None:
    """Measure all, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--envs", type=Path, help="folder of the peers' environments")
    parser.add_argument("--sizes", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--peer", choices=PEERS, help=argparse.SUPPRESS)
    parser.add_argument("--operations", type=json.loads, default={}, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer:
        print(json.dumps(of_peer(arguments)))
        return
    if os.environ.get("OMP_NUM_THREADS") != "1":
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | ONE_THREAD)
    result: dict[str, Any] = {
        **processor(),
        "clock": "process_time, one thread",
        "versions": {name: version(name) for name in ("numpy", *ENGINES)},
        "programs": {},
        "left_out": {},
    }
    for name, rows in ours(arguments.sizes, arguments.rounds):
        result["programs"][name] = rows
        print(name, json.dumps(rows), flush=True)
    for peer in PEERS:
        try:
            if arguments.envs is None:
                raise ValueError("no --envs given")
            result["programs"][peer] = rows = run_peer(peer, arguments)
            print(peer, json.dumps(rows), flush=True)
        except (ValueError, OSError, subprocess.CalledProcessError) as error:
            result["left_out"][peer] = str(error)
            print(f"{peer}: {error}; left out", file=sys.stderr)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
