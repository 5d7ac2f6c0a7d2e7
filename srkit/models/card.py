"""What is known of a model: its size, what it costs to run, how far it reaches, its origin."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from srkit.inference.upscale import Model

SIDE = 64  # LR pixels, where it isn't known what a model learned from
COUNTED = "2 x multiply-adds of convolutions, matrix products and attention; nothing else"
KNOWN = frozenset({"data", "parts", "pinned", "provider", "scores", "step", "versions"})


@dataclass(frozen=True)
class Cost:
    """What one pass takes.

    Attributes:
        parameters: Of the generator.
        flops: Floating-point operations for a picture of ``side`` x ``side`` LR pixels, counted
            as `COUNTED` says.
        side: That of the pictures it learned from, or `SIDE`.
    """

    parameters: int
    flops: int
    side: int

    @property
    def flops_per_pixel(self) -> float:
        """Of LR, averaged over that picture."""
        return self.flops / self.side**2


def cost(model: Model) -> Cost | None:
    """Count a model's parameters and operations; None where it isn't torch that computes."""
    if "onnx" in (model.metadata.get("reader"), model.metadata.get("backend")):
        return None
    side = model.recipe.data.size // model.recipe.scale if model.recipe else SIDE
    parameters = sum(weight.numel() for weight in model.generator.parameters())
    return Cost(parameters, _flops(model.generator, side), side)


def _flops(generator: nn.Module, side: int) -> int:
    """Count on tensors without contents, which takes no time; on real ones where that fails."""
    with torch.no_grad():
        try:
            empty = copy.deepcopy(generator).to("meta")
            with FlopCounterMode(display=False) as counter:
                empty(torch.empty(1, 3, side, side, device="meta"))
        except Exception:  # a foreign network makes tensors of its own, somewhere else
            weight = next(generator.parameters(), torch.empty(0))
            with FlopCounterMode(display=False) as counter:
                generator(torch.full((1, 3, side, side), 0.5, device=weight.device))
    return int(counter.get_total_flops())


def rows(model: Model) -> list[tuple[str, str]]:
    """Return what is known of a model, as pairs of what it is and its value, for people."""
    found = cost(model)
    radius: int | None = getattr(model.generator, "receptive_radius", None)
    reach = "unknown: tiles approximate" if radius is None else f"{radius} LR pixels: tiles exact"
    shown = [("scale", str(model.scale)), ("receptive radius", reach)]
    if found:
        here = f"{found.side}x{found.side} LR pixels"
        shown += [
            ("parameters", f"{found.parameters:,}"),
            ("FLOPs per LR pixel", _short(found.flops_per_pixel)),
            (f"FLOPs for {here}", f"{_short(found.flops)} ({COUNTED})"),
        ]
    else:
        shown.append(("parameters, FLOPs", "not counted in ONNX files"))
    return [*shown, ("licence", model.licence), *_origin(model)]


def _origin(model: Model) -> list[tuple[str, str]]:
    about: dict[str, Any] = model.metadata
    shown = [("sha256", model.sha256 or "no weights")]
    if "pinned" in about:
        shown.append(("pinned", about["pinned"]))
    if model.recipe:
        done = f", {about['step']:,} batches" if "step" in about else ""
        shown.append(("recipe", f"{model.recipe.name}{done}"))
    if about.get("data"):
        shown.append(("training pictures", f"fingerprint {about['data']}"))
    if about.get("scores"):
        shown.append(("last validation", _list(about["scores"])))
    if about.get("parts"):
        shown.append(("parts", _list(about["parts"])))
    if about.get("versions"):
        shown.append(("trained with", _list(about["versions"])))
    if about.get("provider"):
        shown.append(("network of", about["provider"]))
    rest = {key: value for key, value in about.items() if key not in KNOWN and value}
    return [*shown, *((key.replace("_", " "), _text(value)) for key, value in rest.items())]


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return _list(value)
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _list(values: dict[str, Any]) -> str:
    return ", ".join(f"{key} {_text(value)}" for key, value in values.items() if value != "")


def _short(count: float) -> str:
    """Return a count with three digits and a prefix: ``1.42 M``."""
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= factor:
            return f"{count / factor:.3g} {prefix}"
    return f"{count:.3g}"
