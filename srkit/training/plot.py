"""A run in one picture: its curves over the steps, and what it makes of held-out photos."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from srkit.errors import InputError, SrkitError
from srkit.imaging import codec
from srkit.recipe import Recipe
from srkit.training import run_folder
from srkit.training.panels import (
    BLUE,
    FONT,
    GREEN,
    GREY,
    INK,
    LEFT,
    RIGHT,
    SIZE,
    TOP,
    VERMILION,
    Curve,
    Panel,
    Values,
    draw_panels,
    mark_events,
    printable,
)

PICTURE = "training.png"
COLUMNS = ("LR", "bicubic", "SR", "HR")  # of a picture grid
GAP = 4  # pixels between them

DPI = 150
GRID_ROOM = (600, 890)  # pixels for the picture grid, without its headings

TERMS = (BLUE, "#E69F00", "#CC79A7", GREEN, "#56B4E9", VERMILION)
ADVERSARY = {"adversarial": BLUE, "discriminator": VERMILION}
JUDGEMENTS = {"d_accuracy": INK, "d_real": GREEN, "d_fake": VERMILION}


def draw(folder: Path) -> Path:
    """Draw a run's curves and its newest picture grid; equal runs give equal bytes.

    Args:
        folder: Of the run; only its log has to be there.

    Returns:
        The picture's file, ``training.png`` in that folder.

    Raises:
        InputError: There is no log, nothing in it, or the folder can't be written.
    """
    records = read_log(folder / run_folder.LOG)
    panels = list(panels_of(records))
    if not panels:
        raise InputError(f"{folder / run_folder.LOG}: nothing to draw yet")
    grids = sorted(folder.glob("grid-*.png"))
    grid = _fitted(codec.read(grids[-1]).rgb) if grids else None
    figure = Figure(figsize=(SIZE[0] / DPI, SIZE[1] / DPI), dpi=DPI, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    right = _grid_corner(grid)[0] if grid else SIZE[0] - 20
    last = max(record["step"] for record in records)
    axes = draw_panels(figure, panels, right, (0, last))
    mark_events(axes, records)
    smoothed = any(curve.smoothed for panel in panels for curve in panel.curves)
    note = "pale: as logged, strong: running mean" if smoothed else ""
    _headings(figure, *_title(folder, records), note)
    if grid:
        _grid_headings(figure, grid, f"held-out photos, step {int(grids[-1].stem[5:]):,}")
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_fontfamily(FONT)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    if grid:
        picture.paste(grid, _grid_corner(grid))
    codec.write(picture, folder / PICTURE)
    return folder / PICTURE


def read_log(log: Path) -> list[dict[str, Any]]:
    """Return a log's records; a torn last line, of a run that is still writing, is left out.

    Raises:
        InputError: There is no log, or a line of it is no record.
    """
    try:
        lines = log.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"can't read the log of a run, {log}: {error}") from error
    records: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            record["step"] += 0
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines):
                break
            raise InputError(f"{log}: line {number} is no record of a run") from error
        records.append(record)
    return records


def panels_of(records: Sequence[Mapping[str, Any]]) -> Iterator[Panel]:
    """Sort what a log holds into panels: training left, judgement right, the clock below."""
    losses = _series(records, "losses")
    scores = _series(records, "validation")
    named = {*ADVERSARY, *JUDGEMENTS}
    terms = {name: points for name, points in losses.items() if name not in named}
    total = terms.pop("loss", None)
    colours = {name: TERMS[n % len(TERMS)] for n, name in enumerate(terms)}
    # The sum says nothing new where there is one term of weight 1.
    if total is not None and not any(np.array_equal(total, its) for its in terms.values()):
        terms["weighted sum"], colours["weighted sum"] = total, INK
    curves = {name: Curve(name, points, colours[name]) for name, points in terms.items()}
    # Terms below zero (minus a PSNR, say) have another unit than the distances: each its own.
    below = [name for name, points in terms.items() if points[:, 1].min() <= 0]
    if distances := [curve for name, curve in curves.items() if name not in below]:
        yield Panel("Losses", "unweighted", distances, log=True)
    metrics = [name for name in scores if not name.startswith("bicubic_")]
    for metric in sorted(metrics, key=lambda name: name not in ("psnr", "ssim")):
        yield _validation(metric, "dB" if metric == "psnr" else "", scores)
    if game := _chosen(losses, ADVERSARY):
        yield Panel("Adversary", "loss, unweighted", game)
    if judgements := _chosen(losses, JUDGEMENTS):
        yield Panel("Discriminator", "probability", judgements, limits=(0, 1))
    for name in below:
        yield Panel(f"Loss: {name}", "unweighted", [curves[name]])
    if "learning_rate" in (top := _series([{"step": r["step"], "top": r} for r in records], "top")):
        rate = Curve("", top["learning_rate"], INK, noisy=False)
        yield Panel("Learning rate", "", [rate], limits=(0, None), log=True, low=True)
    if "pictures_per_second" in top:
        speed = Curve("", top["pictures_per_second"], INK)
        yield Panel("Speed", "pictures/s", [speed], limits=(0, None), low=True)


def _series(records: Sequence[Mapping[str, Any]], section: str) -> dict[str, Values]:
    """Return steps and finite values of each number in a section of the records, ``N2``."""
    found: dict[str, list[tuple[float, float]]] = {}
    for record in records:
        for name, value in (record.get(section) or {}).items():
            if isinstance(value, int | float) and math.isfinite(value):
                found.setdefault(name, []).append((record["step"], value))
    return {name: np.array(points, dtype=np.float64) for name, points in found.items()}


def _chosen(losses: Mapping[str, Values], colours: Mapping[str, str]) -> list[Curve]:
    return [Curve(name, losses[name], colours[name]) for name in colours if name in losses]


def _validation(metric: str, unit: str, scores: Mapping[str, Values]) -> Panel:
    curves = []
    for name, label, colour in ((metric, "SR", BLUE), (f"bicubic_{metric}", "bicubic", GREY)):
        if name in scores:
            digits = 2 if unit else 3
            label += f" {scores[name][-1, 1]:.{digits}f}"
            curves.append(Curve(label, scores[name], colour, dashed=colour == GREY, noisy=False))
    return Panel(f"Validation: {metric.upper()}", unit, curves)


def _title(folder: Path, records: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Return the recipe's name, and where the run is."""
    step = max(record["step"] for record in records)
    name, progress = folder.resolve().name, f"step {step:,}"
    try:
        recipe = Recipe.from_file(folder / run_folder.RECIPE)
    except SrkitError:  # the curves of a run are worth seeing whatever became of its recipe
        pass
    else:
        name, progress = recipe.name, f"{progress} of {recipe.steps:,}"
    scores = {key: points[-1, 1] for key, points in _series(records, "validation").items()}
    parts = [progress]
    for metric, form, unit in (("psnr", ".2f", " dB"), ("ssim", ".3f", "")):
        if metric in scores:
            shown = f"{metric.upper()} {scores[metric]:{form}}{unit}"
            if f"bicubic_{metric}" in scores:
                shown += f" (bicubic {scores[f'bicubic_{metric}']:{form}})"
            parts.append(shown)
    return name, "   ·   ".join(parts)


def _headings(figure: Figure, name: str, line: str, note: str) -> None:
    left, right = LEFT / SIZE[0], 1 - RIGHT / SIZE[0]
    height = 1 - 76 / SIZE[1]
    style: dict[str, Any] = {"color": INK, "parse_math": False}
    shown = printable(name, 60)
    figure.text(left, 1 - 44 / SIZE[1], shown, fontsize=13, fontweight="bold", **style)
    figure.text(left, height, line, fontsize=8.5, **style)
    figure.text(right, height, note, ha="right", fontsize=7, color=GREY)


def _fitted(grid: Image.Image) -> Image.Image:
    """Bring a picture grid to its room: whole pixels of it larger, its columns set apart."""
    times = min(GRID_ROOM[0] / grid.width, GRID_ROOM[1] / grid.height)
    if times >= 1:
        size = (grid.width * int(times), grid.height * int(times))
        grid = grid.resize(size, Image.Resampling.NEAREST)
    else:
        size = (max(4, int(grid.width * times)), max(1, int(grid.height * times)))
        grid = grid.resize(size, Image.Resampling.LANCZOS)
    wide = grid.width // len(COLUMNS)
    spaced = Image.new("RGB", (grid.width + GAP * (len(COLUMNS) - 1), grid.height), "white")
    for n in range(len(COLUMNS)):
        column = grid.crop((n * wide, 0, (n + 1) * wide, grid.height))
        spaced.paste(column, (n * (wide + GAP), 0))
    return spaced


def _grid_corner(grid: Image.Image) -> tuple[int, int]:
    return SIZE[0] - grid.width - RIGHT, TOP


def _grid_headings(figure: Figure, grid: Image.Image, caption: str) -> None:
    left, top = _grid_corner(grid)
    wide = (grid.width + GAP) / len(COLUMNS)
    colours = (INK, GREY, BLUE, INK)
    for n, (column, colour) in enumerate(zip(COLUMNS, colours, strict=True)):
        x = (left + n * wide + (wide - GAP) / 2) / SIZE[0]
        y = 1 - (top - 8) / SIZE[1]
        figure.text(x, y, column, ha="center", fontsize=8.5, fontweight="bold", color=colour)
    below = 1 - (top + grid.height + 10) / SIZE[1]
    figure.text(left / SIZE[0], below, caption, va="top", fontsize=7, color=GREY)
