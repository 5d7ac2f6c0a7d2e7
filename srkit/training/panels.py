"""Curves over the steps of a run, sorted into panels, and how matplotlib draws those."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

SIZE = (1800, 1080)  # pixels of the whole picture
LEFT, RIGHT, TOP = 95, 40, 140  # pixels around panels and grid
FONT = "DejaVu Sans"  # comes with matplotlib, so that every machine draws the same
FEW = 25  # points a curve: each has a dot, and there is nothing to smooth
SHOWN = 400  # points a curve: more than a panel has room for
EVENTS = 12  # pixels between the words of two events

# Okabe and Ito (2008): tell-apart colours for every kind of colour vision. What a colour means
# is the same in all panels: blue is the generator's, vermilion the discriminator's.
INK, GREY, PALE = "#222222", "#767676", "#d9d9d9"
BLUE, VERMILION, GREEN = "#0072B2", "#D55E00", "#009E73"

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """Values over steps.

    Attributes:
        label: Stands at the curve's end; "" for none.
        points: Steps and values, ``N2``.
        colour: Of the line and its label.
        dashed: A constant to compare with: only its last value is drawn.
        noisy: Draw the values pale, with their running mean on top.
    """

    label: str
    points: Values
    colour: str
    dashed: bool = False
    noisy: bool = True

    @property
    def smoothed(self) -> bool:
        """Whether there are points enough for a running mean."""
        return self.noisy and len(self.points) > FEW


@dataclass(frozen=True)
class Panel:
    """Curves of one unit.

    Attributes:
        title: What they are.
        unit: At the vertical axis.
        curves: At least one.
        limits: Of the vertical axis; None where the values decide.
        log: Take a logarithmic axis if the values are positive and far enough apart.
        low: A panel of the last row, which isn't as high as the others.
    """

    title: str
    unit: str
    curves: Sequence[Curve]
    limits: tuple[float | None, float | None] = (None, None)
    log: bool = False
    low: bool = False


def draw_panels(
    figure: Figure, panels: Sequence[Panel], right: int, steps: tuple[float, float]
) -> list[Axes]:
    """Lay the panels out in two columns, the low ones in the last row, and draw them."""
    high = [panel for panel in panels if not panel.low]
    low = [panel for panel in panels if panel.low]
    rows = (len(high) + 1) // 2
    layout = figure.add_gridspec(
        rows + bool(low),
        2,
        height_ratios=[1.0] * rows + [0.5] * bool(low),
        hspace=0.4,
        wspace=0.5,
        left=LEFT / SIZE[0],
        right=(right - 145) / SIZE[0],
        top=1 - TOP / SIZE[1],
        bottom=60 / SIZE[1],
    )
    if len(high) % 2 == 0:  # training in the left column, validation in the right one
        high[2:4] = reversed(high[2:4])
    cells = [layout[n // 2, n % 2] for n in range(2 * (rows + bool(low)))]
    if len(high) % 2:  # then the first is as wide as two
        cells[:2] = [layout[0, :]]
    if len(low) == 1:
        cells[-2:] = [layout[-1, :]]
    axes = []
    for panel, cell in zip([*high, *low], cells, strict=True):
        ax = figure.add_subplot(cell)
        _draw_panel(ax, panel, steps)
        at_bottom = cell.rowspan.stop == layout.nrows
        if at_bottom:
            ax.set_xlabel("step", fontsize=7, color=GREY, labelpad=1)
        ax.tick_params(labelbottom=at_bottom or len(cell.colspan) == 2)
        axes.append(ax)
    return axes


def _draw_panel(ax: Axes, panel: Panel, steps: tuple[float, float]) -> None:
    ax.set_facecolor("white")
    ax.set_title(panel.title, loc="left", fontsize=8.5, fontweight="bold", color=INK, pad=5)
    ax.set_ylabel(panel.unit, fontsize=7, color=GREY)
    for side, spine in ax.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set(color=PALE, linewidth=0.8)
    ax.grid(True, axis="y", color=PALE, linewidth=0.5)
    ax.set_axisbelow(True)
    ends = [_draw_curve(ax, curve) for curve in panel.curves]
    values = np.concatenate([curve.points[:, 1] for curve in panel.curves])
    ax.set_xlim(*steps)
    if panel.log and values.min() > 0 and values.max() > 5 * values.min():
        ax.set_yscale("log")
        few = math.log10(values.max() / values.min()) < (1.2 if panel.low else 2.0)
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,)))
    else:
        ax.yaxis.set_major_locator(MaxNLocator(3 if panel.low else 4, steps=[1, 2, 2.5, 5, 10]))
        ax.set_ylim(*panel.limits)
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _number(value)))
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _step(value, steps[1])))
    ax.tick_params(
        labelsize=7, labelcolor=GREY, labelfontfamily=FONT, color=PALE, width=0.8, length=3
    )
    _label_ends(ax, panel.curves, ends)


def _draw_curve(ax: Axes, curve: Curve) -> Values:
    """Draw a curve, thinned and smoothed as it needs, and return where it ends."""
    points = curve.points
    style: dict[str, Any] = {"color": curve.colour, "linewidth": 1.2, "clip_on": False}
    if curve.dashed:
        ax.axhline(points[-1, 1], color=curve.colour, linewidth=1.0, linestyle=(0, (4, 3)))
        return np.asarray(points[-1])
    if len(points) <= FEW:
        style |= {"marker": "o", "markersize": 2.5}
    if len(points) > SHOWN:
        points, low, high = _thinned(points)
        ax.fill_between(points[:, 0], low, high, color=curve.colour, alpha=0.16, linewidth=0)
    elif curve.smoothed:
        ax.plot(*points.T, color=curve.colour, linewidth=0.6, alpha=0.35)
    if curve.smoothed:
        points = np.column_stack([points[:, 0], _smooth(points[:, 1])])
    ax.plot(*points.T, **style)
    return np.asarray(points[-1])


def _thinned(points: Values) -> tuple[Values, ...]:
    """Return means, minima and maxima of `SHOWN` stretches of a curve."""
    edges = np.linspace(0, len(points), SHOWN, endpoint=False).astype(int)
    counts = np.diff(np.append(edges, len(points)))[:, None]
    means = np.add.reduceat(points, edges) / counts
    values = points[:, 1]
    return means, np.minimum.reduceat(values, edges), np.maximum.reduceat(values, edges)


def _smooth(values: Values) -> Values:
    """Return the mean around each value, Gaussian weights, of what there is near the ends."""
    width = max(1.0, len(values) / 40)
    reach = int(3 * width)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    inside = slice(reach, reach + len(values))
    weight = np.convolve(np.ones_like(values), kernel)[inside]
    smoothed: Values = np.convolve(values, kernel)[inside] / weight
    return smoothed


def _label_ends(ax: Axes, curves: Sequence[Curve], ends: Sequence[Values]) -> None:
    """Write each curve's label where it ends, pushed apart where they would overlap."""
    ax.get_ylim()  # settles the limits that the transform is asked for
    inverse = ax.transAxes.inverted()
    placed = sorted(
        (float(inverse.transform(ax.transData.transform(end))[1]), number)
        for number, end in enumerate(ends)
    )
    gap = 19 / (ax.get_position().height * SIZE[1])
    heights = [height for height, _ in placed]
    for n in range(1, len(heights)):
        heights[n] = max(heights[n], heights[n - 1] + gap)
    # What was pushed out at the top comes back down, and pushes the ones below it.
    for n in reversed(range(len(heights))):
        highest = heights[n + 1] - gap if n + 1 < len(heights) else 1.0
        heights[n] = min(heights[n], highest)
    for height, (_, number) in zip(heights, placed, strict=True):
        ax.annotate(
            printable(curves[number].label, 15),
            (1, height),
            xycoords="axes fraction",
            xytext=(5, 0),
            textcoords="offset points",
            verticalalignment="center",
            fontsize=7,
            color=curves[number].colour,
            parse_math=False,
        )


def mark_events(axes: Sequence[Axes], records: Sequence[Mapping[str, Any]]) -> None:
    """Draw a thin line through all panels at each event, and its words in the first."""
    first, written = axes[0], -math.inf
    most = int(first.get_position().height * SIZE[1] / 7.5)  # letters upright in the panel
    for record in records:
        if "event" not in record and record.keys() & {"losses", "validation", "gradient_norms"}:
            continue
        for ax in axes:
            ax.axvline(record["step"], color=GREY, linewidth=0.7, linestyle=(0, (1, 2)))
        place = first.transData.transform((record["step"], 1))[0]
        if place - written < EVENTS:
            continue
        written = place
        at_left = record["step"] < 0.03 * first.get_xlim()[1]
        words = record.get("event", ", ".join(key for key in record if key != "step"))
        first.annotate(
            printable(str(words), most),
            (record["step"], 1),
            xycoords=("data", "axes fraction"),
            xytext=(2 if at_left else -2, -1),
            textcoords="offset points",
            rotation=90,
            horizontalalignment="left" if at_left else "right",
            verticalalignment="top",
            fontsize=6,
            color=INK,
            parse_math=False,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5},
        )


def printable(text: str, most: int) -> str:
    """Return a text on one line, cut, without what the font can't show."""
    known = get_font(findfont(FONT)).get_charmap()
    line = " ".join(text.split())
    line = "".join(letter if ord(letter) in known else "?" for letter in line)
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _number(value: float) -> str:
    exponent = math.floor(math.log10(abs(value))) if value else 0
    text = f"{value / 10.0**exponent:.3g}e{exponent}" if exponent < -2 else f"{value:.6g}"
    return text.replace("-", "−")


def _step(value: float, last: float) -> str:
    return f"{value / 1000:g}k" if last >= 10_000 and value else f"{value:,.0f}"
