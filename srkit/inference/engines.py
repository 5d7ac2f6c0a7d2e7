"""What runs a generator: which engine, in which precision, and why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from srkit import defaults, registry
from srkit.errors import InputError, OptionError, UnknownNameError
from srkit.hookspecs import Engine
from srkit.inference.device import device_named, has_bf16, may_have_gpu
from srkit.inference.eager import Torch
from srkit.inference.model import Choice, Limits, Model

AUTO, TORCH = "auto", "torch"
PRECISIONS = (AUTO, "fp32", "fp16", "bf16")


def choose(
    device: str = AUTO, precision: str = AUTO, engine: str = AUTO, *, graph: bool = True
) -> Choice:
    """Return what would run a model here, and why; nothing depends on times or on a cache.

    - On a GPU torch, 8-bit images in fp16, whose steps near 1 are an eighth of bf16's.
    - On a CPU ONNX Runtime, in fp32: bf16 moves values, and is taken where it is asked for, by
      OpenVINO if it is installed.
    - A model without an ONNX graph by torch: making one takes longer than many images.

    Args:
        device: See `device_named`; ``auto`` is one that the engine knows.
        precision: ``auto``, ``fp32``, ``fp16`` or ``bf16``.
        engine: ``auto``, ``torch``, or one of a plugin.
        graph: Whether the model has an ONNX graph.

    Raises:
        UnknownNameError: No such engine.
        InputError: No such device, or not one of the engine's.
        OptionError: Half precision on a CPU, unless the engine states that it computes in it there.
    """
    if precision not in PRECISIONS:
        raise OptionError(f"precision is one of {', '.join(PRECISIONS)}, not '{precision}'")
    why = "as asked"
    if engine == AUTO:
        engine, why = _fastest(device, precision, graph)
    runner = _runner(engine)
    where = _device(device, engine, runner)
    on_cpu = ("fp32", *getattr(runner, "cpu_precisions", ()))
    if precision == AUTO:
        precision = "fp16" if where.startswith("cuda") else "fp32"
    if where == "cpu" and precision not in on_cpu:
        raise OptionError(
            f"precision {precision} is for GPUs; engine '{engine}' computes in "
            f"{' or '.join(on_cpu)} on this CPU"
        )
    return Choice(engine, where, precision, why)


def _fastest(device: str, precision: str, graph: bool) -> tuple[str, str]:
    """Return the engine for a device, and why."""
    maybe_gpu = may_have_gpu() if device == AUTO else device != "cpu"
    if maybe_gpu and device_named(device).type != "cpu":
        return TORCH, "a GPU"
    if not graph:
        return TORCH, "the model has no ONNX graph"
    engines = registry.offers("engines")
    if precision == "bf16" and has_bf16() and defaults.BF16_ENGINE in engines:
        return defaults.BF16_ENGINE, "bfloat16 on a CPU"
    if precision in (AUTO, "fp32") and defaults.CPU_ENGINE in engines:
        return defaults.CPU_ENGINE, "a CPU"
    return TORCH, f"no other engine computes in {precision} here"


def _runner(engine: str) -> Any:
    if engine == TORCH:
        return Torch()
    try:
        return registry.build("engines", engine)
    except UnknownNameError as error:
        raise UnknownNameError(f"{error}; '{TORCH}' is built in") from error


def _device(name: str, engine: str, runner: Engine) -> str:
    kind = name.partition(":")[0]
    if kind in ("cpu", "cuda", "mps") and kind not in runner.devices:
        raise InputError(
            f"engine '{engine}' computes on {' or '.join(runner.devices)}, not on '{name}'"
        )
    if name == "cpu" or (name == AUTO and not may_have_gpu()):
        return runner.devices[0] if "cpu" not in runner.devices else "cpu"
    device = device_named(name)
    return str(device) if device.type in runner.devices else runner.devices[0]


def prepared(model: Model, device: str = AUTO, precision: str = AUTO, engine: str = AUTO) -> Model:
    """Have a model run by an engine; one that the engine can't run is run by torch, with a note.

    See `choose`. The model's generator is moved itself.
    """
    device = str(device)  # torch's own object will do
    is_onnx = model.metadata.get("reader") == defaults.READER_OF_ONNX
    choice = choose(device, precision, engine, graph=model.graph is not None or is_onnx)
    limits = Limits(precision=choice.precision)
    runner = _runner(choice.engine)
    try:
        if getattr(runner, "takes_onnx", False) and model.graph is None and not is_onnx:
            model = replace(model, graph=_runner(defaults.CPU_ENGINE).graph(model))
        with registry.blamed("engines", choice.engine):
            run = runner(model, choice.device)
    except InputError as error:
        if choice.engine == TORCH:
            raise
        choice = replace(choose(device, precision, TORCH), why=str(error))
        limits = Limits(precision=choice.precision, notes=[f"{error}; torch runs it"])
        run = Torch()(model, choice.device)
    return replace(model, run=run, choice=choice, limits=limits)


def export(model: Model, file: Path, *, force: bool = False) -> Any:
    """Write a model as ONNX; batch, height and width stay free.

    It is run on images of several sizes first, and has to agree with torch. Input ``lr`` and output
    ``sr`` are float32 RGB in [0, 1], ``B3hw`` and ``B3HW``; as within srkit, sr may leave [0, 1].
    The file's metadata say, under ``srkit.*``, scale, name, licence, receptive radius, recipe, the
    sha256 of the weights and srkit's version.

    Args:
        model: From `srkit.load`.
        file: To write.
        force: Write over a file of that name.

    Returns:
        An object with ``file``, the largest ``difference`` from torch, and the ``sizes`` compared.

    Raises:
        InputError: The file exists, the extra is missing, the model is an ONNX file, its network
            can't be exported for images of all sizes, or the result isn't the same.
    """
    return _runner(defaults.CPU_ENGINE).export(model, file, force=force)
