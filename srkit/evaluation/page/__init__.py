"""The report as one page of HTML with its pictures inside."""

from srkit.evaluation.page.sections import Cell, Figure, PlainTable, Section
from srkit.evaluation.page.write import write

__all__ = ["Cell", "Figure", "PlainTable", "Section", "write"]
