"""Weights of foreign networks -> a generator; nothing in a file is executed."""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import safetensors
import spandrel
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

from srkit import InputError, foreign
from srkit.errors import one_line
from srkit_spandrel.generator import Community

SAFE = ".safetensors"
PICKLES = frozenset({".pth", ".pt", ".ckpt"})
# Keys of a safetensors header that state terms; the first is that of the ModelSpec standard.
LICENCES = ("modelspec.license", "license", "licence", "general.license")
DESCRIPTION = ("title", "author", "date", "description")  # modelspec.*, shown by `srkit info`


def read(file: Path) -> Community | None:
    """Read the weights of a network that spandrel knows, from ``.safetensors`` or ``.pth``.

    A ``.pth`` (``.pt``, ``.ckpt``) is a pickle, of which tensors and plain containers are read
    and nothing else. The scale, the channels and the licence are what the file says; a licence
    it doesn't state is unknown.

    Args:
        file: A file of any kind; None is returned for what isn't a file of weights, for damaged
            ``.safetensors`` and for those of srkit itself.

    Raises:
        InputError: A pickle that can't be read without executing it, a network that spandrel
            doesn't know or that doesn't upscale images, or weights that don't fit it.
    """
    suffix = file.suffix.lower()
    if suffix != SAFE and suffix not in PICKLES:
        return None
    try:
        state, header = _safetensors(file) if suffix == SAFE else (_pickle(file), {})
    except safetensors.SafetensorError:
        return None  # damaged, as srkit says itself
    if "srkit" in header:
        return None  # ours, of another version
    known = _network(file, state)
    if known is None:
        what = "safetensors, but" if suffix == SAFE else "a file of weights, but"
        raise InputError(f"{file}: {what} not an srkit checkpoint, nor a network spandrel knows")
    _require_upscaling(file, known)
    metadata = {
        "architecture": known.architecture.name,
        "tags": list(known.tags),
        "input_channels": known.input_channels,
        "spandrel": spandrel.__version__,
        **{key: header[f"modelspec.{key}"] for key in DESCRIPTION if f"modelspec.{key}" in header},
    }
    licence = next((header[key] for key in LICENCES if header.get(key)), "unknown")
    return Community(known, licence=licence, metadata=metadata)


def _safetensors(file: Path) -> tuple[dict[str, Any], dict[str, str]]:
    with safetensors.safe_open(file, framework="pt") as handle:
        header = dict(handle.metadata() or {})
    return load_file(file), header


def _pickle(file: Path) -> Any:
    """Read a pickle of tensors by torch's restricted reader, which calls nothing a file names."""
    if _is_torchscript(file):
        raise InputError(
            f"{file}: TorchScript is a program and isn't run; give its weights or an .onnx file"
        )
    return foreign.tensors(file)


def _is_torchscript(file: Path) -> bool:
    try:
        with zipfile.ZipFile(file) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):  # older ones are no archives
        return False


def _network(file: Path, state: Any) -> Any:
    """Return spandrel's description of a network with its weights, or None if it knows none."""
    if not isinstance(state, Mapping):
        return None
    if name := next((name for name in state if re.search(r"\d{5}", str(name))), None):
        raise InputError(f"{file}: spandrel can't build this network: {name:.60} counts too far")
    try:
        with _silence(), _at_most(state):
            return spandrel.ModelLoader(device="cpu").load_from_state_dict(dict(state))
    except spandrel.UnsupportedModelError:
        return None
    # Known by some of its tensors' names, and others are missing or of other shapes.
    except Exception as error:
        why = f"{one_line(error):.200}"
        raise InputError(f"{file}: spandrel can't build this network: {why}") from error


def _require_upscaling(file: Path, known: Any) -> None:
    """See that a network gives a larger image of an image, and of nothing else."""
    what = f"{file}: {known.architecture.name} "
    if not isinstance(known, spandrel.ImageModelDescriptor):
        raise InputError(f"{what}fills in masked parts of images; srkit upscales images")
    if known.purpose not in ("SR", "FaceSR") or known.scale == 1:
        raise InputError(f"{what}restores images at their size; srkit upscales images")
    if known.scale != int(known.scale) or known.scale < 1:
        raise InputError(f"{what}upscales by {known.scale}; srkit wants a whole number")
    channels = (known.input_channels, known.output_channels)
    if channels not in ((1, 1), (3, 3), (4, 3), (4, 4)):
        raise InputError(
            f"{what}maps {channels[0]} channels to {channels[1]}; srkit knows grey (1), "
            "RGB (3) and RGB with opaque alpha (4)"
        )


@contextmanager
def _at_most(state: Mapping[str, Any]) -> Iterator[None]:
    """Refuse to build more than a file has weights for: names and shapes can claim any number."""
    tensors = list(_tensors(state))
    modules = 100 * len(tensors) + 1000
    bytes_left = 4 * sum(t.untyped_storage().nbytes() for t in tensors) + (1 << 26)

    def count_module(*_: object) -> None:
        nonlocal modules
        modules -= 1
        _require(modules >= 0)

    def count_values(module: object, name: str, value: Tensor | None) -> None:
        nonlocal bytes_left
        bytes_left -= value.nbytes if value is not None else 0
        _require(bytes_left >= 0)

    hooks = [
        register_module_module_registration_hook(count_module),
        register_module_parameter_registration_hook(count_values),
        register_module_buffer_registration_hook(count_values),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _require(few: bool) -> None:
    if not few:
        raise ValueError("it would be larger than its file")


def _tensors(state: Mapping[str, Any]) -> Iterator[Tensor]:
    for value in state.values():
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, Mapping):
            yield from _tensors(value)


@contextmanager
def _silence() -> Iterator[None]:
    """Keep what libraries warn of and print to themselves while a network is built."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
