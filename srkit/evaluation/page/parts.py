"""The parts of the page that every report has: scores and how they were come by."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srkit.errors import SrkitError
from srkit.evaluation.columns import BICUBIC
from srkit.evaluation.page import quality_charts
from srkit.evaluation.page.numbers import (
    DOWN,
    MINUS,
    NONE,
    UP,
    digits_of,
    duration,
    equals,
    heading,
    number,
    span,
)
from srkit.evaluation.page.sections import Cell, PlainTable, Section
from srkit.training import run_folder

if TYPE_CHECKING:
    from srkit.evaluation.quality import Quality
    from srkit.evaluation.report import Report

SHOWN = 3  # metrics that stand for all
PARTS = {  # of a report, and what their protocols are headed with
    "quality": "quality",
    "distances": "identity, draw",
    "whole": "identity, everybody",
    "pairs": "pairs",
}


def main_metrics(quality: Quality) -> list[str]:
    """Return the metrics that stand for all: distortion, structure, perception."""
    first = ("psnr", "ssim", *quality_charts.PERCEPTION)
    found = [name for name in first if name in quality.metrics]
    return [*found, *(name for name in quality.metrics if name not in found)][:SHOWN]


def quality_section(quality: Quality) -> Section:
    """Return scores, gains over bicubic, pairwise tests, and their charts."""
    metrics = main_metrics(quality)
    charts = [quality_charts.gains(quality, metrics), quality_charts.tradeoff(quality)]
    return Section(
        "Quality",
        quality.notes,
        [scores(quality), *tests(quality)],
        [chart for chart in charts if chart],
    )


def scores(quality: Quality) -> PlainTable:
    """Return a row a column: means, the best ones bold, and under them the gain over bicubic."""
    metrics = quality.metrics
    every = {**metrics, **quality.set_metrics}
    means = {(c, m): quality.mean(c, m) for c in quality.scores for m in metrics}
    means |= {(c, m): its[m] for c, its in quality.sets.items() for m in its}
    best = {name: _best(means, name, its) for name, its in every.items()}
    rows: list[list[str]] = []
    for column in quality.scores:
        cells: list[str] = [column]
        for name, its in every.items():
            digits = digits_of(its)
            under = ""
            if name in metrics and column != BICUBIC:
                mean, low, high = quality.gain(column, name)
                if math.isfinite(mean):
                    ends = span(low, high, digits, sign=True)
                    under = f"{number(mean, digits, sign=True)}\n{ends}"
            said = number(means.get((column, name)), digits)
            cells.append(Cell(said, strong=column in best[name], under=under))
        cells.append(duration_of(quality.seconds.get(column)))
        rows.append(cells)
    headings = [heading(name, its) for name, its in every.items()]
    return PlainTable(
        ["", *headings, "seconds a picture"],
        rows,
        f"Means over {len(quality.pictures):,} pictures; beneath, the gain over bicubic on the same"
        f" pictures with its 95% interval (paired bootstrap). {UP} higher is better, {DOWN} lower; "
        "the best of each is bold. Seconds are for orientation.",
        "Scores",
    )


def _best(means: Mapping[tuple[str, str], float], name: str, about: Mapping[str, Any]) -> list[str]:
    its = {c: value for (c, m), value in means.items() if m == name and not math.isnan(value)}
    if not its:
        return []
    top = (max if about["higher_is_better"] else min)(its.values())
    return [column for column, value in its.items() if value == top]


def duration_of(seconds: float | None) -> str:
    """Return seconds with as many decimals as say something."""
    if not seconds:
        return NONE
    return number(seconds, max(1, min(5, 1 - math.floor(math.log10(seconds)))))


def tests(quality: Quality) -> list[PlainTable]:
    """Return the differences between any two models, with intervals and p; none of one model."""
    rows: dict[tuple[str, str], list[str]] = {}
    for one in quality.versus:
        digits = digits_of(quality.metrics[one.metric])
        found = one.difference
        ends = span(found.low, found.high, digits, sign=True)
        cell = Cell(
            number(found.mean, digits, sign=True), under=f"{ends}\np {equals(one.adjusted)}"
        )
        rows.setdefault((one.a, one.b), [f"{one.a} {MINUS} {one.b}"]).append(cell)
    if not rows:
        return []
    corrected = ", by Holm's correction for all pairs of models" if len(rows) > 1 else ""
    return [
        PlainTable(
            ["difference", *(heading(name, its) for name, its in quality.metrics.items())],
            list(rows.values()),
            "Mean difference on the same pictures; beneath, its 95% interval (paired bootstrap) "
            f"and p of a paired sign-flip permutation test{corrected}.",
            "Any two models",
        )
    ]


def training_section(logs: Mapping[str, Path]) -> Section | None:
    """Return Fig. 7's bars from training logs; a log that can't be used is named, not drawn."""
    rates: dict[str, float] = {}
    done: dict[str, int] = {}
    failed: list[str] = []
    for name, log in logs.items():
        try:
            rates[name], done[name] = pace(log)
        except SrkitError as error:
            failed.append(f"{name} is left out: {error}")
    if not logs:
        return None
    charts = [quality_charts.bars(rates, done)] if rates else []
    return Section("Training", failed, (), charts)


def pace(log: Path) -> tuple[float, int]:
    """Return a run's batches an hour, and how many it did.

    Args:
        log: Its ``log.jsonl``, with ``recipe.toml`` beside it.

    Raises:
        SrkitError: One of them can't be read, or the log holds no speed.
    """
    from srkit.errors import InputError
    from srkit.recipe import Recipe

    batch = Recipe.from_file(log.with_name(run_folder.RECIPE)).batch_size
    records = [r for r in run_folder.read_log(log) if r.get("images_per_second")]
    hours, before = 0.0, 0
    for record in records:
        hours += (record["step"] - before) * batch / record["images_per_second"] / 3600
        before = record["step"]
    if not hours:
        raise InputError(f"{log}: holds no speed yet")
    return before / hours, before


def protocols(report: Report) -> PlainTable:
    """Return every field of every part's protocol, a column a part."""
    stamps = {
        said: dict(_fields(getattr(report, part).protocol))
        for part, said in PARTS.items()
        if getattr(report, part)
    }
    fields = list(dict.fromkeys(key for stamp in stamps.values() for key in stamp))
    rows = [
        [field, *(Cell(stamp.get(field, NONE), code=True) for stamp in stamps.values())]
        for field in fields
    ]
    note = "Figures can be compared with those of another report only where all of this is the "
    note += "same, names and versions aside: srkit compare says so."
    return PlainTable(["field", *stamps], rows, note)


def _fields(stamp: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield a stamp's fields by dotted path, empty ones too."""
    for key, value in stamp.items():
        if isinstance(value, Mapping) and value:
            yield from _fields(value, f"{prefix}{key}.")
        elif isinstance(value, (list, tuple)) and value:
            yield prefix + key, ", ".join(str(each) for each in value)
        else:
            empty = value is None or value in ("", {}, [], ())
            yield prefix + key, "none" if empty else str(value)


def models(report: Report) -> PlainTable:
    """Return what is known of each model."""
    known = ("sha256", "licence")
    further = list(
        dict.fromkeys(key for about in report.models.values() for key in about if key not in known)
    )
    rows: list[list[str]] = [
        [
            name,
            *(Cell(_known(about.get(key)), code=key == "sha256") for key in (*known, *further)),
        ]
        for name, about in report.models.items()
    ]
    return PlainTable(["model", "sha256 of the weights", "licence", *further], rows)


def _known(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {said}" for key, said in _fields(value))
    return NONE if value is None or value == "" else str(value)


def run_rows(report: Report) -> Iterator[tuple[str, str]]:
    """Yield what else is known of the run, the command aside."""
    for key, value in report.run.items():
        if key == "command":
            continue
        if key == "seconds":
            yield "duration", duration(value)
        else:
            yield key, _known(value)
