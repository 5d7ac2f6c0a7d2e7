"""How many batches each scenario did in its share of the time, as Fig. 7 of the paper counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from srkit.errors import SrkitError
from srkit.evaluation.page import charts
from srkit.evaluation.page.numbers import NONE, duration, number
from srkit.evaluation.page.parts import pace
from srkit.evaluation.page.sections import Cell, Figure, PlainTable, Section
from srkit.evaluation.studies import verdicts
from srkit.evaluation.studies.published import Stated
from srkit.evaluation.studies.stated import THEIRS, stated, with_ends
from srkit.evaluation.studies.study import Study
from srkit.training import run_folder

if TYPE_CHECKING:
    from srkit.evaluation.studies.schedule import Schedule


def batches(study: Study, schedule: Schedule, logs: Mapping[str, Path]) -> Section:
    """Return how many batches each scenario did, and in how much time."""
    first = study.labels[0]
    theirs: Sequence[Stated | None] = (
        study.batches.published if study.batches else [None] * len(study.labels)
    )
    rows = []
    ratios = {}
    for training, published in zip(schedule.trainings, theirs, strict=True):
        label = training.label
        ratios[label] = verdicts.in_equal_time(schedule, label, first)
        seconds = seconds_of(logs[label], training.steps)
        rows.append(
            [
                label,
                f"{training.steps:,}",
                NONE if seconds is None else duration(seconds),
                number(training.pace.step, 3),
                Cell("1") if label == first else with_ends(ratios[label], 3),
                stated(published, 0),
                stated(_share(published, theirs[0]), 3),
            ]
        )
    source = study.batches.source if study.batches else "Batches"
    headings = ["", "batches", "they took", "s a batch", "in equal time", THEIRS, "ratio"]
    table = PlainTable(headings, rows, _batches_note(schedule))
    text = [_how_long(schedule)]
    text += [study.batches.note] if study.batches and study.batches.note else []
    chart = _bars({label: r.value for label, r in ratios.items()}, theirs, source)
    return Section(f"{source}: batches in equal time", text, [table], [chart])


def _how_long(schedule: Schedule) -> str:
    asked = schedule.asked
    if schedule.share is None:
        return f"Each scenario was given {asked['steps']:,} batches."
    equal = "the same time" if asked["equal"] == "time" else "the same number of batches"
    return (
        f"{duration(asked['time_budget'])} were shared among {len(schedule.trainings)} scenarios, "
        f"{duration(schedule.measuring)} of them spent on measuring their speeds; each was given "
        f"{equal}" + (f", {duration(schedule.share)}." if asked["equal"] == "time" else ".")
    )


def _batches_note(schedule: Schedule) -> str:
    turns = len(schedule.trainings[0].pace.rounds)
    return (
        "The numbers of batches were fixed before the first training, from the median speed of "
        f"{turns} turns in which all scenarios took part; in equal time: how many for one of the "
        "first scenario's, median and 95% interval over the turns. They took: batches alone, by "
        "the log, without validations and checkpoints; a machine that others use as well is not "
        "always as fast as when it was measured."
    )


def seconds_of(log: Path, steps: int) -> float | None:
    """Return what a training's batches took, by its log; None where that lacks a part of them."""
    try:
        an_hour, done = pace(log)
    except SrkitError:
        return None
    return done / an_hour * 3600 if done == steps else None


def _share(value: Stated | None, of: Stated | None) -> Stated | None:
    if isinstance(value, str) or isinstance(of, str):
        return "not stated"
    return None if value is None or of is None else value / of


def _bars(ours: Mapping[str, float], theirs: Sequence[Stated | None], source: str) -> Figure:
    figure, (ax,) = charts.canvas(6.4, 0.9 + 0.5 * len(ours))
    shares = [_share(value, theirs[0]) for value in theirs]
    for row, (value, published) in enumerate(zip(ours.values(), shares, strict=True)):
        pairs = [(-0.2, value, charts.SERIES[0]), (0.2, published, charts.GREY)]
        for offset, length, colour in pairs:
            wide = length if isinstance(length, float) else 0.0
            ax.barh(row + offset, wide, height=0.36, color=colour)
            ax.annotate(
                stated(length, 3),
                (wide, row + offset),
                (4, 0),
                textcoords="offset points",
                va="center",
                fontsize=charts.SMALL,
                color=charts.INK,
            )
    ax.set_yticks(range(len(ours)), [charts.label(name) for name in ours])
    ax.tick_params(axis="y", labelcolor=charts.INK, length=0)
    ax.set_ylim(len(ours) - 0.5, -0.5)
    ax.set_xlim(0, 1.18 * max([*ours.values(), *(s for s in shares if isinstance(s, float))]))
    ax.grid(False, axis="y")
    ax.set_xlabel("batches in equal time, for one of the first scenario's")
    said = [
        f"{name}: {value:.3f} here, {stated(published, 3)} published"
        for (name, value), published in zip(ours.items(), shares, strict=True)
    ]
    return Figure(
        "equal-time",
        figure,
        f"{source} rebuilt: batches in equal time, ours above (blue), published beneath (grey).",
        f"Bars. {'; '.join(said)}",
    )


def logs_of(schedule: Schedule, out: Path) -> dict[str, Path]:
    """Return each training's log, by label."""
    return {t.label: out / t.complete().name / run_folder.LOG for t in schedule.trainings}
