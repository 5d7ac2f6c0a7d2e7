"""OpenVINO as an engine: any model that it can convert, in float32 or, faster, in bfloat16."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from typing import Any

import openvino
import torch
from torch import Tensor, nn

from srkit import InputError, Model

TOLERANCE = 1e-4  # largest difference from torch in units of [0, 1]
EXAMPLE = (2, 3, 19, 26)  # batch, channels, height and width of the image that is traced
# What is compared with torch: sides with and without common divisors, so that a network whose
# steps depend on the image's size is noticed.
SIZES = ((1, 3, 16, 32), (3, 3, 17, 23), (1, 3, 61, 33))


class OpenVino:
    """OpenVINO on the CPU, in as many threads as torch uses.

    It computes in float32, and under ``torch.autocast`` in bfloat16.

    Attributes:
        cpu_precisions: ``("bf16",)`` where OpenVINO states that this CPU can.
    """

    devices: tuple[str, ...] = ("cpu",)

    def __init__(self) -> None:
        self.core = openvino.Core()
        capabilities = self.core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        self.cpu_precisions: tuple[str, ...] = ("bf16",) if "BF16" in capabilities else ()

    def __call__(self, model: Model) -> Callable[[Tensor], Tensor]:
        """Return the converted network, once it agrees with torch on images of `SIZES`.

        Raises:
            InputError: It can't be converted, or gives other values than torch.
        """
        if model.metadata.get("reader") == "onnx":
            raise InputError(
                f"OpenVINO can't run '{model.name}': ONNX files are run by ONNX Runtime, without "
                "an engine; or take the original model"
            )
        # Converters and runtimes raise nearly any kind of error over what they don't support.
        try:
            run = _Network(self.core, _converted(model.generator))
            difference = _difference(model.generator, run)
        except Exception as error:
            why = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise InputError(f"OpenVINO can't run '{model.name}' ({why:.200})") from error
        if not difference <= TOLERANCE:
            raise InputError(
                f"OpenVINO can't run '{model.name}': its result differs from torch's by "
                f"{difference:.3g} (at most {TOLERANCE:g} is allowed, in units of [0, 1])"
            )
        return run


class _Network:
    """A converted network; called by several threads, it serves them in turn."""

    def __init__(self, core: Any, network: Any) -> None:
        self.core = core
        self.network = network
        self.compiled: dict[tuple[str, int], Any] = {}
        self.lock = threading.Lock()

    def __call__(self, lr: Tensor) -> Tensor:
        # OpenVINO's own default is bfloat16 where the CPU has it.
        precision = "bf16" if torch.is_autocast_enabled("cpu") else "f32"
        key = precision, torch.get_num_threads()
        with self.lock:
            try:
                if key not in self.compiled:
                    self.compiled[key] = self.core.compile_model(
                        self.network,
                        "CPU",
                        {
                            "INFERENCE_PRECISION_HINT": precision,
                            "INFERENCE_NUM_THREADS": key[1],
                            "PERFORMANCE_HINT": "LATENCY",
                        },
                    )
                sr = self.compiled[key](lr.float().contiguous().numpy())[0]
            except RuntimeError as error:
                if "alloc" in str(error):
                    raise MemoryError(f"OpenVINO: {error}") from error
                raise
        return torch.from_numpy(sr)


@torch.no_grad()
def _converted(generator: nn.Module) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's tracer; the result is compared
        return openvino.convert_model(generator, example_input=torch.rand(EXAMPLE))


@torch.no_grad()
def _difference(generator: nn.Module, run: Callable[[Tensor], Tensor]) -> float:
    random = torch.Generator().manual_seed(0)
    worst = torch.zeros(())
    for size in SIZES:
        lr = torch.rand(size, generator=random)
        expected, sr = generator(lr), run(lr)
        if sr.shape != expected.shape:
            raise ValueError(f"it gives {tuple(sr.shape)} for {size}: its steps depend on the size")
        worst = torch.maximum(worst, (expected - sr).abs().max())  # keeps nan
    return float(worst)
