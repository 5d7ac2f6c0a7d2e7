"""Cells of tables that show published numbers beside measured ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from srkit.evaluation.page.numbers import NONE, number, span
from srkit.evaluation.page.sections import Cell
from srkit.evaluation.studies.published import Stated

if TYPE_CHECKING:
    from srkit.evaluation.identity.estimate import Estimate

THEIRS = "published"


def stated(value: Stated | None, digits: int, *, sign: bool = False) -> str:
    """Return a published number, or that it isn't stated."""
    if value is None:
        return NONE
    return value if isinstance(value, str) else number(value, digits, sign=sign)


def with_ends(value: Estimate, digits: int, *, sign: bool = False) -> Cell:
    """Return a figure, and its interval beneath."""
    ends = span(value.low, value.high, digits, sign=sign)
    return Cell(number(value.value, digits, sign=sign), under=ends)
