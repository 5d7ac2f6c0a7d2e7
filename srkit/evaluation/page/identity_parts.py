"""The parts of the page on identity: Table II, everybody, and pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from srkit.evaluation.columns import BICUBIC, HR, LR
from srkit.evaluation.page import identity_charts
from srkit.evaluation.page.numbers import NONE, number, percent, span
from srkit.evaluation.page.sections import Cell, Figure, PlainTable, Section

if TYPE_CHECKING:
    from srkit.evaluation.identity import Distances, Estimate, Pairs

NAMED = 12  # photos without a face; the rest is counted


def distances_section(draw: Distances | None, whole: Distances | None) -> Section:
    """Return Table II of the people drawn, and the summary of everybody."""
    first = draw or whole
    assert first is not None
    tables, figures = [], []
    if draw:
        tables.append(_table(draw))
        figures.append(identity_charts.distances(draw))
    if whole:
        title = f"Everybody: {whole.people} people, {len(whole.rows)} probes"
        tables.append(PlainTable(["", *whole.columns], _summary(whole), "", title))
        figures.append(identity_charts.distances(whole, "distances-everybody"))
    said = (
        "Distances between a base photo and other photos of the same person, degraded and "
        f"enlarged, by the embedder {first.protocol.get('embedder', '')}; lower is closer. LR is "
        "the floor; HR, the same probes without degradation, is the ceiling that no model can be "
        "asked to beat."
    )
    notes = [note for part in (draw, whole) if part for note in part.notes]
    text = [said, *_missing([draw, whole]), *dict.fromkeys(notes)]
    return Section("Identity", text, tables, figures)


def _table(found: Distances) -> PlainTable:
    rows: list[list[str]] = []
    before = None
    for row in found.rows:
        name = row.person if row.person != before else ""
        cells = [number(row.distances[column], 4) for column in found.columns]
        rows.append([name, row.photo, *cells])
        before = row.person
    rows += [[row[0], "", *row[1:]] for row in _summary(found)]
    return PlainTable(
        ["person", "photo", *found.columns],
        rows,
        "The 95% interval is a bootstrap with people drawn anew. The gap is that from LR to HR.",
        f"Table II: {found.people} people drawn",
    )


def _summary(found: Distances) -> list[list[str]]:
    columns = found.columns
    models = [c for c in columns if c not in (LR, HR)]
    best = min(models, key=found.mean, default=None)
    rows = [
        ["mean", *(Cell(number(found.mean(c), 4), strong=c == best) for c in columns)],
        ["95%", *(span(low, high, 3) for low, high in map(found.interval, columns))],
    ]
    if BICUBIC in columns:
        rows.append(["of bicubic", *(number(found.ratio(c, BICUBIC), 3) for c in columns)])
    if LR in columns and HR in columns:
        rows.append(["gap closed", *(identity_charts.closed(found, c) or NONE for c in columns)])
    return [list(row) for row in rows]


def pairs_section(found: Pairs) -> Section:
    """Return verification by same and different pairs, with ROC, sizes and histograms."""
    targets = list(dict.fromkeys(t for its in found.columns.values() for t in its.tar))
    rows: list[list[str]] = []
    for column, its in found.columns.items():
        cells: list[str] = [column]
        for estimate in (its.auc, its.eer, *(its.tar.get(t) for t in targets), its.rank1):
            cells.append(_estimate(estimate))
        cells.append(NONE if column in (LR, HR) else _estimate(its.closed, share=True))
        rows.append(cells)
    headings = ["AUC \u2191", "EER \u2193", *(f"TAR at FAR {_power(t)} \u2191" for t in targets)]
    table = PlainTable(
        ["", *headings, "rank-1 \u2191", "gap closed \u2191"],
        rows,
        "With 95% intervals beneath, people drawn anew. The gap is that from LR's AUC to HR's.",
        "Verification",
    )
    said = (
        f"{found.same:,} pairs of the same person and {found.different:,} of different people are "
        f"drawn from {found.photos:,} photos of {found.people:,} people; shares of false accepts "
        f"rest on {found.impostors:,} impostors. Probes are degraded and enlarged, the gallery is "
        f"HR, the embedder is {found.protocol.get('embedder', '')}."
    )
    charts: Sequence[Figure | None] = [
        identity_charts.roc(found),
        identity_charts.sizes(found),
        identity_charts.spread(found),
    ]
    tables = [table, *([_sizes(found)] if found.sizes else [])]
    text = [said, *_missing([found]), *found.notes]
    return Section("Pairs", text, tables, [chart for chart in charts if chart])


def _sizes(found: Pairs) -> PlainTable:
    rows = []
    for size in found.sizes:
        for key, said in (("auc", "AUC"), ("tar", "TAR at FAR 1e-2")):
            cells = [_estimate(its[key]) for its in size.columns.values()]
            rows.append([f"{size.side} px", said, *cells])
    return PlainTable(
        ["side of LR", "", *found.sizes[0].columns], rows, "", "Over the size of the input"
    )


def _estimate(found: Estimate | None, share: bool = False) -> str:
    if found is None or math.isnan(found.value):
        return NONE
    if share:
        ends = f"[{percent(found.low)}, {percent(found.high)}]"
        return Cell(percent(found.value), under=ends)
    return Cell(number(found.value, 3), under=span(found.low, found.high, 3))


def _power(target: str) -> str:
    mantissa, exponent = f"{float(target):.0e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def _missing(parts: Sequence[Distances | Pairs | None]) -> list[str]:
    """Return sentences on photos without a face and on people left out, each once."""
    lists: list[tuple[str, str, list[str]]] = [
        ("photo without a face", "photos without a face", []),
        ("person left out", "people left out", []),
    ]
    for part in parts:
        if part:
            for (_, _, names), its in zip(lists, (part.no_face, part.left_out), strict=True):
                names += [str(name) for name in its if str(name) not in names]
    found = []
    for one, many, names in lists:
        if names:
            rest = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
            what = one if len(names) == 1 else many
            found.append(f"{len(names):,} {what}: {', '.join(names[:NAMED])}{rest}.")
    return found
