"""Sheets of pictures, enlarged by repeating their pixels: what is seen is what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from srkit.evaluation.cases import Pixels
from srkit.evaluation.page.charts import FONT, GREY, INK, label
from srkit.evaluation.studies.details import Box

WIDE, GAP, MARGIN, LINE = 128, 12, 20, 18  # pixels of a sheet; WIDE about
FRAME = (213, 94, 0)  # Okabe and Ito's vermilion


@dataclass(frozen=True)
class Tile:
    """One picture of a sheet.

    Attributes:
        heading: Above.
        pixels: ``HW3``.
        under: Beneath; "" for nothing.
        box: To be framed, in the picture's pixels.
    """

    heading: str
    pixels: Pixels
    under: str = ""
    box: Box | None = None


def sheet(rows: Sequence[Sequence[Tile]]) -> Image.Image:
    """Return rows of tiles as one picture; each tile is enlarged by repeating its pixels."""
    drawn = [[(tile, _enlarged(tile)) for tile in row] for row in rows]
    wide = max(picture.width for row in drawn for _, picture in row)
    heights = [max(picture.height for _, picture in row) + 2 * LINE + GAP for row in drawn]
    count = max(len(row) for row in rows)
    page = Image.new(
        "RGB", (count * (wide + GAP) - GAP + 2 * MARGIN, sum(heights) + 2 * MARGIN), "white"
    )
    draw = ImageDraw.Draw(page)
    bold, plain = (_font(weight) for weight in ("bold", "normal"))
    top = MARGIN
    for row, height in zip(drawn, heights, strict=True):
        for n, (tile, picture) in enumerate(row):
            left = MARGIN + n * (wide + GAP)
            draw.text((left, top), label(tile.heading), INK, bold)
            page.paste(picture, (left, top + LINE))
            draw.text((left, top + LINE + picture.height + 3), label(tile.under), GREY, plain)
        top += height
    return page


def _enlarged(tile: Tile) -> Image.Image:
    picture = Image.fromarray(tile.pixels)
    times = max(1, round(WIDE / picture.width))
    picture = picture.resize(
        (picture.width * times, picture.height * times), Image.Resampling.NEAREST
    )
    if tile.box:
        left, top, right, bottom = (value * times for value in tile.box)
        ImageDraw.Draw(picture).rectangle(
            (left, top, right - 1, bottom - 1), outline=FRAME, width=2
        )
    return picture


def _font(weight: str) -> ImageFont.FreeTypeFont:
    from matplotlib.font_manager import FontProperties, findfont

    return ImageFont.truetype(findfont(FontProperties(family=FONT, weight=weight)), 11)
