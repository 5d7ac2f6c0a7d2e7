"""PyTorch as an engine: the network itself, in channels_last."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from srkit.errors import InputError
from srkit.inference.device import has_bf16

if TYPE_CHECKING:
    from torch import nn

    from srkit.inference.model import Model

Run = Callable[[np.ndarray, str], np.ndarray]


class Torch:
    """PyTorch, in float32, or under autocast: in bfloat16 on CPUs that have it in hardware."""

    devices: tuple[str, ...] = ("cpu", "cuda", "mps")

    def __init__(self) -> None:
        self.cpu_precisions: tuple[str, ...] = ("bf16",) if has_bf16() else ()

    def __call__(self, model: Model, device: str) -> Run:
        """Return the generator, moved to a device."""
        import torch

        generator = model.generator.eval().requires_grad_(False).to(device)
        return run(generator.to(memory_format=torch.channels_last), torch.channels_last)


def run(generator: nn.Module, memory_format: Any = None) -> Run:
    """Return what calls a module with arrays, on the module's device."""
    import torch

    dtypes = {"fp16": torch.float16, "bf16": torch.bfloat16}
    layout = memory_format or torch.contiguous_format

    @torch.inference_mode()
    def call(lr: np.ndarray, precision: str) -> np.ndarray:
        device = device_of(generator)
        dtype = dtypes.get(precision)
        with torch.autocast(device.type, dtype) if dtype else nullcontext():
            sr = generator(torch.from_numpy(lr).to(device).contiguous(memory_format=layout))
        if isinstance(sr, torch.Tensor) and not sr.is_floating_point():
            what = type(generator).__name__
            raise InputError(f"a generator gives floats in [0, 1]; {what} gives {sr.dtype}")
        result: np.ndarray = sr.float().cpu().numpy()
        return result

    return call


def device_of(generator: nn.Module) -> Any:
    """Return the device of a module's first tensor, the CPU if it has none."""
    import torch

    first = next(chain(generator.parameters(), generator.buffers()), None)
    return torch.device("cpu") if first is None else first.device
