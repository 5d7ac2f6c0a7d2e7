"""srkit: face super-resolution with parts from plugins and numbers that can be repeated.

Importing this package imports neither torch nor any plugin; names come when they are used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from srkit.batch.memory import Upscaler
    from srkit.cli.train import parse_time
    from srkit.errors import InputError, OptionError, SrkitError
    from srkit.evaluation.run import bench
    from srkit.evaluation.statistics import difference
    from srkit.hookspecs import DiscriminatorOutput, Metric, Person, ReadyModel, SetMetric, hookimpl
    from srkit.imaging.codec import bicubic
    from srkit.inference.model import Model
    from srkit.models.export import export
    from srkit.models.load import load
    from srkit.recipe import (
        Adversarial,
        Data,
        Loss,
        Optimizer,
        Part,
        Recipe,
        Recovery,
        parse_setting,
    )
    from srkit.registry import parts, register
    from srkit.training.cost import plan
    from srkit.training.loop import train

# Public names by the module that they come from.
_NAMES = {
    "batch.memory": "Upscaler",
    "cli.train": "parse_time",
    "errors": "InputError OptionError SrkitError",
    "evaluation.run": "bench",
    "evaluation.statistics": "difference",
    "hookspecs": "DiscriminatorOutput Metric Person ReadyModel SetMetric hookimpl",
    "imaging.codec": "bicubic",
    "inference.model": "Model",
    "models.export": "export",
    "models.load": "load",
    "recipe": "Adversarial Data Loss Optimizer Part Recipe Recovery parse_setting",
    "registry": "parts register",
    "training.cost": "plan",
    "training.loop": "train",
}

__all__ = [
    "Adversarial",
    "Data",
    "DiscriminatorOutput",
    "InputError",
    "Loss",
    "Metric",
    "Model",
    "Optimizer",
    "OptionError",
    "Part",
    "Person",
    "ReadyModel",
    "Recipe",
    "Recovery",
    "SetMetric",
    "SrkitError",
    "Upscaler",
    "__version__",
    "bench",
    "bicubic",
    "difference",
    "export",
    "hookimpl",
    "load",
    "parse_setting",
    "parse_time",
    "parts",
    "plan",
    "register",
    "train",
]


def __getattr__(name: str) -> Any:
    for module, names in _NAMES.items():
        if name in names.split():
            return getattr(importlib.import_module(f"srkit.{module}"), name)
    raise AttributeError(f"module 'srkit' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
