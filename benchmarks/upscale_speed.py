"""Seconds per image of `srkit.load(...).upscale`, against the same network called plainly.

    python benchmarks/upscale_speed.py [--threads 2] [--realesrgan CLONE] [--json FILE]

Every competitor is a process of its own with the same weights, the same images in memory (8-bit
arrays in, 8-bit arrays out) and the same number of threads. They take turns, one at a time, so that
all see the same noise of the machine; ratios are of the times within one round.

- ``contiguous``, ``channels_last``: torch eager, image by image, `torch.inference_mode`, in
  that memory format. Nothing else: what a careful user writes.
- ``srkit``: `Model.upscale` of the list, in a process that keeps freed memory as `srkit upscale`
  does.
- ``onnxruntime``: the file that `srkit export` writes, image by image, whole.
- ``realesrgan``: the class RealESRGANer of a clone of github.com/xinntao/Real-ESRGAN (BSD-3), on a
  compact network (SRVGG, 64 maps, 16 convolutions) with random weights, loaded through spandrel
  here and there. Its file ``utils.py`` alone is imported, with the download helper that it asks of
  basicsr replaced by nothing: its package doesn't install beside a current torchvision. It needs
  ``opencv-python-headless``.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import time
import types
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bare import relative
from torch import nn

import srkit
from srkit import registry
from srkit.inference.device import keep_memory
from srkit.inference.engines import prepared
from srkit.models.load import load

Images = list[np.ndarray]
Work = Callable[[Images], Images]
# Side of the images, how many of them, how many for networks of 100 times the work.
SIZES = ((16, 200, 20), (64, 16, 2), (512, 1, 0))
WARM_UP = 1


def generator(case: str) -> nn.Module:
    """Build a network; the weights of those without any are random, but the same everywhere."""
    if case == "faces":
        return srkit.load("faces", device="cpu").generator
    torch.manual_seed(0)
    if case == "inception-gan":
        made = registry.build("generators", "inception-residual", scale=4)
    elif case == "inception-gan, width 0.25":
        made = registry.build("generators", "inception-residual", scale=4, width=0.25)
    elif case == "faces-tiny":
        made = registry.build("generators", "face-residual", scale=4, width=16, blocks=2)
    else:
        return community()
    with torch.no_grad():
        for module in made.modules():
            if isinstance(module, nn.BatchNorm2d):  # as after training, not the identity
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
    return made.eval()


def community() -> nn.Module:
    """Return the compact network, its random weights through a file and spandrel's detection."""
    with tempfile.TemporaryDirectory() as folder:
        return load(compact_file(Path(folder)), device="cpu").generator


def compact_file(folder: Path) -> Path:
    """Write a compact network's random weights as its authors do."""
    from spandrel.architectures.Compact import Compact

    torch.manual_seed(0)
    network = Compact(num_feat=64, num_conv=16, upscale=4)
    file = folder / "compact.pth"
    torch.save({"params": network.state_dict()}, file)
    return file


def plain(case: str, layout: torch.memory_format) -> Work:
    """Torch eager, image by image."""
    network = generator(case).to(memory_format=layout)

    @torch.inference_mode()
    def work(images: Images) -> Images:
        made = []
        for image in images:
            lr = torch.from_numpy(image).permute(2, 0, 1)[None].float().div_(255)
            sr = network(lr.contiguous(memory_format=layout))
            sr = sr[0].clamp_(0, 1).mul_(255).round_().to(torch.uint8).permute(1, 2, 0)
            made.append(sr.contiguous().numpy())
        return made

    return work


def by_srkit(case: str, engine: str = "torch") -> Work:
    """srkit, as the command line runs it."""
    if engine == "torch":
        keep_memory(large=False)
        return prepared(srkit.Model(case, generator(case), 4), "cpu").upscale
    import onnxruntime

    from srkit.models.export import export

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        export(srkit.Model(case, generator(case), 4), file)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def work(images: Images) -> Images:
        made = []
        for image in images:
            lr = np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32) / 255
            (sr,) = session.run(None, {name: lr})
            made.append((sr[0].clip(0, 1) * 255).round().astype(np.uint8).transpose(1, 2, 0))
        return made

    return work


def by_realesrgan(clone: Path) -> Work:
    """Real-ESRGAN's own loop, tiles of 256 with its margins."""
    package, helper = types.ModuleType("basicsr.utils"), types.ModuleType("download_util")
    helper.load_file_from_url = None  # type: ignore[attr-defined]
    sys.modules |= {"basicsr": types.ModuleType("basicsr"), "basicsr.utils": package}
    sys.modules["basicsr.utils.download_util"] = helper
    spec = importlib.util.spec_from_file_location("theirs", clone / "realesrgan" / "utils.py")
    assert spec is not None
    assert spec.loader is not None
    theirs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(theirs)
    from spandrel.architectures.Compact import Compact

    network = Compact(num_feat=64, num_conv=16, upscale=4)
    with tempfile.TemporaryDirectory() as folder:
        made = theirs.RealESRGANer(
            scale=4,
            model_path=str(compact_file(Path(folder))),
            model=network,
            tile=256,
            half=False,
            device=torch.device("cpu"),
        )

    def work(images: Images) -> Images:
        silence = open(os.devnull, "w")  # noqa: PTH123, SIM115 - it prints each tile
        sys.stdout, before = silence, sys.stdout
        try:
            return [made.enhance(image[..., ::-1])[0][..., ::-1] for image in images]
        finally:
            sys.stdout = before
            silence.close()

    return work


MAKERS: dict[str, Callable[..., Work]] = {
    "contiguous": lambda case: plain(case, torch.contiguous_format),
    "channels_last": lambda case: plain(case, torch.channels_last),
    "srkit": by_srkit,
    "onnxruntime": lambda case: by_srkit(case, "onnx"),
}


def worker(pipe: Connection, who: str, case: str, threads: int, clone: Path | None) -> None:
    """Make one competitor; then time it on the images that come, until None does."""
    torch.set_num_threads(threads)
    work = by_realesrgan(clone) if who == "realesrgan" and clone else MAKERS[who](case)
    pipe.send("ready")
    while (given := pipe.recv()) is not None:
        images, want = given
        started = time.perf_counter()
        made = work(images)
        seconds = time.perf_counter() - started
        pipe.send((seconds, made if want else None))


def compare(case: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Time all competitors on one network, in turns."""
    who = [*MAKERS]
    if case == "compact" and arguments.realesrgan:
        who.append("realesrgan")
    context = multiprocessing.get_context("spawn")
    pipes: dict[str, Connection] = {}
    for each in who:
        pipes[each], theirs = context.Pipe()
        given = (theirs, each, case, arguments.threads, arguments.realesrgan)
        context.Process(target=worker, args=given, daemon=True).start()
        theirs.close()  # so that waiting ends if it fails
        assert pipes[each].recv() == "ready"
    result: dict[str, Any] = {}
    for side, count, fewer in SIZES:
        count = fewer if case == "inception-gan" else count
        if count:
            result[f"{side}x{side}"] = at_size(pipes, side, count, arguments.rounds)
            print(case, f"{side}x{side}", json.dumps(result[f"{side}x{side}"]), flush=True)
    for pipe in pipes.values():
        pipe.send(None)
    return result


def at_size(pipes: dict[str, Connection], side: int, count: int, rounds: int) -> dict[str, Any]:
    """Time images of one size."""
    random = np.random.default_rng(side)
    images = [random.integers(0, 256, (side, side, 3), np.uint8) for _ in range(count)]
    times: dict[str, list[float]] = {who: [] for who in pipes}
    made: dict[str, Images] = {}
    for turn in range(rounds + WARM_UP):
        for who, pipe in pipes.items():
            pipe.send((images, turn == 0))
            seconds, its = pipe.recv()
            if turn == 0:
                made[who] = its
            if turn >= WARM_UP:
                times[who].append(seconds)
    middle = {who: statistics.median(values) for who, values in times.items()}
    plainly = min(("contiguous", "channels_last"), key=middle.__getitem__)
    theirs = [who for who in pipes if who != "srkit"]
    return {
        "images": count,
        "ms_per_image": {who: round(1e3 * value / count, 3) for who, value in middle.items()},
        "ms_a_megapixel_of_input": {
            who: round(1e9 * value / count / side**2, 1) for who, value in middle.items()
        },
        "better_plain": plainly,
        "times_as_fast_as": {
            who: dict(
                zip(("ratio", "quartiles"), relative(times[who], times["srkit"]), strict=True)
            )
            for who in theirs
        },
        "largest_difference_of_255": {
            who: max(
                int(np.abs(a.astype(int) - b).max())
                for a, b in zip(made[who], made["srkit"], strict=True)
            )
            for who in theirs
        },
    }


def main() -> None:
    """Time all networks, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cases", nargs="*")
    parser.add_argument("--realesrgan", type=Path, help="a clone of xinntao/Real-ESRGAN")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    cases = ["faces", "faces-tiny", "inception-gan, width 0.25", "inception-gan", "compact"]
    result: dict[str, Any] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, no GPU",
        "threads": arguments.threads,
        "torch": torch.__version__,
    }
    if arguments.json and arguments.cases and arguments.json.is_file():
        # Of a few networks anew: the others' figures stay.
        result = json.loads(arguments.json.read_text(encoding="utf-8")) | result
    for case in arguments.cases or cases:
        result[case] = compare(case, arguments)
        if arguments.json:
            arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
