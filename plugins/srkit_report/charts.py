"""Charts of a report, as PNG files: one drawing for the page and for slides."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib.style
import numpy as np
from matplotlib.figure import Figure as Drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from srkit.evaluation.report import Pairs, Quality, Report
    from srkit.evaluation.tables import Table
    from srkit_report.examples import Example

INTERPOLATION = ("nearest", "bicubic", "lanczos")
INK, GREY, RULE = "#1d2127", "#5f6875", "#d5d9df"
# Told apart by every kind of colour vision, and at least 4.5:1 against white.
SERIES = ("#0068a8", "#b84700", "#00734f", "#a3417f", "#7d5a00", "#4a54c4", "#6b6f00", "#a32c2c")
DASHES: dict[str, Any] = {
    "LR": (0, (1, 1.6)),
    "nearest": (0, (5, 1.5, 1, 1.5)),
    "bicubic": (0, (4, 2)),
    "lanczos": (0, (6, 2, 1, 2)),
}
MARKERS = {"nearest": "s", "bicubic": "^", "lanczos": "v"}
STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that every machine draws the same
    "font.size": 9,
    "text.parse_math": False,  # names hold dollar signs that mean no formula
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.labelcolor": GREY,
    "axes.titlesize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.5,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": GREY,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.5,
    "savefig.dpi": 200,
}
WIDTH = 6.4  # inches
PANELS = 4  # side by side
LABEL = 28  # letters
LEAST = 1e-4  # false accepts; fewer would rest on a handful of impostors
# The first of each that was measured is the axis.
DISTORTION = ("psnr", "psnr-y", "ssim")
PERCEPTION = ("fid", "kid", "lpips", "st-lpips", "dists")
NAMES = ("gains", "perception-distortion", "distances", "everybody", "roc", "sizes", "histograms")
SHEET = "images"  # the contact sheet, which isn't on the page


class Figure(NamedTuple):
    """A chart."""

    name: str  # of its file
    png: bytes
    caption: str  # stands beneath
    alt: str  # what there is to see, for those who can't


def figures(report: Report, tables: Mapping[str, Table]) -> dict[str, list[Figure]]:
    """Draw what there is to draw.

    Args:
        report: What was measured.
        tables: The report's, by name.

    Returns:
        By the table that the charts belong to.
    """
    with matplotlib.style.context(["default", STYLE]):
        drawn: dict[str, list[Figure | None]] = {}
        if report.quality and "gains" in tables:
            caption = "An interval that holds 0 doesn't tell a method from bicubic."
            gains = intervals(tables["gains"], "gains", caption)
            drawn["gains"] = [gains, tradeoff(report.quality)]
        for name in ("distances", "everybody"):
            if name in tables:
                caption = "LR is the floor, HR the ceiling that no method can be asked to beat."
                drawn[name] = [intervals(tables[name], name, caption)]
        if report.pairs:
            drawn["pairs"] = [roc(report.pairs), histograms(report.pairs)]
        if "sizes" in tables and len(tables["sizes"].headings) > 1:
            drawn["sizes"] = [sizes(tables["sizes"])]
    return {name: [chart for chart in charts if chart] for name, charts in drawn.items()}


def _canvas(height: float, panels: int = 1, **options: Any) -> tuple[Drawing, list[Axes]]:
    drawing = Drawing(figsize=(WIDTH, height), layout="constrained")
    return drawing, list(drawing.subplots(1, panels, squeeze=False, **options).flat)


def _figure(name: str, drawing: Drawing, caption: str, alt: str) -> Figure:
    file = io.BytesIO()
    drawing.savefig(file, format="png", metadata={"Software": None})
    return Figure(name, file.getvalue(), caption, alt)


def _label(name: str) -> str:
    """Return a name as the font can show it, in one line."""
    # DejaVu Sans has Latin, Greek and Cyrillic.
    known = "".join(c if c.isprintable() and ord(c) < 0x500 else "?" for c in name)
    return known if len(known) <= LABEL else f"{known[: LABEL - 3]}..."


def colours(methods: Sequence[str]) -> dict[str, str]:
    """Return ink for HR, grey for LR and interpolation, then a colour a method."""
    still = {**dict.fromkeys(("LR", *INTERPOLATION), GREY), "HR": INK}
    models = [name for name in methods if name not in still]
    return still | {name: SERIES[n % len(SERIES)] for n, name in enumerate(models)}


def intervals(table: Table, name: str, caption: str) -> Figure | None:
    """Draw a table's numbers with their intervals, a panel a heading; None without any."""
    ends = [[(v.low, v.value, v.high) for v in values] for _, values in table.rows]
    across = [n for n in range(len(table.headings)) if _drawable([row[n] for row in ends])]
    across = across[:PANELS]
    if not across:
        return None
    methods = [labels[0] for labels, _ in table.rows]
    drawing, axes = _canvas(0.9 + 0.27 * len(methods), len(across), sharey=True)
    colour = colours(methods)
    for ax, n in zip(axes, across, strict=True):
        for y, (method, row) in enumerate(zip(methods, ends, strict=True)):
            low, value, high = row[n]
            face = "white" if method in INTERPOLATION else colour[method]
            ax.plot([low, high], [y, y], color=colour[method], linewidth=1.8)
            ax.plot(value, y, "o", color=colour[method], markerfacecolor=face, markersize=5)
        if table.name == "gains":
            ax.axvline(0, color=INK, linewidth=0.9)
        ax.set_title(table.headings[n])
        ax.grid(False, axis="y")
        ax.locator_params(axis="x", nbins=3)
        ax.tick_params(axis="y", length=0)
    axes[0].set_yticks(range(len(methods)), [_label(method) for method in methods])
    axes[0].set_ylim(len(methods) - 0.5, -0.5)
    return _figure(name, drawing, f"{table.title}. {caption}", "The table's numbers as intervals")


def _drawable(ends: Sequence[tuple[float, ...]]) -> bool:
    """Whether there are intervals, and no infinite ones."""
    known = [row for row in ends if not math.isnan(row[0])]
    return bool(known) and all(math.isfinite(value) for row in known for value in row)


def _axis(quality: Quality, names: Sequence[str]) -> tuple[str, dict[str, float], bool] | None:
    """Return title, values and direction of the first of these metrics that was measured."""
    for name in names:
        if about := quality.metrics.get(name) or quality.set_metrics.get(name):
            single = name in quality.metrics
            values = {
                method: quality.mean(method, name) if single else quality.set_scores[method][name]
                for method in quality.scores
            }
            unit = f", {about['unit']}" if about.get("unit") else ""
            title = f"{about.get('title') or name}{unit}"
            return title, values, bool(about["higher_is_better"])
    return None


def tradeoff(quality: Quality) -> Figure | None:
    """Draw perception against distortion, a point a method; None where either is missing."""
    distortion, perception = _axis(quality, DISTORTION), _axis(quality, PERCEPTION)
    if not distortion or not perception:
        return None
    drawing, (ax,) = _canvas(4.0)
    colour = colours(list(quality.scores))
    for method in quality.scores:
        x, y = distortion[1][method], perception[1][method]
        face = "white" if method in INTERPOLATION else colour[method]
        style: dict[str, Any] = {"markersize": 7, "markerfacecolor": face, "markeredgewidth": 1.4}
        style |= {"marker": MARKERS.get(method, "o"), "label": _label(method)}
        ax.plot(x, y, color=colour[method], linestyle="none", **style)
    ax.margins(0.12)
    ax.set_xlabel(f"distortion: {distortion[0]}, better to the left")
    ax.set_ylabel(f"perception: {perception[0]}, better below")
    if distortion[2]:
        ax.invert_xaxis()
    if perception[2]:
        ax.invert_yaxis()
    drawing.legend(loc="outside lower center", ncols=3)
    return _figure(
        "perception-distortion",
        drawing,
        f"Perception ({perception[0]}, the first measured of {', '.join(PERCEPTION)}) against "
        "distortion. Towards the lower left both are better.",
        "Scatter plot, a point a method",
    )


def contact_sheet(examples: Sequence[Example]) -> Figure:
    """Draw images, one a row, by methods, one a column; pixels stay blocks."""
    methods = list(examples[0].images)
    with matplotlib.style.context(["default", STYLE]):
        size = 1.5 * len(methods), 1.7 * len(examples) + 0.3
        drawing = Drawing(figsize=size, layout="constrained")
        grid = drawing.subplots(len(examples), len(methods), squeeze=False)
        for row, example in zip(grid, examples, strict=True):
            for ax, image in zip(row, example.images.values(), strict=True):
                ax.imshow(image, interpolation="nearest")
                ax.set_axis_off()
        for ax, method in zip(grid[0], methods, strict=True):
            ax.set_title(_label(method))
        return _figure(SHEET, drawing, "", "Images, a row each, by methods, a column each")


def roc(pairs: Pairs) -> Figure:
    """Draw true against false accepts of every method, with the stated targets."""
    drawing, (ax,) = _canvas(4.4)
    colour = colours(list(pairs.scores))
    chance = np.geomspace(LEAST, 1, 60)
    ax.plot(chance, chance, color=GREY, linewidth=0.7, linestyle=(0, (1, 3)))
    for number, (method, scores) in enumerate(pairs.scores.items()):
        style = {"color": colour[method], "linestyle": DASHES.get(method, "-")}
        style["label"] = f"{_label(method)}, AUC {scores.auc.value:.3f}"
        ax.plot(np.maximum(scores.roc["far"], LEAST), scores.roc["tar"], **style)
        for target, tar in scores.tar.items():
            # Intervals at one target would cover each other: they stand a little apart.
            x = float(target) * 1.05 ** (number - (len(pairs.scores) - 1) / 2)
            ax.plot([x, x], [tar.low, tar.high], color=colour[method], linewidth=1.1)
            ax.plot(x, tar.value, "o", color=colour[method], markersize=3.5)
    ax.set_xscale("log")
    ax.set_xlim(LEAST, 1)
    ax.set_ylim(-0.01, 1.02)
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.set_xlabel("false accepts (FAR)")
    ax.set_ylabel("true accepts (TAR)")
    drawing.legend(loc="outside lower center", ncols=2)
    return _figure(
        "roc",
        drawing,
        f"ROC from {pairs.same:,} same pairs and {pairs.impostors:,} impostors, with 95% intervals "
        "at the stated shares of false accepts; the dotted line is chance.",
        "ROC curves, one a method",
    )


def sizes(table: Table) -> Figure:
    """Draw AUC and TAR over the side of LR."""
    titles = list(dict.fromkeys(labels[1] for labels, _ in table.rows))
    drawing, axes = _canvas(3.6, len(titles))
    methods = list(dict.fromkeys(labels[0] for labels, _ in table.rows))
    colour = colours(methods)
    sides = [int(heading.removesuffix(" px")) for heading in table.headings]
    for (method, title), values in table.rows:
        ax = axes[titles.index(title)]
        aside = 1 + 0.02 * (methods.index(method) - (len(methods) - 1) / 2)
        at, tar = [side * aside for side in sides], [value.value for value in values]
        style = {"color": colour[method], "linestyle": DASHES.get(method, "-")}
        ax.plot(at, tar, marker="o", markersize=3.5, label=_label(method), **style)
        ax.vlines(at, [v.low for v in values], [v.high for v in values], colour[method], lw=1)
    for ax, title in zip(axes, titles, strict=True):
        ax.set_title(title)
        ax.set_xscale("log")
        ax.set_xticks(sides, table.headings)
        ax.minorticks_off()
    drawing.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    caption = "Verification over the size of the input, with 95% intervals. The gallery is HR."
    return _figure("sizes", drawing, caption, "Curves over the side of LR, one a method")


def histograms(pairs: Pairs) -> Figure | None:
    """Draw how distances of same and of different pairs are spread, a panel a method."""
    shown = {m: scores for m, scores in pairs.scores.items() if scores.same and scores.different}
    if not shown:
        return None
    drawing = Drawing(figsize=(WIDTH, 0.4 + 1.45 * -(-len(shown) // PANELS)), layout="constrained")
    grid = drawing.subplots(-(-len(shown) // PANELS), PANELS, squeeze=False, sharex=True)
    distances = [d for scores in shown.values() for d in (*scores.same, *scores.different)]
    edges = np.linspace(min(distances), max(distances) + 1e-6, 33).tolist()
    for ax in grid.flat[len(shown) :]:
        ax.set_axis_off()
    for ax, (method, scores) in zip(grid.flat, shown.items(), strict=False):
        ax.hist(scores.same, edges, density=True, color=SERIES[0], alpha=0.55, label="same")
        style = {"histtype": "step", "linewidth": 1.2, "label": "different"}
        ax.hist(scores.different, edges, density=True, color=SERIES[1], **style)
        ax.set_title(_label(method))
        ax.set_yticks([])
    handles = grid.flat[0].get_legend_handles_labels()
    drawing.legend(*handles, loc="outside lower center", ncols=2)
    caption = "Distances of the same and of different people. The less they overlap, the better."
    return _figure("histograms", drawing, caption, "Histograms of distances, a panel a method")
