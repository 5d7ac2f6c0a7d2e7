"""Numbers as the page prints them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

MINUS = "\N{MINUS SIGN}"
SPACE = "\N{NO-BREAK SPACE}"
NONE = "\N{EN DASH}"  # where a table has no value
UP, DOWN = "\N{UPWARDS ARROW}", "\N{DOWNWARDS ARROW}"  # higher, lower is better


def number(value: float | None, digits: int, *, sign: bool = False) -> str:
    """Return a number with so many decimals, a true minus, and infinity as its sign."""
    if value is None or math.isnan(value):
        return NONE
    if math.isinf(value):
        return ("+" if sign and value > 0 else "" if value > 0 else MINUS) + "\N{INFINITY}"
    text = f"{value:{'+' if sign else ''},.{digits}f}"
    if not any(digit in text for digit in "123456789"):
        text = text.lstrip("+-")  # a zero has no sign
    return text.replace("-", MINUS)


def span(low: float, high: float, digits: int, *, sign: bool = False) -> str:
    """Return an interval, such as ``[+1.20, +1.40]``."""
    return f"[{number(low, digits, sign=sign)}, {number(high, digits, sign=sign)}]"


def words(low: float, high: float, digits: int) -> str:
    """Return an interval within a sentence, such as ``1.20 to 1.40``."""
    return f"{number(low, digits)} to {number(high, digits)}"


def percent(share: float, digits: int = 0) -> str:
    """Return a share as per cent."""
    return NONE if math.isnan(share) else f"{number(100 * share, digits)}%"


def equals(p: float) -> str:
    """Return a p-value with its sign, such as ``= 0.012`` or ``< 0.001``."""
    return "< 0.001" if p < 0.001 else f"= {number(p, 3)}"


def duration(seconds: float) -> str:
    """Return seconds, or minutes and seconds, or hours and minutes."""
    if seconds < 60:
        return f"{number(seconds, 1)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def digits_of(metric: Mapping[str, Any]) -> int:
    """Return how many decimals a metric's values get: two for decibels, else four."""
    return 2 if metric.get("unit") == "dB" else 4


def heading(name: str, metric: Mapping[str, Any]) -> str:
    """Return a metric's heading, with its unit and which way is better."""
    unit = metric.get("unit") or ""
    said = f"{title(name, metric)}, {unit}" if unit else title(name, metric)
    return f"{said}{SPACE}{UP if metric.get('higher_is_better') else DOWN}"


def title(name: str, metric: Mapping[str, Any]) -> str:
    """Return what a metric is called."""
    return str(metric.get("title") or name)
