"""Time per image of `srkit.load(...).upscale` by each engine, and of the engines called plainly.

    taskset -c 0 python benchmarks/upscale_speed.py [--threads 1] [--rounds 7] [--json FILE]
        [--models faces FILE.pth] [--largest 512] [--torch-only]

All candidates have the same weights and the same images in memory: 8-bit arrays in, 8-bit arrays
out. They take turns in one process, so that all see the same noise of the machine; ratios are of
the times within one round. The process keeps freed memory as `srkit upscale` does. With one thread
a time is that of computing, since others may be at work on the machine; with several it is the
clock's.

- ``torch, contiguous``, ``torch, channels_last``: torch eager in `torch.inference_mode`, in that
  memory format, all images as one batch. Nothing else: what a careful user writes.
- ``onnxruntime``: the file that `srkit export` writes, called likewise.
- ``openvino, fp32``, ``openvino, bf16``: the network converted by OpenVINO, called likewise.
- ``srkit, ENGINE``: `Model.upscale` of the list.

A model may be a file of weights that `srkit_spandrel` reads; of it, the columns of engines that
can't convert it are left out, and named. FILE keeps what it has of other models, if it is of the
same processor.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import openvino
import skimage.data
import torch
from bare import relative
from machine import processor
from PIL import Image

import srkit
from srkit.inference.device import keep_memory

Images = list[np.ndarray]
Work = Callable[[Images], Images]
Network = Callable[[np.ndarray], np.ndarray]  # B3hw to B3HW, float32 in [0, 1]
SIZES = ((1, 16), (64, 16), (1, 64), (1, 256), (1, 512))  # how many images, and their sides
REFERENCE = "torch, channels_last"


def images_of(count: int, side: int) -> Images:
    """Return shifted copies of a photo of that side."""
    photo = Image.fromarray(skimage.data.astronaut()).resize((side, side), Image.Resampling.BOX)
    return [np.roll(np.asarray(photo), shift, axis=1) for shift in range(count)]


def plainly(network: Network) -> Work:
    """Call a network with all images as one batch."""

    def work(images: Images) -> Images:
        lr = np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2), np.float32) / 255
        sr = np.rint(network(lr).clip(0, 1) * 255).astype(np.uint8)
        return [*np.ascontiguousarray(sr.transpose(0, 2, 3, 1))]

    return work


def by_torch(model: str, layout: torch.memory_format) -> Network:
    """Torch eager, in a memory format."""
    network = srkit.load(model, device="cpu").generator.to(memory_format=layout)

    @torch.inference_mode()
    def run(lr: np.ndarray) -> np.ndarray:
        result: np.ndarray = network(torch.from_numpy(lr).contiguous(memory_format=layout)).numpy()
        return result

    return run


def by_onnxruntime(content: bytes) -> Network:
    """ONNX Runtime, on what `srkit export` writes."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda lr: session.run(None, {"lr": lr})[0]  # type: ignore[no-any-return]


def by_openvino(model: str, precision: str) -> Network:
    """OpenVINO, on the network that it converts itself."""
    generator = srkit.load(model, device="cpu").generator
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = openvino.convert_model(generator, example_input=torch.rand(2, 3, 19, 26))
    how = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    compiled = openvino.Core().compile_model(network, "CPU", how)
    return lambda lr: compiled(lr)[0]  # type: ignore[no-any-return]


def candidates(model: str, torch_only: bool) -> dict[str, Work]:
    """Return what is timed on a model; bfloat16 where the processor has it."""
    plain: dict[str, Network] = {
        "torch, contiguous": by_torch(model, torch.contiguous_format),
        "torch, channels_last": by_torch(model, torch.channels_last),
    }
    srkits = {"srkit, torch": srkit.load(model, device="cpu", engine="torch")}
    loaded = srkit.load(model, device="cpu", engine="torch" if torch_only else "onnxruntime")
    if loaded.choice and loaded.choice.engine == "onnxruntime":
        plain["onnxruntime"] = by_onnxruntime(loaded.onnx())
        srkits["srkit, onnxruntime"] = loaded
        precisions = {"fp32": "f32"}
        if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            precisions["bf16"] = "bf16"
        for name, hint in precisions.items():
            plain[f"openvino, {name}"] = by_openvino(model, hint)
            srkits[f"srkit, openvino, {name}"] = srkit.load(
                model, engine="openvino", precision=name
            )
    else:
        print(f"{model}: torch only, {loaded.choice and loaded.choice.why}", flush=True)
    return {
        **{who: plainly(network) for who, network in plain.items()},
        **{who: loaded.upscale for who, loaded in srkits.items()},
    }


def measure(
    who: dict[str, Work], images: Images, rounds: int, clock: Callable[[], float]
) -> dict[str, Any]:
    """Time all candidates on the same images, in turns."""
    results = {name: np.stack(work(images)).astype(int) for name, work in who.items()}  # warms up
    repeats = max(1, (1 << 12) // (len(images) * images[0].shape[0] ** 2))
    times: dict[str, list[float]] = {name: [] for name in who}
    for _ in range(rounds):
        for name, work in who.items():
            started = clock()
            for _ in range(repeats):
                work(images)
            times[name].append((clock() - started) / repeats)
    measured = {}
    for name, seconds in times.items():
        ratio, quartiles = relative(times[REFERENCE], seconds)
        difference = np.abs(results[name] - results[REFERENCE])
        measured[name] = {
            "ms_per_image": round(1e3 * statistics.median(seconds) / len(images), 3),
            "speed_over_reference": ratio,
            "quartiles": quartiles,
            "levels_from_reference": {
                "mean": round(float(difference.mean()), 4),
                "largest": int(difference.max()),
            },
        }
    return measured


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--models", nargs="*", default=["faces", "faces-clean"])
    parser.add_argument("--largest", type=int, default=512, help="largest side of an image")
    parser.add_argument("--torch-only", action="store_true", help="don't convert to ONNX")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_memory(large=False)
    clock = time.process_time if arguments.threads == 1 else time.perf_counter
    result: dict[str, Any] = {
        **processor(),
        "threads": arguments.threads,
        "rounds": arguments.rounds,
        "clock": clock.__name__,
        "versions": {name: version(name) for name in ("torch", "onnxruntime", "openvino")},
        "reference": REFERENCE,
        "models": {},
    }
    if arguments.json and arguments.json.exists():
        before = json.loads(arguments.json.read_text(encoding="utf-8"))
        if all(before[key] == result[key] for key in ("processor", "flags", "threads", "versions")):
            result["models"] = before["models"]
    for model in arguments.models:
        who = candidates(model, arguments.torch_only)
        measured = result["models"][Path(model).stem] = {}
        for count, side in SIZES:
            if side > arguments.largest:
                continue
            size = f"{count} x {side} px"
            measured[size] = measure(who, images_of(count, side), arguments.rounds, clock)
            print(model, size, json.dumps(measured[size], indent=1), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
