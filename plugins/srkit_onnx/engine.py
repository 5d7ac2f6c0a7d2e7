"""ONNX Runtime as an engine: any model that can be exported, faster than torch on many CPUs."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch

import srkit
from srkit import InputError, Model
from srkit.files import cache_folder
from srkit_onnx.generator import OnnxGenerator
from srkit_onnx.reader import read


class OnnxRuntime:
    """ONNX Runtime on the CPU, in float32, in as many threads as torch uses.

    A model is exported once, into the folder ``exported`` of srkit's cache.
    """

    devices: tuple[str, ...] = ("cpu",)

    def __call__(self, model: Model) -> OnnxGenerator:
        """Return the exported network.

        Raises:
            InputError: It can't be exported.
        """
        if isinstance(model.generator, OnnxGenerator):
            return model.generator
        file = cached(model)
        try:
            return _read(file) if file.is_file() else _exported(model, file)
        except InputError:
            file.unlink(missing_ok=True)  # damaged
            return _exported(model, file)


def cached(model: Model) -> Path:
    """Return the place of a model's file: all that decides its contents is in its name."""
    metadata = json.dumps(model.metadata, sort_keys=True, default=str)
    versions = (srkit.__version__, str(torch.__version__))
    parts = [*versions, str(model.sha256), str(model.scale), metadata]
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    return cache_folder("exported") / f"{digest[:32]}.onnx"


def _exported(model: Model, file: Path) -> OnnxGenerator:
    srkit.export(model, file, force=True)
    return _read(file)


def _read(file: Path) -> OnnxGenerator:
    generator = read(file)
    assert generator is not None  # its name ends in .onnx
    return generator
