"""Weights, recipe and provenance in one safetensors file, written atomically.

Two kinds share the format: ``model.safetensors`` holds ``generator.*`` and keys of the training
photos, and a training checkpoint everything that decides the rest of the run. Both carry, as JSON
in the header, the recipe (TOML) and which distribution provided each part. Nothing is ever
unpickled.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import random
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NotRequired

import numpy as np
import pydantic
import safetensors
from typing_extensions import TypedDict

import srkit
from srkit import foreign, registry
from srkit.errors import InputError
from srkit.files import atomic, is_utf8
from srkit.recipe import Recipe

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

# The header has one key, since safetensors writes several in an order of its own: equal runs
# should give equal bytes.
KEY = "srkit"
FORMAT = 1
MODEL = "model.safetensors"  # of a finished run, in its folder


class _Header(TypedDict):
    """Metadata of all checkpoints, then those of some; optimisers add keys of their own."""

    __pydantic_config__ = pydantic.ConfigDict(extra="allow")  # type: ignore[misc]
    format: Literal[1]
    recipe: str
    step: pydantic.NonNegativeInt
    parts: NotRequired[dict[str, str]]
    versions: NotRequired[dict[str, str]]
    data: NotRequired[str]
    scores: NotRequired[dict[str, int | float]]
    embedders: NotRequired[dict[str, dict[str, str]]]
    best: NotRequired[dict[str, int | float]]
    recovered: NotRequired[bool]
    window: NotRequired[list[str]]


@dataclass(frozen=True)
class Checkpoint:
    """The contents of a checkpoint file.

    Tensors are called ``generator.*``, and in a training checkpoint ``discriminator.*``, ``ema.*``,
    ``optimizer_g.*``, ``optimizer_d.*``, ``rng.*`` and ``window.*``; in both ``trained_on.*`` are
    keys of the training photos by framing.
    """

    tensors: dict[str, Tensor]
    recipe: Recipe
    step: int  # training steps done
    metadata: dict[str, Any]  # parts, versions, scores, the optimisers' scalars

    def part(self, name: str) -> dict[str, Tensor]:
        """Return the tensors below ``name.``, without that prefix."""
        prefix = f"{name}."
        return {
            key.removeprefix(prefix): value
            for key, value in self.tensors.items()
            if key.startswith(prefix)
        }


def parts_of(recipe: Recipe) -> dict[str, str]:
    """Return who provides each part of a recipe: ``{"generators/espcn": "srkit-espcn 0.1"}``."""
    named = [("generators", recipe.generator.name), ("degradations", recipe.degradation.name)]
    if recipe.discriminator:
        named.append(("discriminators", recipe.discriminator.name))
    named += [("losses", name) for name in recipe.losses]
    return {f"{kind}/{name}": registry.provenance(kind, name) for kind, name in named}


@cache
def _installed(library: str) -> str:
    return importlib.metadata.version(library)


def versions() -> dict[str, str]:
    """Return the versions of what frames, degrades, upscales and scores images."""
    import torch

    libraries = ("kornia", "numpy", "pillow", "scikit-image")
    return {
        "srkit": srkit.__version__,
        "torch": str(torch.__version__),  # with its build, which has kernels of its own
        **{name: _installed(name) for name in libraries},
        "python": platform.python_version(),
    }


def write(
    file: Path,
    tensors: Mapping[str, Tensor],
    recipe: Recipe,
    step: int,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write a checkpoint; the file appears under its name only when it is whole.

    InputError: the disk is full or the folder can't be written; an older file stays.
    """
    from safetensors.torch import save_file

    about = {
        **(metadata or {}),
        "format": FORMAT,
        "recipe": recipe.to_toml(),
        "step": step,
        "parts": parts_of(recipe),
        "versions": versions(),
    }
    header = {KEY: json.dumps(about, sort_keys=True)}
    # safetensors wants contiguous tensors, and copies so that none share memory.
    plain = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    try:
        with atomic(file) as temporary:
            save_file(plain, temporary, header)
    except (OSError, safetensors.SafetensorError) as error:
        raise InputError(f"can't write {file}: {error}") from error


def read(file: Path, *, only: tuple[str, ...] = (), framework: str = "pt") -> Checkpoint:
    """Read a checkpoint that `write` wrote.

    ``only`` names the parts whose tensors are read (``("generator", "ema")``), all if empty;
    ``framework`` is ``pt`` for tensors of torch, ``np`` for arrays. InputError: missing, damaged,
    or not srkit's; RecipeError: its recipe is damaged.
    """
    if not file.is_file():
        raise InputError(f"{file}: no such file")
    try:
        with (
            file.open("rb") as stream,
            safetensors.safe_open(
                file if is_utf8(file) else f"/dev/fd/{stream.fileno()}", framework=framework
            ) as handle,
        ):
            header = handle.metadata() or {}
            if KEY not in header:
                raise InputError(f"{file}: safetensors, but not an srkit checkpoint")
            names = handle.keys()
            keys = [key for key in names if not only or key.partition(".")[0] in only]
            tensors = {key: handle.get_tensor(key) for key in keys}
    except (OSError, TypeError, safetensors.SafetensorError) as error:  # numpy lacks some types
        raise InputError(f"{file}: not a readable checkpoint ({error})") from error
    values: dict[str, Any] = {**foreign.parse(header[KEY], _Header, "JSON", str(file))}
    del values["format"]
    recipe, step = Recipe.from_toml(values.pop("recipe"), str(file)), values.pop("step")
    return Checkpoint(tensors, recipe, step, values)


def prefixed(name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors with ``name.`` before their names."""
    return {f"{name}.{key}": value for key, value in tensors.items()}


def optimizer_state(optimizer: Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Split an optimiser's state into tensors (``INDEX.KEY``) and plain values."""
    state = optimizer.state_dict()
    tensors = {
        f"{index}.{key}": value
        for index, values in state["state"].items()
        for key, value in values.items()
    }
    return tensors, {"param_groups": state["param_groups"]}


def restore_optimizer(
    optimizer: Optimizer, tensors: Mapping[str, Tensor], scalars: Mapping[str, Any]
) -> None:
    """Undo `optimizer_state`, giving each moment its parameter's memory format again.

    Contiguous moments beside channels_last parameters would go through other kernels, and the
    resumed run would differ in the last bits.
    """
    import torch

    state: dict[int, dict[str, Tensor]] = {}
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for name, value in tensors.items():
        index, _, key = name.partition(".")
        like = parameters[int(index)]
        if value.shape == like.shape:
            value = torch.empty_like(like).copy_(value)
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": scalars["param_groups"]})


def rng_state() -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the state of every generator a part could draw from, as tensors and values."""
    import torch

    tensors = {"torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors |= {f"cuda{i}": s for i, s in enumerate(torch.cuda.get_rng_state_all())}
    if torch.backends.mps.is_available():
        tensors["mps"] = torch.mps.get_rng_state()
    name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    tensors["numpy"] = torch.from_numpy(np.asarray(keys).astype(np.int64))
    version, internal, gauss_next = random.getstate()
    tensors["python"] = torch.tensor(internal, dtype=torch.int64)
    return tensors, {
        "numpy": [name, position, has_gauss, gauss],
        "python": [version, gauss_next],
    }


def restore_rng(tensors: Mapping[str, Tensor], scalars: Mapping[str, Any]) -> None:
    """Undo `rng_state`."""
    import torch

    torch.set_rng_state(tensors["torch"])
    numbers = sorted(int(key.removeprefix("cuda")) for key in tensors if key.startswith("cuda"))
    cuda = [tensors[f"cuda{number}"] for number in numbers]
    if cuda and len(cuda) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(cuda)
    if "mps" in tensors and torch.backends.mps.is_available():
        torch.mps.set_rng_state(tensors["mps"])
    name, position, has_gauss, gauss = scalars["numpy"]
    keys = tensors["numpy"].numpy().astype(np.uint32)
    np.random.set_state((name, keys, position, has_gauss, gauss))
    version, gauss_next = scalars["python"]
    random.setstate((version, tuple(tensors["python"].tolist()), gauss_next))


def load_weights(
    module: nn.Module, tensors: Mapping[str, Tensor], origin: str, *, assign: bool = False
) -> None:
    """Load weights strictly, in place, so that the module's memory format stays.

    ``assign``: tensors are taken as they are instead, as a module on torch's meta device has to.
    InputError: names or shapes differ; one line names the ``origin`` and the first.
    """
    try:
        module.load_state_dict(dict(tensors), strict=True, assign=assign)
    except RuntimeError as error:
        first = str(error).splitlines()[1:2] or [str(error)]
        why = textwrap.shorten(first[0], 160, placeholder=" ...")  # it names every key
        raise InputError(f"{origin}: weights don't fit this generator: {why}") from error


def default_folder(name: str) -> Path:
    """Return where a run of this name goes when nothing else is said."""
    return Path("runs") / name


def checkpoints(folder: Path) -> list[Path]:
    """Return a run's checkpoints, oldest first."""
    return sorted(folder.glob("checkpoint-*.safetensors"))
