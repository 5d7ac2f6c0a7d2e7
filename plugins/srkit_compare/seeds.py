"""Several trainings of one recipe as one column, with what differs between them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from srkit.errors import InputError
from srkit.evaluation import report_tables, statistics
from srkit.evaluation.methods import BICUBIC
from srkit.evaluation.report import Quality, Report, plain
from srkit.evaluation.tables import Table, Tables, Value
from srkit.files import write_text
from srkit_compare.comparison import (
    FIXED,
    PARTS,
    ProtocolMismatch,
    differences,
    run_titles,
    unpaired,
)

FORMAT = "srkit compare seeds 1"
LEAST = 3  # trainings of a recipe that say something of it
NOTE = (
    "difference [95%], p: Student's t over trainings (Welch's of two recipes), on these very "
    f"images or faces; adjusted (Holm) for the number of pairs; only of {LEAST} trainings or more"
)
NOTHING = f"no recipe has {LEAST} trainings here: nothing is said of recipes"


@dataclass(frozen=True)
class Group:
    """A column: a method that all reports have, or the trainings of one recipe.

    Attributes:
        name: ``faces, 3 seeds``; the method's name where there is one training.
        members: Index of the report, and the method's name in it.
        seeds: Seeds of the trainings; empty for a method that is none.
    """

    name: str
    members: list[tuple[int, str]]
    seeds: list[int]


@dataclass(frozen=True)
class Between:
    """A group's mean less another's, and whether that is more than trainings differ."""

    metric: str
    a: str
    b: str
    difference: float
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    p_adjusted: float = math.nan


@dataclass(frozen=True)
class Column:
    """A group's value by one number: of each training, their mean and standard deviation."""

    metric: str
    group: str
    values: list[float]
    mean: float
    sd: float


@dataclass(frozen=True)
class Part:
    """What all reports measured in one way: columns, differences, and the two as tables."""

    name: str
    protocol: Mapping[str, Any]
    columns: list[Column]
    between: list[Between]
    table: Table
    tests: Table


@dataclass(frozen=True)
class SeedComparison:
    """Reports of several trainings, side by side.

    Attributes:
        names: Names of the reports.
        groups: The columns.
        parts: What all reports have.
        notes: What a reader should know.
    """

    names: list[str]
    groups: list[Group]
    parts: list[Part]
    notes: list[str]

    def tables(self) -> Tables:
        """Return the comparison as tables."""
        tables = [table for part in self.parts for table in (part.table, part.tests) if table.rows]
        notes = [] if any(part.between for part in self.parts) else [NOTHING]
        return Tables(tables, [*notes, *self.notes], [f"reports: {', '.join(self.names)}"])

    def write(self, file: Path) -> None:
        """Write the JSON.

        Raises:
            InputError: It can't be written.
        """
        parts = [
            {
                "name": part.name,
                "protocol": part.protocol,
                "columns": [asdict(column) for column in part.columns],
                "between": [asdict(test) for test in part.between],
            }
            for part in self.parts
        ]
        groups = [asdict(group) for group in self.groups]
        whole = {"format": FORMAT, "names": self.names, "groups": groups, "parts": parts}
        write_text(file, json.dumps(plain({**whole, "notes": self.notes}), indent=1))


def compare_seeds(reports: Sequence[Report], names: Sequence[str]) -> SeedComparison:
    """Compare several trainings; those that differ in the seed alone are one column.

    Args:
        reports: Reports of one protocol on the same files; one is enough that holds them all.
        names: What they are called.

    Raises:
        ProtocolMismatch: They were measured under different protocols, or on different files.
        InputError: They have no part in common, or there is nothing to compare.
    """
    first = reports[0]
    common = [name for name in PARTS if all(getattr(report, name) for report in reports)]
    if not common:
        raise InputError(f"{', '.join(names)} have no part in common")
    for report, name in zip(reports[1:], names[1:], strict=True):
        wrong = [
            f"{PARTS[part][0]}, {text}"
            for part in common
            for text in differences(getattr(first, part).protocol, getattr(report, part).protocol)
            or unpaired(getattr(first, part), getattr(report, part))
        ]
        if wrong:
            raise ProtocolMismatch(
                f"{names[0]} and {name} were measured under different protocols: {'; '.join(wrong)}"
            )
    groups = list(grouped(reports, names))
    if len(reports) == 1 and all(len(group.members) == 1 for group in groups):
        raise InputError(f"{names[0]}: one report, and no two trainings of a recipe in it")
    notes = [
        f"{name}: {text}"
        for report, name in zip(reports, names, strict=True)
        for text in report.warnings
    ]
    notes += [f"{g.name}: seeds {', '.join(map(str, g.seeds))}" for g in groups if len(g.seeds) > 1]
    parts = [_part(name, [getattr(report, name) for report in reports], groups) for name in common]
    return SeedComparison(list(names), groups, parts, notes)


def grouped(reports: Sequence[Report], names: Sequence[str]) -> Iterator[Group]:
    """Yield what no model made, then a group a recipe, or a file of weights of an unknown one.

    The same weights in several reports are one member.
    """
    for name in FIXED:
        yield Group(name, [(0, name)], [])
    found: dict[Any, dict[Any, tuple[int, str]]] = {}
    for n, report in enumerate(reports):
        for name, about in report.models.items():
            if name not in FIXED:
                weights = about.get("sha256") or name
                recipe = about.get("recipe_sha256") or weights
                found.setdefault(recipe, {}).setdefault(weights, (n, name))
    titles: list[str] = []
    for members in found.values():
        group = list(members.values())
        abouts = [reports[n].models[name] for n, name in group]
        seeds = sorted(about["seed"] for about in abouts if "seed" in about)
        if len(group) > 1:
            several = len(set(seeds)) == len(group)
            title = f"{abouts[0]['recipe']}, {len(group)} {'seeds' if several else 'trainings'}"
        else:
            n, name = group[0]
            title = run_titles(reports[n]).get(name, name)
        if title in titles:  # other weights, or another recipe, of one name
            title = f"{title} ({names[group[0][0]]})"
        titles.append(title)
        yield Group(title, group, seeds)


def _part(name: str, parts: Sequence[Any], groups: Sequence[Group]) -> Part:
    title, table = PARTS[name]
    title = title[0].upper() + title[1:]
    notes: list[str] = []
    if isinstance(parts[0], Quality):
        exact: dict[str, list[int]] = {}
        for part in parts:
            for metric, numbers in part.exact.items():
                exact[metric] = [*exact.get(metric, ()), *numbers]
        parts = [replace(part, exact=dict(exact)) for part in parts]
        notes += report_tables.exact_notes(parts[0])
    cells = [table(part).cells() for part in parts]
    headings = dict.fromkeys(heading for heading, _ in cells[0] if heading != report_tables.TIME)
    rows = [
        [_column(heading, group, cells) for group in groups]
        for heading in headings
        if all(any(heading == known for known, _ in each) for each in cells)
    ]
    shown = [n for n in range(len(groups)) if not all(math.isnan(row[n].mean) for row in rows)]
    columns = [[row[n] for n in shown] for row in rows]
    between = [test for row in columns for test in _between(row, [groups[n] for n in shown])]
    like = {heading: value for (heading, _), value in cells[0].items()}
    protocol = parts[0].protocol
    means = [
        ([row[0].metric], [_value(like[column.metric], column) for column in row])
        for row in columns
    ]
    tests = [
        (
            [test.metric, test.a, test.b],
            [
                Value(test.difference, test.low, test.high, like[test.metric].digits, "signed"),
                Value(test.p, kind="p"),
                Value(test.p_adjusted, kind="p"),
            ],
        )
        for test in between
    ]
    heading = f"{title}, mean over trainings [least, largest]"
    names = [groups[n].name for n in shown]
    head, numbers = ["", "method", "less"], ["difference [95%]", "p", "adjusted p"]
    return Part(
        name,
        protocol,
        [column for row in columns for column in row],
        between,
        Table("seeds", heading, [""], names, means, notes, protocol),
        Table("tests", f"{title}: recipes apart", head, numbers, tests, [NOTE], protocol),
    )


def _column(heading: str, group: Group, cells: Sequence[Mapping[tuple[str, str], Value]]) -> Column:
    missing = Value(math.nan)
    values = [cells[n].get((heading, method), missing).value for n, method in group.members]
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
    return Column(heading, group.name, values, statistics.mean(values), sd)


def _value(like: Value, column: Column) -> Value:
    """Return a cell: the mean, and the least and the largest where there are several."""
    several = len(column.values) > 1
    ends = (min(column.values), max(column.values)) if several else (math.nan, math.nan)
    return replace(like, value=column.mean, low=ends[0], high=ends[1], best=False)


def _between(row: Sequence[Column], groups: Sequence[Group]) -> list[Between]:
    """Test the groups of `LEAST` trainings or more against bicubic, and each other."""
    enough = [n for n, group in enumerate(groups) if len(group.members) >= LEAST]
    fixed = [n for n, group in enumerate(groups) if group.name == BICUBIC]
    pairs = [(n, base) for n in enough for base in fixed]
    pairs += [(b, a) for a, b in combinations(enough, 2)]
    tests = [_welch(row[a], row[b]) for a, b in pairs]
    adjusted = statistics.holm([test.p for test in tests])
    return [replace(test, p_adjusted=p) for test, p in zip(tests, adjusted, strict=True)]


def _welch(a: Column, b: Column) -> Between:
    """Return a's mean less b's by Welch's t; a single value of b's is without spread."""
    spreads = [(column.sd**2 / len(column.values), len(column.values)) for column in (a, b)]
    spreads = [(spread, count) for spread, count in spreads if count > 1]
    difference = a.mean - b.mean
    error = math.sqrt(sum(spread for spread, _ in spreads))
    if not error > 0:  # nothing varies, or there is no number
        return Between(a.metric, a.group, b.group, difference, p=1.0)
    freedom = error**4 / sum(spread**2 / (count - 1) for spread, count in spreads)
    half = float(stats.t.ppf((1 + statistics.LEVEL) / 2, freedom)) * error
    p = float(2 * stats.t.sf(abs(difference) / error, freedom))
    return Between(a.metric, a.group, b.group, difference, difference - half, difference + half, p)
