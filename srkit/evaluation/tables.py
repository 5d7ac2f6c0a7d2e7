"""Numbers in rows: one `Table`, shown on a terminal and as Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal

from rich import box
from rich import table as grids
from rich.text import Text

from srkit import notebook
from srkit.errors import escaped

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult


@dataclass(frozen=True)
class Value:
    """A number, with its 95% interval where it has one. Its text is plain ASCII.

    Attributes:
        value: NaN where there is none.
        low: Lower end of the interval.
        high: Upper end.
        digits: Decimals.
        kind: Differences are signed.
        best: Whether it is better than all others beyond its uncertainty.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    digits: int = 3
    kind: Literal["plain", "signed", "percent", "p"] = "plain"
    best: bool = False

    def __str__(self) -> str:
        if self.kind == "p" and self.value < 0.001:
            return "< 0.001"
        return "-" if math.isnan(self.value) else self._number(self.value)

    @property
    def interval(self) -> str:
        """The interval, or nothing."""
        if math.isnan(self.low):
            return ""
        return f"[{self._number(self.low)}, {self._number(self.high)}]"

    def _number(self, value: float) -> str:
        if self.kind == "percent":
            return f"{100 * value:.0f}%"
        text = f"{value:{'+' if self.kind == 'signed' else ''}.{self.digits}f}"
        # A zero has no sign.
        return text if any(c in "123456789infa" for c in text) else text.lstrip("+-")


@dataclass(frozen=True)
class Table:
    """Numbers in rows.

    Attributes:
        name: What it shows, in one word.
        title: Stands above.
        labels: Headings of the texts at the left.
        headings: Headings of the numbers; a unit stands after a comma.
        rows: Texts and numbers of each row.
        notes: Stand beneath.
        protocol: How it was measured: a stamp.
    """

    name: str
    title: str
    labels: Sequence[str]
    headings: Sequence[str]
    rows: Sequence[tuple[Sequence[str], Sequence[Value]]]
    notes: Sequence[str] = ()
    protocol: Mapping[str, Any] = field(default_factory=dict)

    def cells(self) -> dict[tuple[str, str], Value]:
        """Return the numbers by their heading and their row's first text."""
        return {
            (heading, labels[0]): value
            for labels, values in self.rows
            for heading, value in zip(self.headings, values, strict=True)
        }

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Show it on a terminal; what is too wide for it goes on below."""
        between, pieces = " ", self._pieces(options.max_width, " ")
        if len(pieces) > 1:  # intervals go beneath their numbers
            between, pieces = "\n", self._pieces(options.max_width, "\n")
        yield Text(self.title, "bold")
        for piece in pieces:
            yield self._grid(piece, between)
        yield from (Text(escaped(note), "dim") for note in self.notes)
        yield Text()

    def _pieces(self, width: int, between: str) -> list[list[int]]:
        """Return the indices of numbers that stand beside each other in ``width`` characters."""
        labels = zip(self.labels, *(labels for labels, _ in self.rows), strict=True)
        available = width - sum(min(width // 3, max(map(len, texts))) + 2 for texts in labels)
        pieces: list[list[int]] = [[]]
        left = available
        for index, heading in enumerate(self.headings):
            texts = [_lines(heading), *(_cell(values[index], between) for _, values in self.rows)]
            needed = max(len(line) for text in texts for line in text.split("\n")) + 2
            if needed > left and pieces[-1]:
                pieces.append([])
                left = available
            pieces[-1].append(index)
            left -= needed
        return pieces

    def _grid(self, indices: Sequence[int], between: str) -> grids.Table:
        grid = grids.Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
        for label in self.labels:
            grid.add_column(Text(label), overflow="fold")
        for index in indices:
            grid.add_column(Text(_lines(self.headings[index])), justify="right", overflow="fold")
        group = None
        for (first, *others), values in self.rows:
            cells = [
                Text(_cell(values[index], between), "bold" if values[index].best else "")
                for index in indices
            ]
            shown = ["" if others and first == group else first, *others]
            grid.add_row(*(Text(escaped(label)) for label in shown), *cells)
            group = first
        return grid

    def _repr_html_(self) -> str:
        rows = [
            [*map(escaped, labels)]
            + [(notebook.Strong if v.best else str)(_cell(v, " ")) for v in values]
            for labels, values in self.rows
        ]
        headings = [*self.labels, *self.headings]
        notes = "".join(map(notebook.paragraph, map(escaped, self.notes)))
        return (
            notebook.paragraph(notebook.Strong(self.title))
            + notebook.table(headings, rows, len(self.labels))
            + notes
        )

    def markdown(self) -> str:
        """Return it as Markdown, without title and notes."""
        rows = [[*self.labels, *self.headings], ["---"] * len(self.labels)]
        rows[1] += ["---:"] * len(self.headings)
        for labels, values in self.rows:
            cells = [f"**{v}** {v.interval}" if v.best else f"{v} {v.interval}" for v in values]
            rows.append([*labels, *(cell.strip() for cell in cells)])
        return "".join(
            f"| {' | '.join(escaped(c).replace('|', chr(92) + '|') for c in r)} |\n" for r in rows
        )


@dataclass(frozen=True)
class Tables:
    """Tables in their order, each part's protocol beneath it.

    Attributes:
        tables: Those of one protocol follow each other.
        notes: Stand at the end.
        head: Stands above all.
    """

    tables: Sequence[Table]
    notes: Sequence[str] = ()
    head: Sequence[str] = ()

    def __iter__(self) -> Iterator[Table]:
        return iter(self.tables)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Show them on a terminal."""
        for part in self._parts():
            yield part if isinstance(part, Table) else Text(part, "dim")

    def _repr_html_(self) -> str:
        return "".join(
            part._repr_html_() if isinstance(part, Table) else notebook.paragraph(part)
            for part in self._parts()
        )

    def markdown(self) -> str:
        """Return them as Markdown."""
        parts: list[str] = []
        for part in self._parts():
            if isinstance(part, Table):
                parts += [f"**{part.title}**", part.markdown(), *map(escaped, part.notes)]
            else:
                parts.append(part)
        return "".join(f"{part.strip()}\n\n" for part in parts)

    def _parts(self) -> Iterator[Table | str]:
        yield from map(escaped, self.head)
        above: Mapping[str, Any] = {}
        for protocol, tables in groupby(self.tables, lambda table: table.protocol):
            yield from tables
            yield f"protocol: {fine_print(protocol, above)}\n"
            above = protocol
        yield from map(escaped, self.notes)


def _lines(heading: str) -> str:
    return heading.replace(", ", "\n").replace(" at ", " at\n")


def _cell(value: Value, between: str) -> str:
    return between.join(filter(None, (str(value), value.interval)))


def fine_print(protocol: Mapping[str, Any], above: Mapping[str, Any] | None = None) -> str:
    """Return a protocol's stamp in one line, without what the one above it states already."""
    known = _fields(above or {})
    new = [
        f"{key} {', '.join(map(str, value)) if isinstance(value, list) else value}"
        for key, value in _fields(protocol).items()
        if known.get(key) != value
    ]
    return ", but ".join((["as above"] if above else []) + ([", ".join(new)] if new else []))


def _fields(stamp: Mapping[str, Any]) -> dict[str, Any]:
    fields = {**stamp, **stamp.get("versions", {}), **stamp.get("options", {})}
    left_out = ("versions", "options", "embedder_sha256", "description")
    return {k: value for k, value in fields.items() if k not in left_out and value not in ([], ())}
