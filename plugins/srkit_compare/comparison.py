"""Two reports compared image by image, if they measured the same thing."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from srkit.errors import InputError, SrkitError, UnknownNameError, nearest
from srkit.evaluation import report_tables
from srkit.evaluation.methods import HR, LR, REFERENCES
from srkit.evaluation.report import Distances, Pairs, Quality, Report, Versus, plain, versus
from srkit.evaluation.statistics import FEWEST
from srkit.evaluation.tables import Table, Tables, Value
from srkit.files import write_text

FORMAT = "srkit compare 2"
A, B = "A", "B"
FIXED = (*REFERENCES, LR, HR)  # what no model made
DISTANCE = {"distance": {"title": "identity distance", "unit": "", "higher_is_better": False}}

# Fields of a stamp that may differ between two reports whose figures can be compared: the choice
# of metrics changes none of the figures.
IGNORED = frozenset({"versions", "description", "name", "metrics", "set_metrics"})


def _distances_table(distances: Distances) -> Table:
    return report_tables.distances_table(distances, "distances", "")


# By the report's attribute: what a part is called, and the table of its means.
PARTS: dict[str, tuple[str, Callable[[Any], Table]]] = {
    "quality": ("quality", report_tables.means_table),
    "distances": ("identity distances", _distances_table),
    "everybody": ("identity distances of everybody", _distances_table),
    "pairs": ("verification", report_tables.pairs_table),
}


class ProtocolMismatch(SrkitError):  # noqa: N818 - it says what it is, as Interrupted does
    """Two reports measured different things; their figures can't stand in one table."""


class Pairing(NamedTuple):
    """Which model of A stands beside which of B, and what those of runs are called in either."""

    pairs: Mapping[str, str]
    titles: tuple[Mapping[str, str], Mapping[str, str]]


@dataclass(frozen=True)
class Part:
    """What both reports measured in one way.

    Attributes:
        name: The report's attribute.
        protocol: A's stamp, which B's agrees with.
        versions: Those that differ: ``"torch: 2.9 and 2.10"``.
        metrics: Name to ``title``, ``unit``, ``higher_is_better``.
        means: Every method of either by every metric: A, B, B less A.
        versus: B's models less A's, tested; see `compared_pairs`.
    """

    name: str
    protocol: Mapping[str, Any]
    versions: list[str]
    metrics: Mapping[str, Mapping[str, Any]]
    means: Table
    versus: list[Versus]

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        means = []
        for (metric, method), values in self.means.rows:
            a, b = (None if math.isnan(v.value) else v.value for v in values[:2])
            means.append({"metric": metric, "method": method, "a": a, "b": b})
        return {**vars(self), "means": means, "versus": [asdict(test) for test in self.versus]}


@dataclass(frozen=True)
class Comparison:
    """Two reports side by side.

    Attributes:
        names: Names of A and B, as printed.
        parts: What both have.
        notes: What a reader should know: what only one has, other weights under one name, the
            reports' own warnings.
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
        tables: list[Table] = []
        for part in self.parts:
            tables.append(part.means)
            if part.versus:
                unit = "images" if part.name == "quality" else "faces"
                title = f"Methods of B less those of A, on the same {unit}"
                tables.append(
                    report_tables.versus_table(title, part.versus, part.metrics, part.protocol)
                )
        versions = [f"other versions: {text}" for part in self.parts for text in part.versions]
        head = [f"{letter}: {name}" for letter, name in zip((A, B), self.names, strict=True)]
        return Tables(tables, [*dict.fromkeys(versions), *self.notes], head)


def compare(
    a: Report,
    b: Report,
    names: tuple[str, str] = (A, B),
    pairs: Mapping[str, str] | None = None,
) -> Comparison:
    """Compare two reports.

    Args:
        a: One report.
        b: The other; differences are its figures less A's.
        names: What they are called.
        pairs: Which model of A stands beside which of B; besides them those of one name do. None:
            the only model of A beside the only one of B.

    Raises:
        ProtocolMismatch: A part that both have was measured under different protocols, or on
            different files; the message names every field that differs, and its two values.
        InputError: They have no part in common.
        UnknownNameError: A model of ``pairs`` isn't there.
    """
    pairs = _paired(a, b, names, pairs)
    common, mismatches = list[tuple[str, Any, Any]](), list[str]()
    notes = [f"{A if report is a else B}: {text}" for report in (a, b) for text in report.warnings]
    notes += [*_weights(a, b), *_trainings(a, b, pairs)]
    for name, (title, _) in PARTS.items():
        for judge, ours, theirs in _matched(a, b, name):
            whose = f"{title} by {judge}" if judge else title
            if ours and theirs:
                common.append((name, ours, theirs))
                fields = differences(ours.protocol, theirs.protocol) or unpaired(ours, theirs)
                mismatches += [f"{whose}, {text}" for text in fields]
            elif ours or theirs:
                notes.append(f"{whose}: only in {A if ours else B}")
    if mismatches:
        raise ProtocolMismatch(
            f"{names[0]} and {names[1]} were measured under different protocols: "
            f"{'; '.join(mismatches)}"
        )
    if not common:
        raise InputError(f"{names[0]} and {names[1]} have no part in common")
    several = bool(a.judges or b.judges)
    pairing = Pairing(pairs, (run_titles(a), run_titles(b)))
    parts = [_part(*both, pairing, several=several) for both in common]
    return Comparison(names, parts, notes)


def run_titles(report: Report) -> dict[str, str]:
    """Return recipe and seed of each model of a run by its name, unless two have the same."""
    titles = {
        name: f"{about['recipe']}, seed {about['seed']}"
        for name, about in report.models.items()
        if about.get("recipe", name) != name
    }
    several = list(titles.values())
    return {name: title for name, title in titles.items() if several.count(title) == 1}


def _models(report: Report) -> list[str]:
    return [name for name in report.models if name not in FIXED]


def _paired(
    a: Report, b: Report, names: tuple[str, str], pairs: Mapping[str, str] | None
) -> dict[str, str]:
    """Return B's model by A's for those of different names that stand beside each other."""
    ours, theirs = _models(a), _models(b)
    if pairs is None:
        return dict(zip(ours, theirs, strict=True)) if len(ours) == len(theirs) == 1 else {}
    for known, wanted, name in ((ours, pairs, names[0]), (theirs, pairs.values(), names[1])):
        if missing := [model for model in wanted if model not in known]:
            raise UnknownNameError(
                f"no model '{missing[0]}' in {name}{nearest(missing[0], known)}; "
                f"there {'are ' + ', '.join(known) if known else 'is none but interpolations'}"
            )
    return dict(pairs)


def _trainings(a: Report, b: Report, pairs: Mapping[str, str]) -> Iterator[str]:
    """Yield what no comparison of single trainings can tell."""
    for mine, yours in pairs.items():
        runs = a.models[mine], b.models[yours]
        recipes = {run.get("recipe_sha256") for run in runs}
        if None in recipes or runs[0].get("sha256") == runs[1].get("sha256"):
            continue
        who = " and ".join(f"{run['recipe']}, seed {run['seed']}" for run in runs)
        if len(recipes) == 1:
            yield f"{who}: two seeds of one recipe, whose difference is that of trainings"
        else:
            yield (
                f"{who}: one training each, so that intervals and p, which are over images, tell "
                "these two trainings apart and not their recipes; that takes three seeds of each"
            )


def _matched(a: Report, b: Report, name: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield the part of both reports, or of one; of several embedders, that of each by its name."""
    if name == "quality" or not (a.judges or b.judges):
        yield "", getattr(a, name), getattr(b, name)
        return
    ours, theirs = (
        {part.protocol["embedder"]: part for _, of in r.by_judge() if (part := getattr(of, name))}
        for r in (a, b)
    )
    for judge in dict.fromkeys((*ours, *theirs)):
        yield judge, ours.get(judge), theirs.get(judge)


def _part(name: str, a: Any, b: Any, pairing: Pairing, *, several: bool = False) -> Part:
    title, table = PARTS[name]
    if several and name != "quality":
        title = f"{title} by {a.protocol['embedder']}"
    notes: list[str] = []
    if isinstance(a, Quality):
        exact = {m: [*a.exact.get(m, ()), *b.exact.get(m, ())] for m in {**a.exact, **b.exact}}
        a, b = replace(a, exact=dict(exact)), replace(b, exact=dict(exact))
        notes += report_tables.exact_notes(a)
    if (count := _count(a)) < FEWEST:
        unit = "images" if name == "quality" else "people"
        notes.append(f"{count} {unit} are too few to tell models apart: no test has a p below 0.05")
    return Part(
        name,
        a.protocol,
        differences(_versions(a.protocol), _versions(b.protocol)),
        {**b.metrics, **a.metrics} if name == "quality" else DISTANCE,
        _means(title[0].upper() + title[1:], table(a), table(b), notes, pairing),
        [] if name == "pairs" else _versus(a, b, pairing),
    )


def _count(part: Any) -> int:
    """Return how many images or people a part rests on."""
    return len(part.images) if isinstance(part, Quality) else part.people


def _means(title: str, a: Table, b: Table, notes: Sequence[str], pairing: Pairing) -> Table:
    """Return every method of either by every metric of either: A, B, and B less A."""
    ours, theirs = a.cells(), b.cells()
    headings = dict.fromkeys((*a.headings, *b.headings))
    mine, yours = ([labels[0] for labels, _ in table.rows] for table in (a, b))
    rows_of = [(one, pairing.pairs.get(one, one)) for one in dict.fromkeys(mine)]
    taken = {other for _, other in rows_of}
    rows_of += [("", other) for other in dict.fromkeys(yours) if other not in taken]
    rows = []
    for heading in (heading for heading in headings if heading != report_tables.TIME):
        for one, other in rows_of:
            x, y = (
                replace(cells.get((heading, method), Value(math.nan)), best=False)
                for cells, method in ((ours, one), (theirs, other))
            )
            kind = "signed" if x.kind == "plain" else x.kind
            less = Value(y.value - x.value, digits=x.digits, kind=kind)
            both = [
                pairing.titles[n].get(method, method)
                for n, (method, known) in enumerate(((one, mine), (other, yours)))
                if method in known
            ]
            method = " / ".join(dict.fromkeys(both))
            rows.append(([heading, method], [x, y, less]))
    labels, numbers = ["", "method"], [A, B, f"{B} less {A}"]
    return Table("means", title, labels, numbers, rows, notes, a.protocol)


def compared_pairs(
    a: Sequence[str], b: Sequence[str], pairs: Mapping[str, str] | None = None
) -> list[tuple[str, str]]:
    """Return which methods, A's and B's, are compared with each other.

    Those of ``pairs``, if any, and models of one name. Without pairs also two of different names,
    if at least one of them is only in one report: others are compared within either report.
    """
    ours, theirs = ([method for method in methods if method not in FIXED] for methods in (a, b))
    same = [(method, method) for method in ours if method in theirs]
    if pairs:
        taken = {*pairs, *pairs.values()}
        return [*pairs.items(), *(pair for pair in same if pair[0] not in taken)]
    return same + [
        (one, other)
        for one in ours
        for other in theirs
        if one != other and not (one in theirs and other in ours)
    ]


def _versus(a: Quality | Distances, b: Quality | Distances, pairing: Pairing) -> list[Versus]:
    """Return B's models less A's on the same images or faces, which are grouped by person."""
    ours, theirs = _scores(a), _scores(b)
    mine, yours = (
        {method: f"{of.get(method, method)} ({letter})" for method in part}
        for part, of, letter in zip((ours, theirs), pairing.titles, (A, B), strict=True)
    )
    scores = {mine[method]: values for method, values in ours.items()}
    scores |= {yours[method]: values for method, values in theirs.items()}
    both = compared_pairs(list(ours), list(theirs), pairing.pairs)
    pairs = [(yours[y], mine[x]) for x, y in both]
    first, second = next(iter(ours.values())), next(iter(theirs.values()))
    groups = [row.person for row in a.rows] if isinstance(a, Distances) else None
    return versus([metric for metric in first if metric in second], pairs, scores, groups)


def _scores(part: Quality | Distances) -> dict[str, dict[str, list[float]]]:
    """Return single scores by method and metric."""
    if isinstance(part, Quality):
        return part.all_counted()
    return {method: dict.fromkeys(DISTANCE, part.scores(method)) for method in part.methods}


def _versions(protocol: Mapping[str, Any]) -> dict[str, Any]:
    return {**protocol.get("versions", {}), "degradation": protocol.get("provider", "")}


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Return the fields in which two stamps differ, versions and names aside.

    The number in the degradation's provider, ``"srkit 0.1.0"``, is such a version.

    Returns:
        Such as ``"border: 0 and 4"``; empty where figures may be compared.
    """
    results = []
    for key in {**ours, **theirs}:
        a, b = ours.get(key, "not stated"), theirs.get(key, "not stated")
        same = a == b or (key == "provider" and _distribution(a) == _distribution(b))
        if key not in IGNORED and not same:
            results.append(f"{key}: {a} and {b}")
    return results


def _distribution(provider: Any) -> Any:
    return provider.rpartition(" ")[0] if isinstance(provider, str) else provider


def _weights(a: Report, b: Report) -> list[str]:
    """Return a line for each name that stands for other weights in B than in A."""
    return [
        f"'{name}' has other weights in {B} than in {A}"
        for name, model in a.models.items()
        if name in b.models and model.get("sha256") != b.models[name].get("sha256")
    ]


def unpaired(a: Any, b: Any) -> list[str]:
    """Return what can't be paired although the stamps agree."""
    if isinstance(a, Quality):
        judges = [
            f"{metric}: by {ours['name']} ({ours['sha256']:.8}) and {theirs['name']} "
            f"({theirs['sha256']:.8})"
            for metric, ours in a.metrics.items()
            if {"name", "sha256"} <= {*ours} & {*(theirs := b.metrics.get(metric, {}))}
            and (ours["name"], ours["sha256"]) != (theirs["name"], theirs["sha256"])
        ]
        return judges if a.images == b.images else ["images: not the same names in one order"]
    if isinstance(a, Pairs):
        counts = ("same", "different", "impostors", "people", "photos")
        both = [(name, getattr(a, name), getattr(b, name)) for name in counts]
        return [f"{name}: {ours} and {theirs}" for name, ours, theirs in both if ours != theirs]
    ours, theirs = ([(row.person, row.base, row.photo) for row in part.rows] for part in (a, b))
    return [] if ours == theirs else [f"faces: {len(ours)} and {len(theirs)}, not the same ones"]
