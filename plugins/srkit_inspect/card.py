"""Facts of a model: parameters, operations, receptive radius, origin."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from srkit.inference.model import Model

SIDE = 64  # LR pixels of the image that FLOPs are counted for
COUNTED = "2 x multiply-adds of convolutions, matrix products and attention; nothing else"
# Labels of metadata, where they differ from the key.
NAMES = {
    "data": "training images",
    "scores": "last validation",
    "provider": "network of",
    "versions": "trained with",
}


@dataclass(frozen=True)
class Cost:
    """Cost of one forward pass."""

    parameters: int
    flops: int  # for an image of `SIDE` x `SIDE` LR pixels, counted as `COUNTED` says


def cost(model: Model) -> Cost | None:
    """Count a model's parameters and operations; None where it isn't torch that computes."""
    if model.metadata.get("reader") == "onnx":
        return None
    parameters = sum(weight.numel() for weight in model.generator.parameters())
    return Cost(parameters, _flops(model.generator))


def _flops(generator: nn.Module) -> int:
    """Count on tensors without contents, which takes no time; on real ones where that fails."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad():
        try:
            empty = copy.deepcopy(generator).to("meta")
            with counter:
                empty(torch.empty(1, 3, SIDE, SIDE, device="meta"))
        except Exception:  # a foreign network makes tensors of its own, somewhere else
            weight = next(generator.parameters(), torch.empty(0))
            counter = FlopCounterMode(display=False)
            with counter:
                generator(torch.full((1, 3, SIDE, SIDE), 0.5, device=weight.device))
    return int(counter.get_total_flops())


def rows(model: Model) -> list[tuple[str, str]]:
    """Return the facts of a model, as pairs of label and value, for people."""
    radius: int | None = getattr(model.generator, "receptive_radius", None)
    reach = "unknown: tiles approximate" if radius is None else f"{radius} LR pixels: tiles exact"
    shown = [("scale", str(model.scale)), ("receptive radius", reach)]
    if counted := cost(model):
        shown += [
            ("parameters", f"{counted.parameters:,}"),
            ("FLOPs per LR pixel", _short(counted.flops / SIDE**2)),
            (f"FLOPs for {SIDE}x{SIDE} LR pixels", f"{_short(counted.flops)} ({COUNTED})"),
        ]
    else:
        shown.append(("parameters, FLOPs", "not counted in ONNX files"))
    shown += [("licence", model.licence), ("sha256", model.sha256 or "no weights")]
    metadata = dict(model.metadata)
    step = metadata.pop("step", None)
    if model.recipe:
        steps = f", {step:,} steps" if step is not None else ""
        precision = model.recipe.precision
        trained = "" if precision == "auto" else f", in {precision}"
        shown.append(("recipe", f"{model.recipe.name}{steps}{trained}"))
    return shown + [
        (NAMES.get(key, key.replace("_", " ")), _text(value))
        for key, value in metadata.items()
        if value
    ]


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(each)}" for key, each in value.items() if each != "")
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _short(count: float) -> str:
    """Return a count with three digits and a prefix: ``1.42 M``."""
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= factor:
            return f"{count / factor:.3g} {prefix}"
    return f"{count:.3g}"
