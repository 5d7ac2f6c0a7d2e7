"""Where a model comes from: names, files, runs, and the plugins' readers."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from srkit import build, checkpoint, registry, runs
from srkit.errors import InputError, UnknownNameError, nearest
from srkit.files import sha256
from srkit.hookspecs import ReadyModel
from srkit.upscale import Model

DEFAULT_MODEL = "faces"


def load(name: str | Path | None = None, *, device: str = "auto") -> Model:
    """Return a model.

    Args:
        name: A ready model's name, a checkpoint file, a run's folder, or the name of a run
            under ``runs/``; the shipped default where None.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.

    Raises:
        UnknownNameError: Nothing of that name or at that path.
        InputError: The file is damaged, not what its sum says, or no checkpoint.
    """
    name = str(name or DEFAULT_MODEL)
    where = build.device_named(device)
    if name in registry.offers("models"):
        return _placed(_ready(name), where)
    for file in (Path(name), Path(name) / runs.MODEL, runs.default_folder(name) / runs.MODEL):
        if file.is_file():
            return _placed(_from_file(name, file, "unknown"), where)
    for folder in (Path(name), runs.default_folder(name)):
        if newest := runs.checkpoints(folder)[-1:]:
            raise InputError(
                f"the run in {folder} isn't finished; --resume it, or take {newest[0]} as it is"
            )
    known = list(registry.offers("models"))
    raise UnknownNameError(
        f"no model '{name}'{nearest(name, known)}: not a file, nor a run under runs/, "
        f"nor one of {', '.join(known)}"
    )


def _ready(name: str) -> Model:
    """Return a registered model: its file, checked against its sum, or its bare generator."""
    ready: ReadyModel = registry.build("models", name)
    if ready.generator is not None:
        made = registry.build_scaled("generators", ready.generator, ready.scale, ready.options)
        return Model(name, made, ready.scale, ready.licence)
    assert ready.file is not None  # a ReadyModel has one or the other
    if not ready.file.is_file():
        raise InputError(f"the weights of '{name}' are missing ({ready.file}); reinstall it")
    model = _from_file(name, ready.file, ready.licence)
    if ready.sha256 and model.sha256 != ready.sha256:
        raise InputError(
            f"{ready.file}: the weights of '{name}' are damaged "
            f"(sha256 {model.sha256}, not {ready.sha256}); reinstall the plugin"
        )
    return model


def _placed(model: Model, device: torch.device) -> Model:
    model.generator.eval().requires_grad_(False).to(device)
    model.generator.to(memory_format=torch.channels_last)
    return model


def _from_file(name: str, file: Path, licence: str) -> Model:
    sum_ = sha256(file)
    try:
        its = checkpoint.read(file, only=("generator", "ema"))
    except InputError as error:
        if foreign := _foreign(name, file, licence, sum_):
            return foreign
        raise error
    generator = build.generator(its.recipe)
    # A training checkpoint carries both; the average is the one that was validated.
    weights = {
        key.removeprefix("module."): value
        for key, value in its.part("ema").items()
        if key.startswith("module.")
    } or its.part("generator")
    checkpoint.load_weights(generator, weights, str(file))
    metadata = {**its.metadata, "step": its.step}
    return Model(name, generator, its.recipe.scale, licence, sum_, its.recipe, metadata)


def _foreign(name: str, file: Path, licence: str, sum_: str) -> Model | None:
    """Ask the plugins' readers, one by one, whether a file is theirs."""
    for reader in registry.offers("readers"):
        try:
            generator = registry.find("readers", reader)(file)
            if generator is not None:
                return Model(name, generator, generator.scale, licence, sum_)
        except Exception as error:  # a stranger's reader must not keep the others from the file
            print(f"srkit: warning: reader '{reader}' failed: {error}", file=sys.stderr)  # noqa: T201
    return None
