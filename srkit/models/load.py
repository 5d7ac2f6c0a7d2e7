"""Where a model comes from: names, files, runs, the Hub, and the plugins' readers."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import torch

from srkit import plugins, registry
from srkit.errors import InputError, UnknownNameError, nearest
from srkit.files import sha256
from srkit.hookspecs import ReadyModel
from srkit.inference.device import device_named
from srkit.inference.upscale import Model, prepared
from srkit.models import checkpoint, export, hub
from srkit.recipe import Recipe

BACKENDS = ("torch", "onnx")
DEFAULT_MODEL = "faces"
# The extra of srkit whose plugin reads files of other projects.
EXTRAS = {
    ".ckpt": "community",
    ".onnx": "onnx",
    ".pt": "community",
    ".pth": "community",
    ".safetensors": "community",
}


def load(
    name: str | Path | None = None,
    *,
    device: str = "auto",
    precision: str = "auto",
    backend: str = "torch",
) -> Model:
    """Return a model, ready to enlarge pictures.

    Args:
        name: A ready model's name, a checkpoint file, a run's folder, the name of a run under
            ``runs/``, a file that a plugin's reader knows, or ``hf://owner/name``
            (`srkit.models.hub`); the shipped default where None.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        precision: ``auto``, ``fp32``, ``fp16`` or ``bf16``; see `srkit.inference.upscale.prepared`.
        backend: ``torch``, or ``onnx``: exported once into the cache, and run by ONNX Runtime on
            the CPU.

    Raises:
        UnknownNameError: Nothing of that name or at that path.
        InputError: The file is damaged, not what its sum says, or no checkpoint; an extra is
            missing; the model can't be exported.
        OptionError: A precision that the device hasn't got.
    """
    name = str(name or DEFAULT_MODEL)
    if backend not in BACKENDS:
        raise InputError(f"no backend '{backend}', only {' and '.join(BACKENDS)}")
    if backend == "onnx":
        if device not in ("auto", "cpu"):
            raise InputError(f"backend onnx computes on the CPU, not on '{device}'")
        return prepared(_by_onnx_runtime(find(name)), torch.device("cpu"), precision)
    where = device_named(device)
    return prepared(find(name), where, precision)


def find(name: str) -> Model:
    """Return the model that a name means as it was built: on the CPU, in float32, not yet prepared.

    Raises:
        UnknownNameError, InputError: As `load`.
    """
    if name.startswith(hub.PREFIX):
        file, pin = hub.obtain(name)
        model = _from_file(name, file, pin.licence)
        pinned = hub.full_name(hub.parse(name), pin)
        return replace(model, metadata={**model.metadata, "pinned": pinned})
    if name in registry.offers("models"):
        return _ready(name)
    for file in (
        Path(name),
        Path(name) / checkpoint.MODEL,
        checkpoint.default_folder(name) / checkpoint.MODEL,
    ):
        if file.is_file():
            return _from_file(name, file, "unknown")
    for folder in (Path(name), checkpoint.default_folder(name)):
        if newest := checkpoint.checkpoints(folder)[-1:]:
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
        about = {
            "generator": ready.generator,
            "options": dict(ready.options),
            "provider": registry.provenance("generators", ready.generator),
        }
        return Model(name, made, ready.scale, licence=ready.licence, metadata=about)
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


def _by_onnx_runtime(model: Model) -> Model:
    """Return a model whose generator is its exported self, run by ONNX Runtime."""
    reader = export.reader()
    if model.metadata.get("reader") == export.READER:
        return model
    file = export.kept(model)
    try:
        generator = reader(file)
    except InputError:  # damaged in the cache
        file.unlink()
        generator = reader(export.kept(model))
    assert generator is not None  # its name ends in .onnx
    return replace(model, generator=generator, metadata={**model.metadata, "backend": "onnx"})


def _from_file(name: str, file: Path, licence: str) -> Model:
    sum_ = sha256(file)
    try:
        its = checkpoint.read(file, only=("generator", "ema"))
    except InputError as error:
        if foreign := _foreign(name, file, licence, sum_):
            return foreign
        raise _refusal(file, error) from error
    generator = checkpoint.generator(its.recipe)
    # A training checkpoint carries both; the average is the one that was validated.
    weights = {
        key.removeprefix("module."): value
        for key, value in its.part("ema").items()
        if key.startswith("module.")
    } or its.part("generator")
    checkpoint.load_weights(generator, weights, str(file))
    provider = registry.provenance("generators", its.recipe.generator.name)
    metadata = {**its.metadata, "step": its.step, "provider": provider}
    return Model(
        name,
        generator,
        its.recipe.scale,
        licence=licence,
        sha256=sum_,
        recipe=its.recipe,
        metadata=metadata,
    )


def _foreign(name: str, file: Path, licence: str, sum_: str) -> Model | None:
    """Ask the plugins' readers, one by one, whether a file is theirs.

    Raises:
        InputError: One says that it is and can't be used, and no other takes it.
    """
    refusals: list[InputError] = []
    for reader in registry.offers("readers"):
        try:
            generator = registry.find("readers", reader)(file)
            if generator is None:
                continue
            if licence == "unknown":
                licence = str(getattr(generator, "licence", licence))
            about = {
                **getattr(generator, "metadata", {}),
                "reader": reader,
                "provider": registry.provenance("readers", reader),
            }
            recipe = getattr(generator, "recipe", "")
            return Model(
                name,
                generator,
                generator.scale,
                licence=licence,
                sha256=sum_,
                recipe=Recipe.from_toml(recipe, str(file)) if recipe else None,
                metadata=about,
            )
        except InputError as error:
            refusals.append(error)
        except Exception as error:  # a stranger's reader must not keep the others from the file
            print(f"srkit: warning: reader '{reader}' failed: {error}", file=sys.stderr)  # noqa: T201
    if refusals:
        raise refusals[0]
    return None


def _refusal(file: Path, error: InputError) -> InputError:
    """Return why a file that nobody takes is no model, and what might help."""
    extra = EXTRAS.get(file.suffix.lower())
    if not any(plugin.state == f"needs srkit[{extra}]" for plugin in plugins.load().plugins):
        return error
    what = str(error) if file.suffix.lower() == ".safetensors" else f"{file}: no srkit checkpoint"
    return InputError(f"{what}; for other projects' networks, pip install 'srkit[{extra}]'")
