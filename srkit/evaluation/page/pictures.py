"""Chosen pictures in all columns: tiles for the page, and one sheet as a PNG.

Small pictures are enlarged by repeating their pixels and never smoothed, so that what is seen is
what was measured.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from srkit.evaluation.cases import Case, Pixels
from srkit.evaluation.columns import HR, LR
from srkit.evaluation.page.charts import FONT, GREY, INK, label
from srkit.evaluation.page.numbers import DOWN, UP, digits_of, number, title

if TYPE_CHECKING:
    from srkit.evaluation.quality import Quality

WIDE = 192  # pixels a small picture is shown at, about
LARGE = 288  # a picture is shown smaller from here on; its detail still has every pixel
FRAME = (213, 94, 0)  # Okabe and Ito's vermilion
GAP, MARGIN, LINE = 12, 28, 22  # pixels of the sheet


@dataclass(frozen=True)
class Shown:
    """An image element.

    Attributes:
        source: A data address.
        width: In pixels of the page.
        height: The same.
        alt: Its text.
    """

    source: str
    width: int
    height: int
    alt: str


@dataclass(frozen=True)
class Tile:
    """One column of a case.

    Attributes:
        name: The column.
        whole: The whole picture.
        detail: A part of it, larger.
        frame: Left, top, width and height of that part, per cent of the whole.
        scores: Lines beneath.
        judged: Whether this column decided what is shown.
    """

    name: str
    whole: Shown
    detail: Shown
    frame: tuple[float, float, float, float]
    scores: Sequence[tuple[str, str]]
    judged: bool


def data_address(png: bytes) -> str:
    """Return a PNG as an address that holds it."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def encoded(image: Image.Image) -> bytes:
    """Return an image as a PNG file."""
    file = io.BytesIO()
    image.save(file, format="PNG", optimize=True)
    return file.getvalue()


def tiles(case: Case, quality: Quality, metrics: Sequence[str]) -> list[Tile]:
    """Return LR, bicubic, the models and HR.

    Args:
        case: The chosen picture.
        quality: Whose metrics are shown.
        metrics: Which of them.
    """
    found = []
    for name, (whole, detail, frame) in _cut(case).items():
        its = case.choice.scores.get(name, {})
        lines = [
            (title(m, quality.metrics[m]), number(its[m], digits_of(quality.metrics[m])))
            for m in metrics
            if m in its and name not in (LR, HR)
        ]
        said = f"{name}, {case.choice.rank} case {case.choice.picture}"
        found.append(
            Tile(
                name,
                _shown(whole, said),
                _shown(detail, f"detail of {said}"),
                frame,
                lines,
                name == case.choice.column,
            )
        )
    return found


@dataclass(frozen=True)
class _Sized:
    """Pixels, and the size at which they are shown."""

    pixels: Pixels
    size: tuple[int, int]


def _cut(
    case: Case,
) -> dict[str, tuple[_Sized, _Sized, tuple[float, float, float, float]]]:
    """Return each column's whole picture, its detail, and where that is in per cent."""
    hr = case.pictures[HR]
    high, wide = hr.shape[:2]
    less = math.ceil(max(high, wide) / LARGE)
    more = max(1, round(WIDE / max(high, wide)))
    size = (math.ceil(wide / less) * more, math.ceil(high / less) * more)
    left, top, across, down = case.detail
    times = max(1, round(min(size[0], LARGE) / across))
    zoomed = (across * times, down * times)
    frame = (100 * left / wide, 100 * top / high, 100 * across / wide, 100 * down / high)
    found = {}
    for name, pixels in {LR: case.lr, **case.pictures}.items():
        scale = wide // pixels.shape[1]
        x, y, w, h = (value // scale for value in case.detail)
        part = np.ascontiguousarray(pixels[y : y + h, x : x + w])
        if less > 1 and name != LR:
            pixels = np.asarray(Image.fromarray(pixels).reduce(less))
        found[name] = (_Sized(pixels, size), _Sized(part, zoomed), frame)
    return found


def _shown(sized: _Sized, alt: str) -> Shown:
    return Shown(data_address(encoded(Image.fromarray(sized.pixels))), *sized.size, alt)


def said(case: Case, quality: Quality) -> str:
    """Return why a case is shown, such as ``PSNR RGB gain over bicubic +1.20 dB``."""
    choice = case.choice
    about = quality.metrics[choice.metric]
    gain = choice.column != "bicubic"
    unit = f" {about['unit']}" if about.get("unit") else ""
    value = number(choice.value, digits_of(about), sign=gain)
    over = " gain over bicubic" if gain else ""
    return f"{title(choice.metric, about)}{over} {value}{unit}"


def rule(case: Case, quality: Quality) -> list[str]:
    """Return how cases, and their details, were chosen."""
    choice = case.choice
    about = quality.metrics[choice.metric]
    measure = title(choice.metric, about)
    by = f"the gain of {choice.column} over bicubic in {measure}"
    if choice.column == "bicubic":
        by = f"bicubic's {measure}"
    better = UP if about["higher_is_better"] else DOWN
    return [
        f"The pictures are chosen by number, not by hand: best, median and worst of {by} {better} "
        f"among all {len(quality.pictures):,}. LR's pixels are shown as blocks, which is also what "
        "nearest neighbour gives; nothing is smoothed.",
        "The framed detail is at the same place in every column: the square, three eighths of the "
        "shorter side wide, where HR holds most that LR can't hold (squared difference from the "
        "means of the blocks that become LR's pixels).",
    ]


def sheet(cases: Sequence[Case], quality: Quality, metrics: Sequence[str]) -> Image.Image:
    """Return all cases as one picture: a row of whole pictures and one of details each."""
    rows = [(case, _cut(case)) for case in cases]
    wide = max(w.size[0] for _, its in rows for one in its.values() for w in one[:2])
    names = max((list(its) for _, its in rows), key=len)
    heights = [_height(its, metrics) for _, its in rows]
    size = (len(names) * (wide + GAP) - GAP + 2 * MARGIN, sum(heights) + 2 * MARGIN)
    page = Image.new("RGB", size, "white")
    top = MARGIN
    for (case, its), height in zip(rows, heights, strict=True):
        _draw_case(page, case, its, (MARGIN, top, wide), quality, metrics)
        top += height
    return page


def _height(its: Mapping[str, Any], metrics: Sequence[str]) -> int:
    whole, detail, _ = next(iter(its.values()))
    height: int = 2 * (LINE + GAP) + whole.size[1] + detail.size[1] + (len(metrics) + 1) * LINE
    return height


def _draw_case(
    page: Image.Image,
    case: Case,
    its: Mapping[str, tuple[_Sized, _Sized, tuple[float, float, float, float]]],
    place: tuple[int, int, int],
    quality: Quality,
    metrics: Sequence[str],
) -> None:
    draw = ImageDraw.Draw(page)
    bold, plain = _font(15, "bold"), _font(14, "normal")
    left, top, wide = place
    name = label(case.choice.picture)
    draw.text((left, top), f"{case.choice.rank.capitalize()}: {name}", INK, bold)
    at = left + draw.textlength(f"{case.choice.rank.capitalize()}: {name}   ", bold)
    draw.text((at, top + 1), said(case, quality), GREY, plain)
    for column, (whole, detail, frame) in its.items():
        y = top + LINE + GAP
        draw.text((left, y), label(column), INK, bold)
        y += LINE
        page.paste(_large(whole), (left, y))
        (w, h), (fx, fy, fw, fh) = whole.size, frame
        box = [left + fx * w / 100, y + fy * h / 100]
        box += [box[0] + fw * w / 100 - 1, box[1] + fh * h / 100 - 1]
        draw.rectangle(box, outline=FRAME, width=2)
        y += h + GAP
        page.paste(_large(detail), (left, y))
        w, h = detail.size
        draw.rectangle([left, y, left + w - 1, y + h - 1], outline=FRAME, width=2)
        y += h + 4
        for metric in metrics:
            value = case.choice.scores.get(column, {}).get(metric)
            if value is not None and column not in (LR, HR):
                about = quality.metrics[metric]
                line = f"{title(metric, about)} {number(value, digits_of(about))}"
                draw.text((left, y), line, GREY, plain)
                y += LINE
        left += wide + GAP


def _large(sized: _Sized) -> Image.Image:
    return Image.fromarray(sized.pixels).resize(sized.size, Image.Resampling.NEAREST)


def _font(size: int, weight: str) -> ImageFont.FreeTypeFont:
    from matplotlib.font_manager import FontProperties, findfont

    return ImageFont.truetype(findfont(FontProperties(family=FONT, weight=weight)), size)
