"""Charts of distances between faces: Table II, ROC, sizes, and how distances are spread."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from srkit.evaluation.columns import HR, LR, REFERENCES
from srkit.evaluation.page.charts import (
    GREY,
    INK,
    PAPER,
    SERIES,
    SMALL,
    TEXT,
    canvas,
    colours,
    label,
    legend,
    lines,
)
from srkit.evaluation.page.numbers import number, percent, words
from srkit.evaluation.page.sections import Figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

    from srkit.evaluation.identity import Distances, Pairs

LEAST = 1e-4  # false accepts; fewer would rest on a handful of impostors
ACROSS = 4  # histograms in a row
MANY = 40  # lines, from which on they are drawn paler


def distances(found: Distances, name: str = "distances") -> Figure:
    """Return every probe's distance in every column, a line a probe, and the means."""
    figure, (ax,) = canvas(6.4, 3.4)
    places = range(len(found.columns))
    alpha = 0.45 if len(found.rows) < MANY else 0.15
    for row in found.rows:
        values = [row.distances[column] for column in found.columns]
        ax.plot(places, values, color=GREY, linewidth=0.7, alpha=alpha, marker=".", markersize=3)
    colour = colours(found.columns)
    for place, column in enumerate(found.columns):
        mean, (low, high) = found.mean(column), found.interval(column)
        its = colour[column] if column not in (LR, *REFERENCES) else INK
        ax.plot([place, place], [low, high], color=its, linewidth=2.2)
        hollow = PAPER if column in (LR, *REFERENCES) else its
        ax.plot(place, mean, "o", color=its, markerfacecolor=hollow, markersize=8, zorder=3)
        ax.annotate(
            number(mean, 3),
            (place, mean),
            (9, 0),
            textcoords="offset points",
            va="center",
            fontsize=SMALL,
            color=its,
            bbox={"facecolor": PAPER, "edgecolor": "none", "alpha": 0.75, "pad": 0.8},
        )
    ax.set_xticks(list(places), [label(column) for column in found.columns])
    ax.tick_params(axis="x", labelcolor=INK, length=0)
    ax.set_xlim(-0.4, len(found.columns) - 0.4)
    ax.set_ylim(bottom=0)
    ax.grid(False, axis="x")
    ax.set_ylabel("distance to the base photo, lower is closer")
    means = [f"{label(c)} {found.mean(c):.3f}" for c in found.columns]
    return Figure(
        name,
        figure,
        f"Distances of {len(found.rows)} probes of {len({r.person for r in found.rows})} people: "
        "a thin line a probe, a dot a mean with its 95% interval (people drawn anew). LR is the "
        "floor and HR, the undegraded probe, the ceiling.",
        "Lines and points. Means: " + ", ".join(means),
    )


def roc(found: Pairs) -> Figure:
    """Return true against false accepts of every column, with the stated targets."""
    figure, (ax,) = canvas(6.4, 4.4)
    columns = list(found.columns)
    colour, dashes = colours(columns), lines(columns)
    shares = np.geomspace(LEAST, 1, 60)
    ax.plot(shares, shares, color=GREY, linewidth=0.7, linestyle=(0, (1, 3)))
    for place, (column, its) in enumerate(found.columns.items()):
        ax.plot(
            np.maximum(its.roc["far"], LEAST),
            its.roc["tar"],
            color=colour[column],
            linestyle=dashes[column],
            linewidth=1.5,
            label=f"{label(column)}, AUC {its.auc.value:.3f}",
        )
        # Intervals at one target would cover each other: they stand a little apart.
        aside = 1.05 ** (place - (len(columns) - 1) / 2)
        for target, tar in its.tar.items():
            x = float(target) * aside
            ax.plot([x, x], [tar.low, tar.high], color=colour[column], linewidth=1.1, alpha=0.8)
            ax.plot(x, tar.value, "o", color=colour[column], markersize=3.5)
    ax.set_xscale("log")
    ax.set_xlim(LEAST, 1)
    ax.set_ylim(-0.01, 1.02)
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.xaxis.set_minor_formatter(lambda value, _: "")
    ax.set_xlabel("false accepts: share of impostors accepted (FAR)")
    ax.set_ylabel("true accepts: share of same pairs (TAR)")
    legend(figure, loc="outside lower center", ncols=2)
    ends = [f"{label(c)} {its.auc.value:.3f}" for c, its in found.columns.items()]
    return Figure(
        "roc",
        figure,
        f"ROC from {found.same:,} same pairs and {found.impostors:,} impostors. Dots with 95% "
        "intervals (people drawn anew) at the stated shares of false accepts; the dotted line is "
        "chance.",
        "Curves. AUC: " + ", ".join(ends),
    )


def sizes(found: Pairs) -> Figure | None:
    """Return AUC and TAR over the side of LR; None where one size or none was measured."""
    if len(found.sizes) < 2:
        return None
    figure, axes = canvas(6.4, 3.6, 2)
    columns = list(found.sizes[0].columns)
    colour, dashes = colours(columns), lines(columns)
    sides = [size.side for size in found.sizes]
    for ax, key in zip(axes, ("auc", "tar"), strict=True):
        for place, column in enumerate(columns):
            its = [size.columns[column][key] for size in found.sizes]
            aside = 1 + 0.02 * (place - (len(columns) - 1) / 2)
            at = [side * aside for side in sides]
            for x, estimate in zip(at, its, strict=True):
                ends = [estimate.low, estimate.high]
                ax.plot([x, x], ends, color=colour[column], linewidth=1.0, alpha=0.8)
            values = [estimate.value for estimate in its]
            style = {"linestyle": dashes[column], "marker": "o", "markersize": 3.5}
            ax.plot(at, values, color=colour[column], linewidth=1.5, label=label(column), **style)
        ax.set_xscale("log")
        ax.set_xticks(sides, [str(side) for side in sides])
        ax.xaxis.set_minor_formatter(lambda value, _: "")
        ax.tick_params(which="minor", length=0)
        ax.set_xlabel("side of LR in pixels")
        ax.set_ylim(top=1.02)
    axes[0].set_title("AUC", fontsize=TEXT, color=INK)
    axes[1].set_title("TAR at FAR 1e-2", fontsize=TEXT, color=INK)
    handles = axes[0].get_legend_handles_labels()
    legend(figure, *handles, loc="outside lower center", ncols=3)
    photos = sorted({size.photos for size in found.sizes})
    counts = " to ".join(f"{count:,}" for count in (photos[0], photos[-1])[: len(photos)])
    return Figure(
        "sizes",
        figure,
        f"Verification over the size of the input, with 95% intervals (people drawn anew), on "
        f"{counts} photos. The gallery is HR throughout.",
        "Curves over "
        + ", ".join(f"{size.side} px" for size in found.sizes)
        + ". AUC: "
        + "; ".join(
            f"{label(c)} " + ", ".join(f"{s.columns[c]['auc'].value:.3f}" for s in found.sizes)
            for c in columns
        ),
    )


def spread(found: Pairs) -> Figure | None:
    """Return histograms of same and different pairs' distances, a panel a column."""
    columns = [column for column, its in found.columns.items() if its.same and its.different]
    if not columns:
        return None
    return Figure(
        "histograms",
        _histograms(found, columns),
        "How distances are spread: same people (filled) and different people (outlined), each "
        "to the same area. The more the two overlap, the less can be told from a distance.",
        "Histograms. Mean distance of same and of different pairs: "
        + "; ".join(
            f"{label(c)} {np.mean(found.columns[c].same):.2f} and "
            f"{np.mean(found.columns[c].different):.2f}"
            for c in columns
        ),
    )


def _histograms(found: Pairs, columns: Sequence[str]) -> Drawing:
    rows = -(-len(columns) // ACROSS)
    across = min(ACROSS, len(columns))
    figure, axes = canvas(6.4, 0.4 + 1.45 * rows, across, rows, sharex=True)
    every = [v for c in columns for v in (*found.columns[c].same, *found.columns[c].different)]
    edges = np.linspace(min(every), max(every) + 1e-6, 33).tolist()
    for place, ax in enumerate(axes):
        if place >= len(columns):
            ax.set_axis_off()
            continue
        its = found.columns[columns[place]]
        ax.hist(its.same, edges, density=True, color=SERIES[0], alpha=0.55, label="same")
        style: dict[str, Any] = {"histtype": "step", "linewidth": 1.2}
        ax.hist(its.different, edges, density=True, color=SERIES[1], label="different", **style)
        ax.set_title(label(columns[place]), fontsize=TEXT, color=INK)
        ax.set_yticks([])
        ax.grid(False, axis="y")
        ax.tick_params(labelbottom=place + across >= len(columns))
    handles, said = axes[0].get_legend_handles_labels()
    legend(figure, handles, said, loc="outside lower center", ncols=2)
    return figure


def closed(found: Distances, column: str) -> str:
    """Return the share of the gap from LR to HR that a column closes; nothing for the two ends."""
    if column in (LR, HR):
        return ""
    share = found.closed(column)
    if math.isnan(share.value):
        return ""
    return f"{percent(share.value)} [{words(100 * share.low, 100 * share.high, 0)}]"
