"""srkit: face super-resolution with parts from plugins and numbers that can be repeated.

Importing this package imports neither torch nor any plugin; names come when they are used.
"""

from __future__ import annotations

import importlib

__version__ = "0.1.0"

TYPE_CHECKING = False  # true for type checkers; `typing` takes longer than all of this module
if TYPE_CHECKING:
    from typing import Any

    from srkit.batch.upscaler import Upscaler as Upscaler
    from srkit.cli.train import parse_time as parse_time
    from srkit.errors import InputError as InputError
    from srkit.errors import OptionError as OptionError
    from srkit.errors import SrkitError as SrkitError
    from srkit.evaluation.run import bench as bench
    from srkit.evaluation.statistics import difference as difference
    from srkit.hookspecs import DiscriminatorOutput as DiscriminatorOutput
    from srkit.hookspecs import Metric as Metric
    from srkit.hookspecs import Person as Person
    from srkit.hookspecs import ReadyModel as ReadyModel
    from srkit.hookspecs import SetMetric as SetMetric
    from srkit.hookspecs import hookimpl as hookimpl
    from srkit.imaging.codec import bicubic as bicubic
    from srkit.inference.engines import export as export
    from srkit.inference.model import Model as Model
    from srkit.models.load import load as load
    from srkit.recipe import Adversarial as Adversarial
    from srkit.recipe import Data as Data
    from srkit.recipe import Loss as Loss
    from srkit.recipe import Optimizer as Optimizer
    from srkit.recipe import Part as Part
    from srkit.recipe import Recipe as Recipe
    from srkit.recipe import Recovery as Recovery
    from srkit.recipe import parse_setting as parse_setting
    from srkit.registry import parts as parts
    from srkit.registry import register as register
    from srkit.training.cost import plan as plan
    from srkit.training.loop import train as train

# Public names by the module that they come from.
_NAMES = {
    "batch.upscaler": "Upscaler",
    "cli.train": "parse_time",
    "errors": "InputError OptionError SrkitError",
    "evaluation.run": "bench",
    "evaluation.statistics": "difference",
    "hookspecs": "DiscriminatorOutput Metric Person ReadyModel SetMetric hookimpl",
    "imaging.codec": "bicubic",
    "inference.engines": "export",
    "inference.model": "Model",
    "models.load": "load",
    "recipe": "Adversarial Data Loss Optimizer Part Recipe Recovery parse_setting",
    "registry": "parts register",
    "training.cost": "plan",
    "training.loop": "train",
}

__all__ = sorted(["__version__", *" ".join(_NAMES.values()).split()])


def __getattr__(name: str) -> Any:
    for module, names in _NAMES.items():
        if name in names.split():
            return getattr(importlib.import_module(f"srkit.{module}"), name)
    raise AttributeError(f"module 'srkit' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
