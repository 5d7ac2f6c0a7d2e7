"""What a section of the page is made of, for those who add their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing
    from PIL import Image

Drawn: TypeAlias = "bytes | Image.Image | Drawing"


@dataclass(frozen=True)
class PlainTable:
    """Text in rows.

    Attributes:
        headings: One a column. The first column names the rows.
        rows: Cells, as many as headings. Columns of numbers stand to the right. A `Cell` may be
            bold, or have a second line.
        note: Stands beneath; "" for none.
        caption: Stands above; "" for none.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    caption: str = ""


class Cell(str):
    """Text in a table, and how it is printed.

    Args:
        text: What it says.
        strong: Print it bold: the best of its column, say.
        under: A smaller line beneath.
        code: Set it as code, and break it anywhere: a hash, say.
    """

    __slots__ = ("code", "strong", "under")

    def __new__(
        cls, text: str, *, strong: bool = False, under: str = "", code: bool = False
    ) -> Cell:
        """Return the text with how it is printed."""
        cell = super().__new__(cls, text)
        cell.strong, cell.under, cell.code = strong, under, code
        return cell

    strong: bool
    under: str
    code: bool


@dataclass(frozen=True)
class Figure:
    """A picture with its caption.

    Attributes:
        name: Of its file in ``figures/``, without an ending: letters, digits and hyphens.
        picture: Bytes of a PNG; a Pillow image (pixels, which are never smoothed when they
            are shown larger); or a matplotlib figure, which becomes vector graphics in the page.
            Draw charts with `srkit.evaluation.page.charts.canvas`, whose colours hold on white and
            on near-black.
        caption: Stands beneath.
        alt: What there is to see, for those who can't.
    """

    name: str
    picture: Drawn
    caption: str
    alt: str


@dataclass(frozen=True)
class Section:
    """A part of the page under a heading of its own.

    Attributes:
        title: The heading.
        text: Plain paragraphs, before the rest.
        tables: After them.
        figures: At the end.
    """

    title: str
    text: Sequence[str] = ()
    tables: Sequence[PlainTable] = field(default=())
    figures: Sequence[Figure] = field(default=())
