"""Charts of scores: perception against distortion, and what is gained over bicubic."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from srkit.evaluation.columns import BICUBIC, REFERENCES
from srkit.evaluation.page.charts import GREY, INK, PAPER, RULE, SMALL, TEXT, canvas, colours, label
from srkit.evaluation.page.numbers import digits_of, heading, number, title
from srkit.evaluation.page.sections import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

    from srkit.evaluation.quality import Quality

# The first of each that was measured is the axis.
DISTORTION = ("psnr", "psnr-y", "ssim")
PERCEPTION = ("fid", "kid", "lpips", "dists", "lsd")
GAINS = 3  # panels side by side
# Where a point's name may stand, the first ones first: points to the right, points up, and which
# end of it is there.
PLACES: tuple[tuple[int, int, Literal["left", "right", "center"]], ...] = (
    *((8, 0, "left"), (-8, 0, "right"), (0, 11, "center"), (0, -11, "center")),
    *((8, 11, "left"), (8, -11, "left"), (-8, 11, "right"), (-8, -11, "right")),
)


@dataclass(frozen=True)
class Axis:
    """What is measured along one axis of the plot.

    Attributes:
        about: Unit, direction and heading of the metric.
        title: What it is called.
        values: By column; finite ones only.
    """

    about: Mapping[str, Any]
    title: str
    values: dict[str, float]

    @property
    def up(self) -> bool:
        """Whether higher is better."""
        return bool(self.about["higher_is_better"])

    @property
    def unit(self) -> str:
        """The unit, with a space before it; "" without one."""
        return f" {self.about['unit']}" if self.about.get("unit") else ""

    def value(self, value: float) -> str:
        """Return a value with its unit."""
        return number(value, digits_of(self.about)) + self.unit


def axis(quality: Quality, names: Sequence[str]) -> Axis | None:
    """Return the first of these metrics that was measured, of pictures or of whole sets."""
    for name in names:
        if name in quality.metrics:
            about = quality.metrics[name]
            values = {c: quality.mean(c, name) for c in quality.scores}
        elif name in quality.set_metrics:
            about = quality.set_metrics[name]
            values = {c: its[name] for c, its in quality.sets.items() if name in its}
        else:
            continue
        finite = {c: value for c, value in values.items() if math.isfinite(value)}
        return Axis(about, title(name, about), finite)
    return None


def tradeoff(quality: Quality) -> Figure | None:
    """Return perception against distortion, a point a column; None where either is missing."""
    across, upright = axis(quality, DISTORTION), axis(quality, PERCEPTION)
    if not across or not upright:
        return None
    points = {
        column: (across.values[column], upright.values[column])
        for column in quality.scores
        if column in across.values and column in upright.values
    }
    if not points:
        return None
    figure, (ax,) = canvas(6.4, 4.0)
    colour = colours(list(points))
    for column, (x, y) in points.items():
        reference = column in REFERENCES
        ax.plot(
            x,
            y,
            "o",
            markersize=7,
            color=colour[column],
            markerfacecolor=PAPER if reference else colour[column],
            markeredgewidth=1.4,
        )
    ax.margins(0.16)
    ax.set_xlabel(f"distortion: {across.title}{across.unit}, better to the left")
    ax.set_ylabel(f"perception: {upright.title}{upright.unit}, better below")
    if across.up:
        ax.invert_xaxis()
    if upright.up:
        ax.invert_yaxis()
    _name_points(figure, ax, points, colour)
    return Figure(
        "perception-distortion",
        figure,
        f"Perception against distortion, a point a column; hollow ones are interpolations. "
        f"Distortion is the mean {across.title}, its axis turned so that better is to the "
        f"left; perception is {upright.title}, the first measured of "
        f"{', '.join(PERCEPTION)}. Towards the lower left both are better; methods on the edge "
        "towards it trade one for the other.",
        "Scatter plot. "
        + "; ".join(f"{label(c)}: {x:.3f} and {y:.3f}" for c, (x, y) in points.items()),
    )


def _name_points(
    figure: Drawing,
    ax: Axes,
    points: Mapping[str, tuple[float, float]],
    colour: Mapping[str, str],
) -> None:
    """Write each point's name beside it, where it covers neither points nor other names."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.transforms import Bbox

    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)  # settles where the points are
    reach = 5 * figure.dpi / 72
    taken = [
        Bbox.from_bounds(x - reach, y - reach, 2 * reach, 2 * reach)
        for x, y in (ax.transData.transform(point) for point in points.values())
    ]
    for column, point in points.items():
        text = ax.annotate(
            label(column),
            point,
            (0, 0),
            textcoords="offset points",
            va="center",
            fontsize=SMALL,
            color=colour[column] if colour[column] != GREY else INK,
            parse_math=False,
        )
        for right, up, side in PLACES:
            text.set_position((right, up))
            text.set_horizontalalignment(side)
            box = text.get_window_extent(renderer)
            inside = figure.bbox.x0 < box.x0 and box.x1 < figure.bbox.x1
            if inside and not any(box.overlaps(other) for other in taken):
                break
        taken.append(box)


def gains(quality: Quality, names: Sequence[str]) -> Figure | None:
    """Return what each column gains over bicubic, with intervals, a panel a metric.

    Args:
        quality: Scores.
        names: Of the metrics; the first few are drawn.
    """
    rows = [column for column in quality.scores if column != BICUBIC]
    found = {
        name: {column: quality.gain(column, name) for column in rows} for name in names[:GAINS]
    }
    found = {
        name: its
        for name, its in found.items()
        if all(math.isfinite(value) for ends in its.values() for value in ends)
    }
    if not rows or not found:
        return None
    figure, axes = canvas(6.4, 0.9 + 0.27 * len(rows), len(found), sharey=True)
    colour = colours(rows)
    for ax, (name, its) in zip(axes, found.items(), strict=True):
        ax.axvline(0, color=INK, linewidth=0.9)
        for row, (column, (mean, low, high)) in enumerate(its.items()):
            hollow = PAPER if column in REFERENCES else colour[column]
            ax.plot([low, high], [row, row], color=colour[column], linewidth=1.8)
            ax.plot(mean, row, "o", color=colour[column], markerfacecolor=hollow, markersize=5)
        ax.set_title(f"{heading(name, quality.metrics[name])}", fontsize=TEXT, color=INK)
        ax.grid(False, axis="y")
        ax.locator_params(axis="x", nbins=4)
        ax.margins(x=0.12)
    axes[0].set_yticks(range(len(rows)), [label(column) for column in rows])
    axes[0].tick_params(axis="y", labelcolor=INK, length=0)
    axes[0].set_ylim(len(rows) - 0.5, -0.5)
    for ax in axes[1:]:
        ax.tick_params(axis="y", length=0)
    said = ", ".join(title(name, quality.metrics[name]) for name in found)
    return Figure(
        "gains",
        figure,
        f"What is gained over bicubic on the same pictures: the mean and its 95% interval ({said})."
        " An interval that holds the line at 0 doesn't tell the column from bicubic. An arrow up "
        "says that more is better, an arrow down that less is.",
        "Points with intervals. "
        + "; ".join(
            f"{label(column)}: " + ", ".join(f"{its[column][0]:+.3f}" for its in found.values())
            for column in rows
        ),
    )


def bars(rates: Mapping[str, float], done: Mapping[str, int]) -> Figure:
    """Return how many batches each run trained with in equal time, as the paper's Fig. 7.

    Args:
        rates: Batches an hour, by model.
        done: Batches done, by model.
    """
    figure, (ax,) = canvas(6.4, 0.8 + 0.34 * len(rates))
    colour = colours(list(rates))
    top = max(rates.values())
    for row, (name, rate) in enumerate(rates.items()):
        ax.barh(row, rate, height=0.62, color=colour[name])
        ax.annotate(
            f"{rate:,.0f}",
            (rate, row),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=SMALL,
            color=INK,
        )
    ax.set_yticks(range(len(rates)), [label(name) for name in rates])
    ax.tick_params(axis="y", labelcolor=INK, length=0)
    ax.set_ylim(len(rates) - 0.5, -0.5)
    ax.set_xlim(0, 1.14 * top)
    ax.grid(False, axis="y")
    ax.spines["left"].set_color(RULE)
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    ax.set_xlabel("batches an hour")
    first, others = next(iter(rates.items())), list(rates.items())[1:]
    ratio = [f"{label(name)} {rate / first[1]:.3f}" for name, rate in others]
    compared = f" Against {label(first[0])}: {', '.join(ratio)}." if ratio else ""
    return Figure(
        "batches",
        figure,
        "Batches trained with in an hour, validation and pauses left out, from the training logs "
        f"(the paper's Fig. 7 counts two hours).{compared}",
        "Bars. "
        + "; ".join(f"{label(n)}: {rate:,.0f} ({done[n]:,} done)" for n, rate in rates.items()),
    )
