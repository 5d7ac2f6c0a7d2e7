"""Tables for the terminal and what stands in their cells.

Cells are of plain characters: a pipe's encoding may know no others.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

NOTHING = "-"

T = TypeVar("T")


def grid(texts: Sequence[str], numbers: Sequence[str]) -> Table:
    """Return a table without rows: columns of texts at the left, then columns of numbers."""
    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    for text in texts:
        table.add_column(Text(text), overflow="fold")
    for text in numbers:
        table.add_column(Text(text), justify="right", overflow="fold")
    return table


def titled(title: str, *found: RenderableType, said: Iterable[str] = ()) -> Group:
    """Return a title, tables and notes, or nothing where there are no tables."""
    return Group(Text(title, "bold"), *found, *notes(said)) if found else Group()


def notes(lines: Iterable[str], before: str = "") -> list[RenderableType]:
    """Return lines in small print."""
    return [Text(f"{before}{line}", style="dim") for line in lines]


def pieces(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Cut what is too wide for one table."""
    for first in range(0, len(items), size):
        yield items[first : first + size]


def heading(name: str, about: Mapping[str, Any]) -> str:
    """Return a metric's heading, its unit in a second line."""
    title, unit = about.get("title") or name, about.get("unit")
    return f"{title}\n{unit}" if unit else str(title)


def digits(about: Mapping[str, Any]) -> int:
    """Return how many decimals a metric's values get."""
    return 2 if about.get("unit") == "dB" else 4


def number(value: float, places: int, *, signed: bool = False) -> str:
    """Return a number with so many decimals; a zero has no sign."""
    text = f"{value:{'+' if signed else ''}.{places}f}"
    return text if any(c in "123456789infa" for c in text) else text.lstrip("+-")


def span(low: float, high: float, places: int, *, signed: bool = False) -> str:
    """Return an interval."""
    return f"[{number(low, places, signed=signed)}, {number(high, places, signed=signed)}]"


def with_ends(
    mean: float, low: float, high: float, places: int, *, signed: bool = False, wide: bool = False
) -> str:
    """Return a mean and its interval, side by side or one below the other."""
    between = " " if wide else "\n"
    return number(mean, places, signed=signed) + between + span(low, high, places, signed=signed)


def probability(p: float) -> str:
    """Return a p-value, of which small ones are only said to be so."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def estimate_cell(estimate: Any) -> str:
    """Return an estimated rate over its interval, both without the 0 that rates begin with."""
    if estimate is None or math.isnan(estimate.value):
        return NOTHING
    value, low, high = (
        re.sub(r"^(-?)0\.", r"\1.", number(each, 3))
        for each in (estimate.value, estimate.low, estimate.high)
    )
    return f"{value}\n{low}-{high}"


def share(estimate: Any) -> str:
    """Return an estimated share in per cent over its interval."""
    if estimate is None or math.isnan(estimate.value):
        return NOTHING
    low, high = (number(100 * end, 0) for end in (estimate.low, estimate.high))
    return f"{number(100 * estimate.value, 0)}%\n[{low}, {high}]"


def flat(text: str) -> str:
    """Return a heading in one line."""
    return text.replace("\n", ", ")


def plain(value: Any) -> str:
    """Return a value of a protocol; a list without brackets."""
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
