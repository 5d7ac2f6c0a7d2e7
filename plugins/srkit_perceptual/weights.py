"""Weights of pretrained networks: looked for on this disk, checked, and never downloaded."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from srkit import InputError, foreign
from srkit.errors import refused

# How torch.hub writes the beginning of a file's SHA-256 into its name.
_DIGITS = re.compile(r"-([0-9a-f]{8,})\.")


@dataclass(frozen=True)
class Weights:
    """A file of a metric's weights, its SHA-256, and the tensors in it."""

    metric: str
    file: Path
    sha256: str
    state: dict[str, Tensor]

    def misfit(self, error: RuntimeError) -> InputError:
        """Return the error for weights that are another network's."""
        first = str(error).strip().splitlines()[1:2] or [str(error)]
        return InputError(
            f"weights {self.file} of {self.metric} don't fit its network: {first[0].strip()}"
        )


@lru_cache(maxsize=16)
def _sha256(file: Path, changed: int) -> str:
    """Return a file's SHA-256; computed anew when it has changed."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def find(metric: str, url: str, weights: str = "") -> Weights:
    """Read a network's weights from where torch.hub would have put them, or from a file.

    Args:
        metric: The metric that needs them, for messages.
        url: Where its authors offer them; the last part is the file's name.
        weights: A file to be used in place of that in torch.hub's folder.

    Raises:
        InputError: There is no such file, it isn't the one its name says, or it can't be read.
    """
    name = url.rpartition("/")[2]
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    file = Path(weights).expanduser() if weights else folder / name
    what = f"weights {file} of {metric}"
    if not file.is_file():
        if weights:
            raise InputError(f"{what}: no such file")
        raise InputError(
            f"{metric} needs the weights {name}, which aren't in {folder}: download {url} into it"
        )
    return read(metric, file, "" if weights else url)


def read(metric: str, file: Path, url: str = "") -> Weights:
    """Read a file of a metric's weights; see `find`.

    Where ``url`` is given, the file must be the one whose SHA-256 begins as its name says.
    """
    what = f"weights {file} of {metric}"
    with refused(what):
        sha256 = _sha256(file, file.stat().st_mtime_ns)
    digits = _DIGITS.search(url)
    if digits and not sha256.startswith(digits[1]):
        raise InputError(
            f"{what} are broken: their SHA-256 begins with {sha256[: len(digits[1])]}, not with "
            f"{digits[1]}; download {url} again"
        )
    try:
        state = foreign.tensors(file)
    except InputError as error:
        raise InputError(f"{what}: not a readable state_dict ({error})") from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputError(f"{what}: not a state_dict")
    return Weights(metric, file, sha256, state)


def features(build: Callable[..., nn.Module], weights: Weights) -> nn.Module:
    """Return the convolutions of one of torchvision's networks with their weights."""
    with torch.device("meta"):  # nothing is made that is thrown away at once
        network: Any = build(weights=None)
    convolutions: nn.Module = network.features
    prefix = "features."
    state = {k.removeprefix(prefix): v for k, v in weights.state.items() if k.startswith(prefix)}
    try:
        convolutions.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise weights.misfit(error) from error
    return convolutions
