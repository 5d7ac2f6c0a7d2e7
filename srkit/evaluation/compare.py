"""Two reports held against each other, picture by picture, if they measured the same thing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srkit.errors import InputError, SrkitError
from srkit.evaluation import opposed
from srkit.evaluation.opposed import Side, View
from srkit.evaluation.protocol import differences
from srkit.evaluation.quality import Versus
from srkit.evaluation.report_tables import sides_table, versus_table
from srkit.evaluation.tables import Table, Tables
from srkit.files import write_text

if TYPE_CHECKING:
    from srkit.evaluation.report import Report

FORMAT = "srkit compare 1"
NO_NUMBER = {"Infinity": "inf", "-Infinity": "-inf", "NaN": "nan"}  # as in a report
A, B = "A", "B"
# By the report's attribute: what a part is called, and how it is compared.
PARTS: dict[str, tuple[str, Callable[[Any], View]]] = {
    "quality": ("quality", opposed.of_quality),
    "distances": ("identity distances", opposed.of_distances),
    "whole": ("identity distances of everybody", opposed.of_distances),
    "pairs": ("verification", opposed.of_pairs),
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
        sides: Every column of either, by every metric.
        versus: B's models less A's, tested; see `opposed.pairs_of`.
    """

    name: str
    protocol: Mapping[str, Any]
    versions: list[str]
    metrics: Mapping[str, Mapping[str, Any]]
    sides: list[Side]
    versus: list[Versus]


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
        text = json.dumps({"format": FORMAT, **asdict(self)})
        found: dict[str, Any] = json.loads(text, parse_constant=NO_NUMBER.__getitem__)
        return found

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
            title = PARTS[part.name][0].capitalize()
            about = (part.metrics, part.protocol)
            shown.append(sides_table(title, part.sides, *about))
            if part.versus:
                on = "images" if part.name == "quality" else "faces"
                title = f"Methods of B less those of A, on the same {on}"
                shown.append(versus_table(title, part.versus, *about))
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
    view = PARTS[name][1]
    ours, theirs = view(a), view(b)
    return Part(
        name,
        a.protocol,
        differences(_versions(a.protocol), _versions(b.protocol)),
        {**theirs.metrics, **ours.metrics},
        opposed.sides(ours, theirs),
        opposed.versus(ours, theirs),
    )


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
