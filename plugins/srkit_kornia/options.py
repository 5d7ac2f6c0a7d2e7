"""Values of a step as a recipe writes them: ranges, probabilities, weighted choices."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field

Name = TypeVar("Name")
Ends = tuple[float, float]

Probability = Annotated[float, Field(ge=0, le=1)]


def _pair(value: Any) -> Any:
    """A single number stands for a range without width."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (value, value)
    if isinstance(value, list | tuple) and len(value) == 2:
        return tuple(value)
    raise ValueError("a range is a number or [low, high]")


def _within(least: float, most: float = math.inf) -> Callable[[Ends], Ends]:
    limits = f"from {least:g} to {most:g}" if most < math.inf else f"from {least:g} up"

    def check(ends: Ends) -> Ends:
        low, high = ends
        if not (least <= low <= high <= most and math.isfinite(high)):
            raise ValueError(f"a range here lies within numbers {limits}, the low end first")
        return ends

    return check


def _odd(ends: Ends) -> Ends:
    if any(end % 2 != 1 for end in ends):
        raise ValueError("a window's side is an odd number of pixels")
    return ends


def _weights(value: Any) -> Any:
    """``"a"``, ``["a", "b"]`` (equally often) and ``{a = 3, b = 1}`` are all choices."""
    if isinstance(value, str):
        return {value: 1.0}
    return dict.fromkeys(value, 1.0) if isinstance(value, list | tuple) else value


def _some(weights: dict[Name, float]) -> dict[Name, float]:
    kept = {name: weight for name, weight in weights.items() if weight > 0}
    if not kept:
        raise ValueError("a choice needs at least one name with a weight above 0")
    return kept


# Ranges as [low, high], or one number: each image's value is drawn uniformly between the ends.
Amount = Annotated[Ends, BeforeValidator(_pair), AfterValidator(_within(0))]
Angle = Annotated[Ends, BeforeValidator(_pair), AfterValidator(_within(-360, 360))]
Cutoff = Annotated[Ends, BeforeValidator(_pair), AfterValidator(_within(0.1, math.pi))]
Exponent = Annotated[Ends, BeforeValidator(_pair), AfterValidator(_within(0.1, 10))]
Factor = Annotated[Ends, BeforeValidator(_pair), AfterValidator(_within(0.01, 8))]
Quality = Annotated[Ends, BeforeValidator(_pair), AfterValidator(_within(1, 100))]
Span = Annotated[Ends, BeforeValidator(_pair), AfterValidator(_within(1, 255))]
Window = Annotated[
    Ends, BeforeValidator(_pair), AfterValidator(_within(3, 255)), AfterValidator(_odd)
]

# A choice among names, drawn per image; weights needn't sum to 1.
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Weighted = Annotated[dict[Name, Weight], BeforeValidator(_weights), AfterValidator(_some)]
