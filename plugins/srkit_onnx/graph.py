"""A network as an ONNX graph without weights: what engines run without torch.

A graph is a few kilobytes and fits all weights of one architecture. Files of it say what it was
made of, so that a broken or foreign one is noticed; see `srkit_onnx.conversion`.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from typing_extensions import TypedDict

from srkit import InputError, Model, foreign
from srkit.files import write_text

Shapes = dict[str, tuple[int, ...]]


class Traits(TypedDict):
    """A generator's attributes beside its network; see `srkit.hookspecs.Generator`."""

    receptive_radius: int | None
    symmetries: tuple[str, ...]
    alignment: int


class _File(TypedDict):
    format: Literal[1]
    network: str
    traits: Traits
    weights: Shapes
    sha256: str
    graph: str


@dataclass(frozen=True)
class Graph:
    """An ONNX graph without weights."""

    network: str  # what it was made of, as JSON: a generator, its options and its scale
    traits: Traits
    weights: Shapes  # that it lacks
    content: bytes  # ONNX, without initializers of these names

    def onnx(self, weights: Mapping[str, np.ndarray]) -> bytes:
        """Return a whole ONNX file, in float32; weights that it doesn't lack are left out."""
        pieces = [piece for name in self.weights for piece in _initializer(name, weights[name])]
        # Protocol buffers are merged by writing one behind the other.
        return b"".join([self.content, *_message(7, pieces)])

    def write(self, file: Path) -> None:
        """Write a file that `read` reads.

        Raises:
            InputError: It can't be written.
        """
        values: _File = {
            "format": 1,
            "network": self.network,
            "traits": self.traits,
            "weights": self.weights,
            "sha256": hashlib.sha256(self.content).hexdigest(),
            "graph": base64.b64encode(self.content).decode(),
        }
        write_text(file, json.dumps(values) + "\n")


def read(file: Path, network: str, weights: Shapes) -> Graph | None:
    """Return the graph in a file, or None where it is missing, broken, or another network's.

    ``network`` is `Graph.network` as it must be, ``weights`` what is at hand.
    """
    try:
        values = foreign.read(file, _File, "JSON")
        content = base64.b64decode(values["graph"], validate=True)
    except (InputError, ValueError):
        return None
    fits = values["network"] == network and values["weights"].items() <= weights.items()
    if not fits or hashlib.sha256(content).hexdigest() != values["sha256"]:
        return None
    return Graph(network, values["traits"], values["weights"], content)


def network_of(model: Model) -> str:
    """Return what a model's network is made of, see `Graph.network`; ``""`` where it is unknown."""
    metadata = model.metadata
    of: list[Any] = [model.scale]
    if reader := metadata.get("reader"):
        of = [reader, {}, *of, metadata["provider"], model.sha256]
    elif model.recipe:
        of = [model.recipe.generator.name, model.recipe.generator.options, *of]
    elif name := metadata.get("generator"):
        of = [name, metadata["options"], *of]
    return json.dumps(of, sort_keys=True, default=str) if len(of) > 1 else ""


def _initializer(name: str, values: np.ndarray) -> list[bytes]:
    """Return a tensor among a graph's (in onnx.proto GraphProto 5; TensorProto 1, 2, 8, 9)."""
    raw = np.ascontiguousarray(values, np.float32).tobytes()
    dimensions = b"".join(b"\x08" + _varint(side) for side in values.shape)
    head = [dimensions, b"\x10\x01", *_message(8, [name.encode()])]
    return _message(5, [*head, *_message(9, [raw])])


def _message(field: int, pieces: list[bytes]) -> list[bytes]:
    length = sum(map(len, pieces))
    return [_varint(field << 3 | 2) + _varint(length), *pieces]


def _varint(number: int) -> bytes:
    digits = bytearray()
    while number > 127:
        digits.append(number & 127 | 128)
        number >>= 7
    return bytes([*digits, number])
