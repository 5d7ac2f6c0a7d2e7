"""Two reports held against each other, image by image, if they measured the same thing."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from srkit.errors import InputError, SrkitError
from srkit.evaluation import report_tables, statistics
from srkit.evaluation.methods import HR, LR, REFERENCES
from srkit.evaluation.protocol import differences
from srkit.evaluation.report import Report, Versus, plain
from srkit.evaluation.tables import Table, Tables, Value
from srkit.files import write_text

FORMAT = "srkit compare 1"
A, B = "A", "B"
FIXED = (*REFERENCES, LR, HR)  # what no model made
DISTANCE = {"distance": {"title": "identity distance", "unit": "", "higher_is_better": False}}


def _distances(found: Any) -> Table:
    return report_tables.distances_table(found, "distances", "")


# By the report's attribute: what a part is called, and the table of its means.
PARTS: dict[str, tuple[str, Callable[[Any], Table]]] = {
    "quality": ("quality", report_tables.means_table),
    "distances": ("identity distances", _distances),
    "whole": ("identity distances of everybody", _distances),
    "pairs": ("verification", report_tables.pairs_table),
}


class ProtocolMismatch(SrkitError):  # noqa: N818 - it says what it is, as Interrupted does
    """Two reports measured different things; their figures can't stand in one table."""

    status = 1


@dataclass(frozen=True)
class Part:
    """What both reports measured in one way.

    Attributes:
        name: The report's attribute.
        protocol: A's stamp, which B's agrees with.
        versions: Those that differ: ``"torch: 2.9 and 2.10"``.
        metrics: Name to ``title``, ``unit``, ``higher_is_better``.
        means: Every method of either by every metric: A, B, B less A.
        versus: B's models less A's, tested; see `pairs_of`.
    """

    name: str
    protocol: Mapping[str, Any]
    versions: list[str]
    metrics: Mapping[str, Mapping[str, Any]]
    means: Table
    versus: list[Versus]

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        means = [
            {"metric": labels[0], "method": labels[1]}
            | {
                name: None if math.isnan(v.value) else v.value
                for name, v in zip("ab", values[:2], strict=True)
            }
            for labels, values in self.means.rows
        ]
        return {**vars(self), "means": means, "versus": [asdict(one) for one in self.versus]}


@dataclass(frozen=True)
class Comparison:
    """Two reports side by side.

    Attributes:
        names: Of A and B, as printed.
        parts: What both have.
        notes: What a reader should know: what only one has, other weights under one name.
    """

    names: tuple[str, str]
    parts: list[Part]
    notes: list[str]

    def as_json(self) -> dict[str, Any]:
        """Return plain values; infinite ones are strings, as in a report."""
        parts = [part.as_json() for part in self.parts]
        return plain({"format": FORMAT, **vars(self), "parts": parts})

    def write(self, file: Path) -> None:
        """Write the JSON.

        Raises:
            InputError: It can't be written.
        """
        write_text(file, json.dumps(self.as_json(), indent=1))

    def tables(self) -> Tables:
        """Return the comparison as tables."""
        shown: list[Table] = []
        for part in self.parts:
            shown.append(part.means)
            if part.versus:
                on = "images" if part.name == "quality" else "faces"
                title = f"Methods of B less those of A, on the same {on}"
                about = (part.metrics, part.protocol)
                shown.append(report_tables.versus_table(title, part.versus, *about))
        versions = [f"other versions: {text}" for part in self.parts for text in part.versions]
        head = [f"{letter}: {name}" for letter, name in zip((A, B), self.names, strict=True)]
        return Tables(shown, [*dict.fromkeys(versions), *self.notes], head)


def compare(a: Report, b: Report, names: tuple[str, str] = (A, B)) -> Comparison:
    """Hold two reports against each other.

    Args:
        a: One report.
        b: The other; differences are its figures less A's.
        names: What they are called.

    Raises:
        ProtocolMismatch: A part that both have was measured under different protocols, or on
            different files; the message names every field that differs, and its two values.
        InputError: They have no part in common.
    """
    both, notes, differ = [], _weights(a, b), []
    for name, (said, _) in PARTS.items():
        ours, theirs = getattr(a, name), getattr(b, name)
        if ours and theirs:
            both.append(name)
            found = differences(ours.protocol, theirs.protocol) or _unpaired(name, ours, theirs)
            differ += [f"{said}, {text}" for text in found]
        elif ours or theirs:
            notes.append(f"{said}: only in {A if ours else B}")
    if differ:
        raise ProtocolMismatch(
            f"{names[0]} and {names[1]} were measured under different protocols: "
            f"{'; '.join(differ)}"
        )
    if not both:
        raise InputError(f"{names[0]} and {names[1]} have no part in common")
    return Comparison(names, [_part(n, getattr(a, n), getattr(b, n)) for n in both], notes)


def _part(name: str, a: Any, b: Any) -> Part:
    title, table = PARTS[name]
    return Part(
        name,
        a.protocol,
        differences(_versions(a.protocol), _versions(b.protocol)),
        {**b.metrics, **a.metrics} if name == "quality" else DISTANCE,
        beside(title.capitalize(), table(a), table(b)),
        [] if name == "pairs" else versus(a, b),
    )


def beside(title: str, a: Table, b: Table) -> Table:
    """Return every method of either by every metric of either: A, B, and B less A."""
    ours, theirs = (
        {
            (heading, labels[0]): replace(value, best=False)
            for labels, values in table.rows
            for heading, value in zip(table.headings, values, strict=True)
        }
        for table in (a, b)
    )
    headings = dict.fromkeys((*a.headings, *b.headings))
    methods = dict.fromkeys(labels[0] for table in (a, b) for labels, _ in table.rows)
    rows = []
    for heading in (heading for heading in headings if heading != report_tables.TIME):
        for method in methods:
            x, y = (its.get((heading, method), Value(math.nan)) for its in (ours, theirs))
            less = 0.0 if x.value == y.value else y.value - x.value  # two infinite ones are equal
            kind = "signed" if x.kind == "plain" else x.kind
            rows.append(([heading, method], [x, y, Value(less, digits=x.digits, kind=kind)]))
    labels, numbers = ["", "method"], [A, B, f"{B} less {A}"]
    return Table("means", title, labels, numbers, rows, (), a.protocol)


def pairs_of(a: Sequence[str], b: Sequence[str]) -> list[tuple[str, str]]:
    """Return which methods, A's and B's, are held against each other.

    Models of one name; and two of different names, if at least one of them is only in one report:
    others are compared within either report.
    """
    ours, theirs = ([method for method in its if method not in FIXED] for its in (a, b))
    same = [(method, method) for method in ours if method in theirs]
    return same + [
        (one, other)
        for one in ours
        for other in theirs
        if one != other and not (one in theirs and other in ours)
    ]


def versus(a: Any, b: Any) -> list[Versus]:
    """Return B's models less A's on the same images or faces; p is adjusted within a metric.

    Args:
        a: Quality or distances. Photos of one person hang together.
        b: The same.
    """
    ours, theirs = _single(a), _single(b)
    groups = [row.person for row in a.rows] if hasattr(a, "rows") else None
    first, second = next(iter(ours.values())), next(iter(theirs.values()))
    pairs, found = pairs_of(list(first), list(second)), []
    for metric in (metric for metric in ours if metric in theirs):
        its = [
            statistics.difference(theirs[metric][other], ours[metric][one], groups)
            for one, other in pairs
        ]
        adjusted = statistics.holm([one.p for one in its])
        for (one, other), difference, p in zip(pairs, its, adjusted, strict=True):
            found.append(Versus(metric, f"{other} ({B})", f"{one} ({A})", difference, p))
    return found


def _single(part: Any) -> dict[str, dict[str, list[float]]]:
    """Return single scores by metric and method."""
    if hasattr(part, "rows"):
        each = {m: [row.distances[m] for row in part.rows] for m in part.columns}
        return dict.fromkeys(DISTANCE, each)
    return {m: {name: its[m] for name, its in part.scores.items()} for m in part.metrics}


def _versions(protocol: Mapping[str, Any]) -> dict[str, Any]:
    return {**protocol.get("versions", {}), "degradation": protocol.get("provider", "")}


def _weights(a: Report, b: Report) -> list[str]:
    """Return a line for each name that stands for other weights in B than in A."""
    return [
        f"'{name}' has other weights in {B} than in {A}"
        for name, its in a.models.items()
        if name in b.models and its.get("sha256") != b.models[name].get("sha256")
    ]


def _unpaired(name: str, a: Any, b: Any) -> list[str]:
    """Return what can't be paired although the stamps agree."""
    if name == "quality":
        return [] if a.pictures == b.pictures else ["pictures: not the same names in one order"]
    if name == "pairs":
        counts = ("same", "different", "impostors", "people", "photos")
        both = [(what, getattr(a, what), getattr(b, what)) for what in counts]
        return [f"{what}: {ours} and {theirs}" for what, ours, theirs in both if ours != theirs]
    ours, theirs = ([(row.person, row.base, row.photo) for row in each.rows] for each in (a, b))
    return [] if ours == theirs else [f"faces: {len(ours)} and {len(theirs)}, not the same ones"]
