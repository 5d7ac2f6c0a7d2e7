"""Where a model comes from: names, files, runs, the Hub, and the plugins' readers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srkit import defaults, plugins, registry
from srkit.errors import (
    InputError,
    NameClashError,
    RecipeError,
    SrkitError,
    UnknownNameError,
    nearest,
    one_line,
    option,
)
from srkit.files import sha256
from srkit.hookspecs import ReadyModel
from srkit.inference.engines import AUTO, prepared
from srkit.inference.model import Model
from srkit.lines import show_error
from srkit.models import checkpoint
from srkit.recipe import Recipe

if TYPE_CHECKING:
    from torch import Tensor, nn

    from srkit.training.loop import Result

DEFAULT_MODEL = defaults.MODEL


# Suffixes of files of other projects, which a plugin reads.
COMMUNITY = (".ckpt", ".pt", ".pth", ".safetensors")


def load(
    name: str | Path | Model | Result | None = None,
    *,
    device: str = AUTO,
    precision: str = AUTO,
    engine: str = AUTO,
) -> Model:
    """Return a model, ready to upscale images.

    Args:
        name: A ready model's name, a checkpoint file, a run's folder, the name of a run under
            ``runs/``, a file that a plugin's reader knows, or an address of a plugin's hub
            (``hf://owner/name``); what `srkit.train` returned; a model, to have it run otherwise;
            the shipped default where None.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        precision: ``auto``, ``fp32``, ``fp16`` or ``bf16``; "Models", "Engines", says what auto is.
        engine: ``auto``, ``torch``, ``onnxruntime``, or one of another plugin (``openvino``).

    Raises:
        UnknownNameError: Nothing of that name or at that path; no such engine.
        InputError: The file is damaged, not what its checksum says, or no checkpoint; an extra is
            missing.
        OptionError: A precision that the device hasn't got.
    """
    if isinstance(name, Model):
        return prepared(name, device, precision, engine)
    address = DEFAULT_MODEL if name is None else getattr(name, "model", name)
    return prepared(find(str(address)), device, precision, engine)


def weights_files(name: str) -> list[Path]:
    """Return where the weights may lie that a model's name means: a file, a run, one in ``runs/``.

    The first that is there counts, after registered models and addresses.
    """
    runs = (Path(name), checkpoint.default_folder(name))
    return [Path(name), *(folder / checkpoint.MODEL for folder in runs)]


def find(name: str) -> Model:
    """Return the model that a name means, not yet prepared; its network is built when needed."""
    hub = "".join(name.partition("://")[:2])
    if hub in registry.offers("hubs"):
        ready: ReadyModel = registry.call("hubs", hub, name)
        model = _from_file(name, Path(ready.file or ""), ready.licence)
        return replace(model, metadata={**model.metadata, "source": ready.description})
    runs = (Path(name), checkpoint.default_folder(name))
    if name in registry.offers("models"):
        if (runs[1] / checkpoint.MODEL).is_file():
            show_error(f"'{name}' is the shipped model; your own is {runs[1]}")
        return _ready(name)
    for file in weights_files(name):
        if file.is_file():
            return _from_file(name, file, "unknown")
    for folder in runs:
        if newest := checkpoint.checkpoints(folder)[-1:]:
            raise InputError(
                f"the run in {folder} isn't finished; train it with {option('resume', True)}, "
                f"or take {newest[0]} as it is"
            )
    known = list(registry.offers("models"))
    raise UnknownNameError(
        f"no model '{name}'{nearest(name, known)}: not a file, nor a run under runs/, "
        f"nor one of {', '.join(known)}"
    )


def _ready(name: str) -> Model:
    """Return a registered model: its file, checked against its checksum, or its bare generator."""
    ready: ReadyModel = registry.build("models", name)
    if ready.generator is not None:
        built = registry.build_scaled("generators", ready.generator, ready.scale, ready.options)
        metadata = {
            "generator": ready.generator,
            "options": dict(ready.options),
            "provider": registry.provenance("generators", ready.generator),
        }
        return Model(name, built, ready.scale, ready.licence, metadata=metadata)
    assert ready.file is not None  # a ReadyModel has one or the other
    if not ready.file.is_file():
        raise InputError(f"the weights of '{name}' are missing ({ready.file}); reinstall it")
    model = _from_file(name, ready.file, ready.licence)
    if ready.sha256 and model.sha256 != ready.sha256:
        raise InputError(
            f"{ready.file}: the weights of '{name}' are damaged "
            f"(sha256 {model.sha256}, not {ready.sha256}); reinstall the plugin"
        )
    if ready.graph and model.stored and defaults.CPU_ENGINE in registry.offers("engines"):
        engine = registry.call("engines", defaults.CPU_ENGINE)
        model = replace(model, graph=engine.read_graph(ready.graph, model))
    if model.scale != ready.scale:
        raise InputError(
            f"{ready.file}: upscales by {model.scale}, not by {ready.scale}, as the plugin of "
            f"'{name}' says"
        )
    return model


def _from_file(name: str, file: Path, licence: str) -> Model:
    checksum = sha256(file)
    try:
        stored = checkpoint.read(file, only=("trained_on",), framework="np")
    except InputError as error:
        if foreign := _foreign(name, file, licence, checksum):
            return foreign
        raise _refusal(file, error) from error
    recipe = stored.recipe

    @cache
    def network() -> nn.Module:
        return _built(recipe, _weights(file, "pt"), file)

    provider = registry.provenance("generators", recipe.generator.name)
    metadata = {**stored.metadata, "step": stored.step, "provider": provider}
    arrays = cache(lambda: _weights(file, "np"))
    trained_on: dict[str, Any] = stored.part("trained_on")
    keys = {framing: v for framing, v in trained_on.items() if v.dtype == "int64"}
    return Model(
        *(name, network, recipe.scale, licence, checksum, recipe, metadata),
        trained_on=keys,
        stored=arrays,
    )


def _weights(file: Path, framework: str) -> dict[str, Any]:
    """Return a generator's weights: of a training checkpoint the average, which was validated."""
    stored = checkpoint.read(file, only=("generator", "ema"), framework=framework)
    return {
        key.removeprefix("module."): value
        for key, value in stored.part("ema").items()
        if key.startswith("module.")
    } or stored.part("generator")


def _built(recipe: Recipe, weights: Mapping[str, Tensor], file: Path) -> nn.Module:
    """Build a stored recipe's generator with its weights.

    A recipe can ask for any size, so that shapes are compared first, on a generator that has no
    memory of its own.
    """
    import torch

    try:
        with torch.device("meta"), _at_most(2 * len(weights), file):
            checkpoint.load_weights(recipe.build("generator"), weights, str(file), assign=True)
    except (InputError, NameClashError, UnknownNameError):
        raise
    except Exception as error:
        # A plugin's generator may read tensors while it is built, which these don't allow.
        if "meta" not in str(error):
            why = f"{one_line(error):.200}"
            raise InputError(f"{file}: its recipe gives no generator ({why})") from error
    generator: nn.Module = recipe.build("generator")
    checkpoint.load_weights(generator, weights, str(file))
    return generator.eval().requires_grad_(False)


@contextmanager
def _at_most(count: int, file: Path) -> Iterator[None]:
    """Refuse to build a module of more parameters than this."""
    from torch.nn.modules.module import register_module_parameter_registration_hook

    def check(*_: object) -> None:
        nonlocal count
        count -= 1
        if count < 0:
            raise InputError(f"{file}: weights don't fit this generator: the file lacks some")

    hook = register_module_parameter_registration_hook(check)
    try:
        yield
    finally:
        hook.remove()


def _foreign(name: str, file: Path, licence: str, checksum: str) -> Model | None:
    """Ask the plugins' readers, one by one, whether a file is theirs.

    SrkitError: it is one's, and can't be used, and no other takes it.
    """
    refusals: list[SrkitError] = []
    for reader in registry.offers("readers"):
        try:
            generator = registry.call("readers", reader, file)
            if generator is None:
                continue
            with registry.blamed("readers", reader):
                if not callable(generator):
                    raise TypeError(f"{type(generator).__name__} can't be called")
                if licence == "unknown":
                    licence = str(getattr(generator, "licence", licence))
                metadata = {
                    **getattr(generator, "metadata", {}),
                    "reader": reader,
                    "provider": registry.provenance("readers", reader),
                }
                toml = getattr(generator, "recipe", "")
                recipe = Recipe.from_toml(toml, str(file)) if toml else None
                scale = int(generator.scale)
                return Model(name, generator, scale, licence, checksum, recipe, metadata)
        except (InputError, RecipeError) as error:
            refusals.append(error)
        except Exception as error:  # a stranger's reader must not keep the others from the file
            what = error if isinstance(error, SrkitError) else f"reader '{reader}' failed: {error}"
            show_error(f"warning: {what}")
    if refusals:
        raise refusals[0]
    return None


def _refusal(file: Path, error: InputError) -> InputError:
    """Return why a file that no reader takes is no model, and what might help."""
    suffix, extra = file.suffix.lower(), "srkit[community]"
    waits = any(plugin.state == f"needs {extra}" for plugin in plugins.load().plugins)
    if suffix not in COMMUNITY or not waits:
        return error
    what = str(error) if suffix == ".safetensors" else f"{file}: no srkit checkpoint"
    return InputError(f"{what}; for other projects' networks, pip install '{extra}'")
