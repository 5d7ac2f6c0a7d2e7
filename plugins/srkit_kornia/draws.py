"""Ranges and weighted choices: as a recipe writes them, and as an image's seed draws from them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, TypeVar

import torch
from pydantic import AfterValidator, BeforeValidator, Field
from torch import Tensor

from srkit import seeds as noise_of

Name = TypeVar("Name", bound=str)
Ends = tuple[float, float]


def _pair(value: Any) -> Any:
    """A single number stands for a range without width."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (value, value)
    if isinstance(value, list | tuple) and len(value) == 2:
        return tuple(value)
    raise ValueError("a range is a number or [low, high]")


def _within(least: float, most: float = math.inf) -> AfterValidator:
    limits = f"from {least:g} to {most:g}" if most < math.inf else f"from {least:g} up"

    def check(ends: Ends) -> Ends:
        low, high = ends
        if not (least <= low <= high <= most and math.isfinite(high)):
            raise ValueError(f"a range here lies within numbers {limits}, the low end first")
        return ends

    return AfterValidator(check)


def _odd(ends: Ends) -> Ends:
    if any(end % 2 != 1 for end in ends):
        raise ValueError("a window's side is an odd number of pixels")
    return ends


def _weights(value: Any) -> Any:
    """``"a"``, ``["a", "b"]`` (equally often) and ``{a = 3, b = 1}`` are all choices."""
    names = [value] if isinstance(value, str) else value
    return dict.fromkeys(names, 1.0) if isinstance(names, list | tuple) else value


def _some(weights: dict[Name, float]) -> dict[Name, float]:
    if kept := {name: weight for name, weight in weights.items() if weight > 0}:
        return kept
    raise ValueError("a choice needs at least one name with a weight above 0")


Probability = Annotated[float, Field(ge=0, le=1)]

# Ranges as [low, high], or one number: each image's value is drawn uniformly between the ends.
Range = Annotated[Ends, BeforeValidator(_pair)]
Amount = Annotated[Range, _within(0)]
Angle = Annotated[Range, _within(-360, 360)]
Cutoff = Annotated[Range, _within(0.1, math.pi)]
Exponent = Annotated[Range, _within(0.1, 10)]
Factor = Annotated[Range, _within(0.01, 8)]
Quality = Annotated[Range, _within(1, 100)]
Span = Annotated[Range, _within(1, 255)]
Window = Annotated[Range, _within(3, 255), AfterValidator(_odd)]

# A choice among names, drawn per image; weights needn't sum to 1.
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Weighted = Annotated[dict[Name, Weight], BeforeValidator(_weights), AfterValidator(_some)]


def working(device: torch.device) -> torch.dtype:
    """Return the precision of sums: float64, or float32 where there is no other (Apple's GPUs).

    In float32 the last bit of a matrix product can depend on the batch's size, and where it tips
    a rounding (JPEG's, amid the work), a whole level changes. In float64 that is as rare as never.
    """
    return torch.float32 if device.type == "mps" else torch.float64


def between(ends: Ends, seeds: Tensor, stream: int) -> Tensor:
    """Draw one value an image, uniformly: shape ``B``, in the working precision."""
    low, high = ends
    precision = working(seeds.device)
    if low == high:
        return torch.full(seeds.shape, low, dtype=precision, device=seeds.device)
    return low + (high - low) * noise_of.uniform(seeds, (), stream).to(precision)


def whole(ends: Ends, seeds: Tensor, stream: int, *, every: int = 1) -> Tensor:
    """Draw one of ``low``, ``low + every``… up to ``high`` an image, all as often; shape ``B``."""
    low, high = ends
    count = (high - low) // every + 1
    drawn = noise_of.uniform(seeds, (), stream).to(working(seeds.device))
    return low + every * torch.floor(drawn * count)


def chosen(weights: Iterable[float], seeds: Tensor, stream: int) -> Tensor:
    """Draw the position of one of the weights an image: int64, shape ``B``."""
    shares = list(weights)
    drawn = noise_of.uniform(seeds, (), stream) * sum(shares)
    index = torch.zeros_like(seeds)
    for bound in list(itertools.accumulate(shares))[:-1]:
        index = index + (drawn >= bound)
    return index


def mixed(
    weights: Mapping[Name, float], seeds: Tensor, stream: int, make: Callable[[Name], Tensor]
) -> Tensor:
    """Draw a name an image, and return what ``make(name)``, shape ``B...``, gives for it.

    Every name is computed for the whole batch, so that no draw decides a shape.
    """
    index = chosen(weights.values(), seeds, stream)
    first, *others = weights
    result = make(first)
    for number, name in enumerate(others, start=1):
        mask = (index == number).reshape(-1, *[1] * (result.ndim - 1))
        result = torch.where(mask, make(name), result)
    return result
