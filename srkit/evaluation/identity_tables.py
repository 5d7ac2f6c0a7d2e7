"""Tables of identity for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from srkit.evaluation.cells import NOTHING, estimate_cell, grid, number, pieces, share, titled
from srkit.evaluation.columns import BICUBIC, HR, LR

if TYPE_CHECKING:
    from srkit.evaluation.identity import Distances, Pairs

ACROSS = 7  # columns of numbers; a table with more goes on below
LONG = 40  # rows; more are left to the files


def distances_table(
    found: Distances, title: str = "Identity distance (Table II)", *, rows: bool = True
) -> Group:
    """Return a row a person and photo, if they aren't too many, and what they come to."""
    said = [
        f"{len(found.rows)} probes of {found.people} people; lower is closer; LR is the floor, HR "
        "the ceiling, and the gap that from the one to the other; intervals by person"
    ]
    shown = [_distances(found, columns, rows) for columns in pieces(found.columns, ACROSS)]
    title = f"{title}, {found.protocol['embedder']}"
    return titled(title, *shown, said=said + _missing(found))


def _distances(found: Distances, columns: Sequence[str], rows: bool) -> Table:
    table = grid(("person", "photo"), columns)
    table.columns[0].min_width = len("of bicubic")
    if rows and len(found.rows) <= LONG:
        before = None
        for row in found.rows:
            name = row.person if row.person != before else ""
            values = [number(row.distances[column], 4) for column in columns]
            table.add_row(*map(Text, (name, row.photo, *values)))
            before = row.person
        table.add_section()
    table.add_row("mean", "", *(number(found.mean(column), 4) for column in columns))
    ends = [found.interval(column) for column in columns]
    # Two lines: in one, six columns are wider than a terminal.
    table.add_row("95%", "", *(f"{number(a, 3)}-\n{number(b, 3)}" for a, b in ends))
    table.add_row("of bicubic", "", *(number(found.ratio(c, BICUBIC), 3) for c in columns))
    closed = [None if column in (LR, HR) else found.closed(column) for column in columns]
    table.add_row("gap closed", "", *(share(estimate) for estimate in closed))
    return table


def pairs_table(found: Pairs) -> Group:
    """Return a row a column: AUC, EER, TAR at FAR, rank-1 and the gap closed, with intervals."""
    targets = list(dict.fromkeys(t for its in found.columns.values() for t in its.tar))
    headings = [f"TAR at\nFAR {float(target):g}" for target in targets]
    table = grid(("",), ("AUC", "EER", *headings, "rank-1", "gap closed"))
    for column, its in found.columns.items():
        estimates = [its.auc, its.eer, *(its.tar.get(target) for target in targets), its.rank1]
        closed = NOTHING if column in (LR, HR) else share(its.closed)
        table.add_row(Text(column), *map(estimate_cell, estimates), closed)
    said = [
        f"{found.same} same and {found.different} different pairs, {found.impostors} impostors, "
        f"of {found.photos} photos of {found.people} people; of EER lower is better"
    ]
    title = f"Verification, {found.protocol['embedder']} [95%, people drawn anew]"
    return titled(title, table, said=said + _missing(found))


def sizes_table(found: Pairs) -> Group:
    """Return AUC and TAR of every column by the size of the input; nothing without sizes."""
    if not found.sizes:
        return Group()
    sides = [f"{size.side} px\n{size.photos} photos" for size in found.sizes]
    table = grid(("", ""), sides)
    for column in found.sizes[0].columns:
        for key, said in (("auc", "AUC"), ("tar", "TAR at FAR 0.01")):
            cells = [estimate_cell(size.columns[column][key]) for size in found.sizes]
            table.add_row(Text(column if key == "auc" else ""), said, *cells)
    return titled("By the side of the input [95%]", table)


def _missing(found: Any) -> list[str]:
    """Return what was left out, how much of it, and what else is to be said."""
    said = []
    for what, names in (
        ("photos without a face", found.no_face),
        ("people left out", found.left_out),
    ):
        if names:
            some = ", ".join(map(str, names[:5])) + (", ..." if len(names) > 5 else "")
            said.append(f"{what}, {len(names)}: {some}")
    return [*said, *found.notes]
