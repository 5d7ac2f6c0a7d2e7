"""OpenVINO as an engine: any model as ONNX, in float32 or, faster, in bfloat16."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable
from typing import Any

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when it is imported

import numpy as np
import onnxruntime
import openvino

from srkit import InputError, Model
from srkit.inference.device import threads

TOLERANCE = 1e-4  # largest difference from ONNX Runtime in units of [0, 1]
# What is compared: sides with and without common divisors, so that a network whose steps depend
# on the image's size is noticed.
SIZES = ((1, 3, 16, 8), (2, 3, 9, 13))
HINTS = {"fp32": "f32", "bf16": "bf16"}
Run = Callable[[np.ndarray, str], np.ndarray]


class OpenVino:
    """OpenVINO on the CPU, in as many threads as torch uses.

    Attributes:
        cpu_precisions: ``("bf16",)`` where OpenVINO states that this CPU can.
    """

    devices: tuple[str, ...] = ("cpu",)
    takes_onnx = True

    def __init__(self) -> None:
        self.core = openvino.Core()
        capabilities = self.core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        self.cpu_precisions: tuple[str, ...] = ("bf16",) if "BF16" in capabilities else ()

    def __call__(self, model: Model, device: str) -> Run:
        """Return the network, once it agrees with ONNX Runtime on images of `SIZES`.

        Raises:
            InputError: OpenVINO can't run it, or gives other values.
        """
        generator: Any = None if model.graph else model.generator  # an ONNX file's
        content = model.onnx() if generator is None else generator.file.read_bytes()
        # Readers and runtimes raise nearly any kind of error over what they don't support.
        try:
            run = _Network(self.core, self.core.read_model(io.BytesIO(content)))
            difference = _difference(content, run)
        except Exception as error:
            why = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise InputError(f"OpenVINO can't run '{model.name}' ({why:.200})") from error
        if not difference <= TOLERANCE:
            raise InputError(
                f"OpenVINO can't run '{model.name}': its result differs from ONNX Runtime's by "
                f"{difference:.3g} (at most {TOLERANCE:g} is allowed, in units of [0, 1])"
            )
        return run


class _Network:
    """A network; called by several threads, it serves them in turn."""

    def __init__(self, core: Any, network: Any) -> None:
        self.core = core
        self.network = network
        self.compiled: dict[tuple[str, int], Any] = {}
        self.lock = threading.Lock()

    def __call__(self, lr: np.ndarray, precision: str) -> np.ndarray:
        key = HINTS[precision], threads()
        with self.lock:
            try:
                if key not in self.compiled:
                    self.compiled[key] = self.core.compile_model(
                        self.network,
                        "CPU",
                        {
                            # OpenVINO's own default is bfloat16 where the CPU has it.
                            "INFERENCE_PRECISION_HINT": key[0],
                            "INFERENCE_NUM_THREADS": key[1],
                            "PERFORMANCE_HINT": "LATENCY",
                        },
                    )
                sr: np.ndarray = self.compiled[key](lr)[0]
            except RuntimeError as error:
                if "alloc" in str(error):
                    raise MemoryError(f"OpenVINO: {error}") from error
                raise
        return sr


def _difference(content: bytes, run: Run) -> float:
    """Return the largest difference from ONNX Runtime, which agreed with torch."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0].name
    random = np.random.default_rng(0)
    worst = 0.0
    for size in SIZES:
        lr = random.random(size, np.float32)
        expected, sr = session.run(None, {entry: lr})[0], run(lr, "fp32")
        if sr.shape != expected.shape:
            raise ValueError(f"it gives {sr.shape} for {size}: its steps depend on the size")
        worst = float(np.maximum(worst, np.abs(expected - sr).max()))  # keeps nan
    return worst
