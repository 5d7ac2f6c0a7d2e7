"""A run in one image: its curves over the steps, beside its newest image grid."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
import pydantic
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from typing_extensions import TypedDict

from srkit import InputError, foreign
from srkit.errors import escaped, refused
from srkit.imaging import codec

IMAGE, LOG = "training.png", "log.jsonl"
SIZE, DPI = (13.5, 8.0), 120
ROWS = 4  # panels below each other
STATISTICS = ("d_accuracy", "d_real", "d_fake")
SMOOTHED = 50  # points, from which on a running mean is drawn over what was logged
FEW = 5  # points of a line, up to which each has a mark


class _Record(TypedDict):
    """A line of a log, with whatever else a step has."""

    __pydantic_config__ = pydantic.ConfigDict(extra="allow")  # type: ignore[misc]
    step: int


Values = np.ndarray[Any, np.dtype[np.float64]]
Panels = dict[str, dict[str, Values]]


def draw(folder: Path) -> Path:
    """Draw a run's curves and its newest image grid; equal runs give equal bytes.

    Args:
        folder: The run's; only its log has to be there.

    Returns:
        The image's file, ``training.png`` in that folder.

    Raises:
        InputError: There is no log, nothing in it, or the folder can't be written.
    """
    records = read_log(folder / LOG)
    if not (curves := panels(records)):
        raise InputError(f"{folder / LOG}: nothing to draw yet")
    grids = sorted(folder.glob("grid-*.png"))
    with matplotlib.style.context("default"):  # whatever the user's own style
        figure = Figure(figsize=SIZE, dpi=DPI, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        name = folder.resolve().name
        figure.suptitle(printable(f"{name}, step {records[-1]['step']:,}", 80), parse_math=False)
        columns = figure.add_gridspec(1, 2 if grids else 1, width_ratios=(2, 1)[: 1 + bool(grids)])
        cells = columns[0].subgridspec(min(ROWS, len(curves)), math.ceil(len(curves) / ROWS))
        axes = [figure.add_subplot(cells[n % ROWS, n // ROWS]) for n in range(len(curves))]
        for ax, (title, lines) in zip(axes, curves.items(), strict=True):
            ax.set_xlim(0, records[-1]["step"] or 1)
            _draw_panel(ax, title, lines)
        _mark_events(axes, records)
        if grids:
            shown = figure.add_subplot(columns[1])
            shown.imshow(codec.read(grids[-1]).rgb, interpolation="nearest")
            shown.set_title(f"LR, bicubic, SR, HR at step {int(grids[-1].stem[5:]):,}", fontsize=9)
            shown.set_axis_off()
        canvas.draw()
    codec.write(Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB"), folder / IMAGE)
    return folder / IMAGE


def read_log(log: Path) -> list[dict[str, Any]]:
    """Return a log's records; a torn last line, of a run that is still writing, is left out.

    Raises:
        InputError: There is no log, or a line of it is no record.
    """
    with refused(f"can't read the log of a run, {log}"):
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    records: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        try:
            records.append({**foreign.parse(line, _Record, "JSON", str(log))})
        except InputError as error:
            if number < len(lines):
                raise InputError(f"{log}: line {number} is no record of a run") from error
    return records


def panels(records: Sequence[Mapping[str, Any]]) -> Panels:
    """Sort what a log holds into panels: title to label to ``N2``, steps and finite values."""
    losses, scores = _series(records, "losses"), _series(records, "validation")
    statistics = {name: losses.pop(name) for name in STATISTICS if name in losses}
    if len(losses) == 2:
        losses.pop("loss", None)  # the sum of one term
    drawn: Panels = {f"Loss: {name}": {"": points} for name, points in losses.items()}
    drawn["Discriminator"] = statistics
    for name, points in scores.items():
        metric = name.removeprefix("bicubic_")
        panel = drawn.setdefault(f"Validation: {metric.upper()}", {})
        panel["SR" if name == metric else "bicubic"] = points
    top = _series([{"step": record["step"], "top": record} for record in records], "top")
    for key, title in (("learning_rate", "Learning rate"), ("images_per_second", "images/s")):
        drawn[title] = {"": top[key]} if key in top else {}
    return {title: lines for title, lines in drawn.items() if lines}


def _series(records: Sequence[Mapping[str, Any]], section: str) -> dict[str, Values]:
    points_by_name: dict[str, list[tuple[float, float]]] = {}
    for record in records:
        for name, value in (record.get(section) or {}).items():
            if isinstance(value, int | float) and math.isfinite(value):
                points_by_name.setdefault(name, []).append((record["step"], value))
    return {name: np.array(points, dtype=np.float64) for name, points in points_by_name.items()}


def _draw_panel(ax: Axes, title: str, lines: Mapping[str, Values]) -> None:
    ax.set_title(printable(title, 40), fontsize=9, parse_math=False)
    ax.tick_params(which="both", labelsize=7)
    ax.grid(alpha=0.3)
    for n, (name, points) in enumerate(lines.items()):
        label, style = printable(name, 15), "--" if name == "bicubic" else "-"
        if len(points) > SMOOTHED and title != "Learning rate":
            ax.plot(*points.T, color=f"C{n}", linewidth=0.8, alpha=0.3)
            window = len(points) // 25
            mean = np.convolve(points[:, 1], np.full(window, 1 / window), mode="valid")
            points = np.column_stack((points[window - 1 :, 0], mean))
        few = len(points) <= FEW
        ax.plot(*points.T, style, color=f"C{n}", linewidth=1.2, label=label,
                marker="o" if few else "", markersize=4, clip_on=not few)  # fmt: skip
    if title.startswith("Loss") and min(points[:, 1].min() for points in lines.values()) > 0:
        ax.set_yscale("log")
    if any(lines):
        for text in ax.legend(fontsize=7, frameon=False).get_texts():
            text.set_parse_math(False)


def _mark_events(axes: Sequence[Axes], records: Sequence[Mapping[str, Any]]) -> None:
    for record in records:
        if "event" in record:
            for ax in axes:
                ax.axvline(record["step"], color="grey", linewidth=0.7, linestyle=":")
            words = printable(str(record["event"]), 40)
            place = (record["step"], 0.98)
            axes[0].annotate(words, place, xycoords=("data", "axes fraction"), rotation=90,
                             verticalalignment="top", fontsize=6, parse_math=False)  # fmt: skip


def printable(text: str, most: int) -> str:
    """Return a text on one line, cut, in characters that matplotlib's own font has."""
    line = escaped(" ".join(text.split())).encode("latin-1", "replace").decode("latin-1")
    return line if len(line) <= most else f"{line[: most - 1]}…"
