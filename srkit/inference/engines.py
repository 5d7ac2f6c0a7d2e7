"""What runs a generator: torch, or an engine of a plugin."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from srkit import registry
from srkit.errors import InputError, OptionError, UnknownNameError
from srkit.hookspecs import Engine
from srkit.inference.device import device_named
from srkit.inference.model import Limits, Model, Run

TORCH = "torch"
PRECISIONS = {
    "auto": None,
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
}


class Torch:
    """PyTorch, in channels_last."""

    devices: tuple[str, ...] = ("cpu", "cuda", "mps")

    def __call__(self, model: Model) -> Run:
        """Return the generator behind a conversion of its input to channels_last."""
        generator = model.generator.to(memory_format=torch.channels_last)

        def run(lr: Tensor) -> Tensor:
            sr: Tensor = generator(lr.contiguous(memory_format=torch.channels_last))
            return sr

        return run


def prepared(
    model: Model, device: str = "auto", precision: str = "auto", engine: str = TORCH
) -> Model:
    """Bring a model to a device, and have it run there by an engine.

    Where a GPU computes in half precision, 8-bit images will be: in fp16, whose steps near 1 are
    an eighth of bf16's.

    Args:
        model: Its generator is moved itself.
        device: See `device_named`; ``auto`` is one that the engine knows.
        precision: ``auto``, ``fp32``, ``fp16`` or ``bf16``.
        engine: ``torch``, or one of a plugin.

    Raises:
        UnknownNameError: No such engine.
        InputError: No such device, or not one of the engine's; the engine can't run the model.
        OptionError: Half precision on a CPU, unless the engine states that it computes in it there.
    """
    if precision not in PRECISIONS:
        raise OptionError(f"precision is one of {', '.join(PRECISIONS)}, not '{precision}'")
    try:
        runner: Engine = Torch() if engine == TORCH else registry.build("engines", engine)
    except UnknownNameError as error:
        raise UnknownNameError(f"{error}; '{TORCH}' is built in") from error
    where = _device(device, engine, runner)
    dtype = PRECISIONS[precision] or (torch.float16 if where.type == "cuda" else torch.float32)
    on_cpu = ("fp32", *getattr(runner, "cpu_precisions", ()))
    if where.type == "cpu" and precision not in ("auto", *on_cpu):
        raise OptionError(
            f"precision {precision} is for GPUs; engine '{engine}' computes in "
            f"{' or '.join(on_cpu)} on this CPU"
        )
    model.generator.eval().requires_grad_(False).to(where)
    with registry.blamed("engines", engine):
        run = runner(model)
    if engine == TORCH or not callable(run):
        return replace(model, run=run, limits=Limits(dtype=dtype))

    def named(lr: torch.Tensor) -> torch.Tensor:
        with registry.blamed("engines", engine):
            return run(lr)

    return replace(model, run=named, limits=Limits(dtype=dtype))


def _device(name: str, engine: str, runner: Engine) -> torch.device:
    kind = name.partition(":")[0]
    if kind in ("cpu", "cuda", "mps") and kind not in runner.devices:
        raise InputError(
            f"engine '{engine}' computes on {' or '.join(runner.devices)}, not on '{name}'"
        )
    device = device_named(name)
    return device if device.type in runner.devices else torch.device(runner.devices[0])
