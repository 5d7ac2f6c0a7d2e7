"""Weights of pretrained networks: looked for on this disk, checked, and never downloaded."""

from __future__ import annotations

import hashlib
import pickle
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from srkit import InputError

# How torch.hub writes the beginning of a file's SHA-256 into its name.
_DIGITS = re.compile(r"-([0-9a-f]{8,})\.")


@dataclass(frozen=True)
class Weights:
    """A file of weights as it was found.

    Attributes:
        file: Where.
        sha256: Of it.
        state: What is in it, by name.
    """

    file: Path
    sha256: str
    state: dict[str, Tensor]


@lru_cache(maxsize=16)
def _sha256(file: Path, changed: int) -> str:
    """Return a file's SHA-256; computed anew when it has changed."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def find(metric: str, url: str, weights: str = "") -> Weights:
    """Read a network's weights from where torch.hub would have put them, or from a file.

    Args:
        metric: What needs them, for messages.
        url: Where its authors offer them; the last part is the file's name.
        weights: A file to be used in place of that in torch.hub's folder.

    Raises:
        InputError: There is no such file, it isn't the one its name says, or it can't be read.
    """
    name = url.rpartition("/")[2]
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    file = Path(weights).expanduser() if weights else folder / name
    if not file.is_file():
        if weights:
            raise InputError(f"weights {file} of {metric}: no such file")
        raise InputError(
            f"{metric} needs the weights {name}, which aren't in {folder}: download {url} into it"
        )
    try:
        sha256 = _sha256(file, file.stat().st_mtime_ns)
    except OSError as error:
        raise InputError(f"weights {file} of {metric}: {error.strerror or error}") from error
    digits = _DIGITS.search(name)
    if not weights and digits and not sha256.startswith(digits[1]):
        raise InputError(
            f"weights {file} of {metric} are broken: their SHA-256 begins with "
            f"{sha256[: len(digits[1])]}, not with {digits[1]}; download {url} again"
        )
    return Weights(file, sha256, _read(file, metric))


def _read(file: Path, metric: str) -> dict[str, Tensor]:
    """Return a state_dict, without executing what a pickle may hold."""
    try:
        loaded: Any = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        first = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise InputError(
            f"weights {file} of {metric}: not a readable state_dict ({first[0]})"
        ) from error
    if not isinstance(loaded, dict) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise InputError(f"weights {file} of {metric}: not a state_dict")
    return loaded


def misfit(metric: str, found: Weights, error: RuntimeError) -> InputError:
    """Return the error for weights that are another network's."""
    first = str(error).strip().splitlines()[1:2] or [str(error)]
    return InputError(f"weights {found.file} of {metric} don't fit its network: {first[0].strip()}")


def features(metric: str, build: Callable[..., nn.Module], found: Weights) -> nn.Module:
    """Return the convolutions of one of torchvision's networks with their weights.

    Args:
        metric: What needs them, for messages.
        build: Such as ``torchvision.models.alexnet``.
        found: Its weights; those of the classifier are left out.

    Raises:
        InputError: They don't fit.
    """
    with torch.device("meta"):  # nothing is made that is thrown away at once
        made: Any = build(weights=None)
    convolutions: nn.Module = made.features
    prefix = "features."
    state = {k.removeprefix(prefix): v for k, v in found.state.items() if k.startswith(prefix)}
    try:
        convolutions.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise misfit(metric, found, error) from error
    return convolutions
