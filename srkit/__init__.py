"""srkit: face super-resolution with parts from plugins and numbers that can be repeated.

Importing this package imports neither torch nor any plugin; names come when they are used.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from srkit.bench import bench
    from srkit.errors import InputError, OptionError, SrkitError
    from srkit.hookspecs import DiscriminatorOutput, Metric, Person, ReadyModel, SetMetric, hookimpl
    from srkit.images import bicubic
    from srkit.models import load
    from srkit.recipe import Adversarial, Data, Loss, Optimizer, Part, Recipe
    from srkit.train import train
    from srkit.upscale import Model

_WHERE = {
    "Adversarial": "recipe",
    "Data": "recipe",
    "DiscriminatorOutput": "hookspecs",
    "InputError": "errors",
    "Loss": "recipe",
    "Metric": "hookspecs",
    "Model": "upscale",
    "Optimizer": "recipe",
    "OptionError": "errors",
    "Part": "recipe",
    "Person": "hookspecs",
    "ReadyModel": "hookspecs",
    "Recipe": "recipe",
    "SetMetric": "hookspecs",
    "SrkitError": "errors",
    "bench": "bench",
    "bicubic": "images",
    "hookimpl": "hookspecs",
    "load": "models",
    "train": "train",
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
    "SetMetric",
    "SrkitError",
    "__version__",
    "bench",
    "bicubic",
    "hookimpl",
    "load",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(importlib.import_module(f"srkit.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'srkit' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)


class _Package(ModuleType):
    """Keeps `srkit.train` and `srkit.bench` functions once the modules of that name load.

    Importing a submodule sets it as an attribute of its package, which would hide the function.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in ("train", "bench") and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
