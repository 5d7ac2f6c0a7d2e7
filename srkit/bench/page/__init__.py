"""The report as one page of HTML with its pictures inside."""

from srkit.bench.page.sections import Cell, Figure, PlainTable, Section
from srkit.bench.page.write import write

__all__ = ["Cell", "Figure", "PlainTable", "Section", "write"]
