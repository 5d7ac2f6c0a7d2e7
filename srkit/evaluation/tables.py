"""Tables for the terminal, readable at 100 columns; each part's protocol stands beneath."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from srkit.evaluation.cells import (
    NOTHING,
    digits,
    flat,
    grid,
    heading,
    notes,
    number,
    pieces,
    plain,
    probability,
    titled,
    with_ends,
)
from srkit.evaluation.identity_tables import distances_table, pairs_table, sizes_table
from srkit.evaluation.quality import Quality, Versus

if TYPE_CHECKING:
    from srkit.evaluation.opposed import Side
    from srkit.evaluation.report import Report

ACROSS = 8  # columns of numbers; a table with more goes on below
WIDE = 5  # the same, of cells with intervals
LONG = 40  # rows; more are left to the files

TEST = (
    "p: paired sign-flip permutation test, two-sided; adjusted (Holm) for the number of pairs of "
    "models compared by a metric"
)


def tables(report: Report) -> Group:
    """Return everything a report says, for a terminal."""
    parts: list[RenderableType] = []
    above: Mapping[str, Any] = {}
    for protocol, shown in _sections(report):
        parts += [*shown, fine_print(protocol, above)]
        above = protocol
    return Group(*parts, *notes(report.warnings, "warning: "))


def _sections(report: Report) -> Iterator[tuple[Mapping[str, Any], list[Group]]]:
    """Yield the protocol and the tables of every part."""
    if quality := report.quality:
        found = [quality_table(quality), gains_table(quality), significance_table(quality)]
        yield quality.protocol, found
    if report.distances:
        yield report.distances.protocol, [distances_table(report.distances)]
    if report.whole:
        title = "Identity distance of everybody"
        yield report.whole.protocol, [distances_table(report.whole, title, rows=False)]
    if report.pairs:
        yield report.pairs.protocol, [pairs_table(report.pairs), sizes_table(report.pairs)]


def quality_table(quality: Quality) -> Group:
    """Return a row a column, its mean by every metric; the best of each metric is bold."""
    about = {**quality.metrics, **quality.set_metrics}
    means = {
        column: {metric: quality.mean(column, metric) for metric in quality.metrics}
        | quality.sets.get(column, {})
        for column in quality.scores
    }
    found: list[RenderableType] = []
    for metrics in pieces(list(about), ACROSS):
        headings = [heading(name, about[name]) for name in metrics]
        table = grid(("",), headings)
        timed = quality.seconds if metrics[-1] == list(about)[-1] else {}
        if timed:
            table.add_column("ms a\npicture", justify="right")
        best = {name: _best(name, about, means) for name in metrics}
        for column, its in means.items():
            cells = [
                Text(number(its[m], digits(about[m])), "bold" if its[m] == best[m] else "")
                for m in metrics
            ]
            cells += [Text(number(1000 * timed[column], 1))] if column in timed else []
            table.add_row(Text(column), *cells)
        found.append(table)
    lower = [flat(heading(n, its)) for n, its in about.items() if not its["higher_is_better"]]
    said = [f"lower is better: {', '.join(lower)}"] if lower else []
    title = f"Quality, mean of {len(quality.pictures)} pictures"
    return titled(title, *found, said=[*said, *quality.notes])


def gains_table(quality: Quality) -> Group:
    """Return a row a metric: what each model gains over bicubic, with its 95% interval."""
    found: list[RenderableType] = []
    for models in pieces(quality.models, WIDE):
        table = grid(("",), models)
        for metric, about in quality.metrics.items():
            places = digits(about)
            cells = []
            for model in models:
                mean, low, high = quality.gain(model, metric)
                cells.append(with_ends(mean, low, high, places, signed=True, wide=len(models) < 4))
            table.add_row(Text(flat(heading(metric, about))), *map(Text, cells))
        found.append(table)
    return titled("Gain over bicubic [95%, paired bootstrap over pictures]", *found)


def significance_table(quality: Quality) -> Group:
    """Return every two models by every metric; nothing where there are fewer than two."""
    found = quality.versus
    if not found:
        return Group()
    first = next(iter(quality.metrics))
    shown = found if len(found) <= LONG else [one for one in found if one.metric == first]
    said = TEST
    if len(shown) < len(found):
        said += f"; by {first} alone, the other metrics are in the JSON"
    title = "Models against each other, on the same pictures"
    return versus_table(title, shown, quality.metrics, said)


def versus_table(
    title: str, found: Iterable[Versus], metrics: Mapping[str, Mapping[str, Any]], *said: str
) -> Group:
    """Return a row a pair and metric: difference, interval, p, and p adjusted."""
    table = grid(("", "model", "less"), ("difference [95%]", "p", "adjusted"))
    before = None
    for one in found:
        about = metrics[one.metric]
        its = one.difference
        if one.metric != before and before is not None:
            table.add_section()
        name = flat(heading(one.metric, about)) if one.metric != before else ""
        ends = with_ends(its.mean, its.low, its.high, digits(about), signed=True, wide=True)
        cells = (name, one.a, one.b, ends, probability(its.p), probability(one.adjusted))
        table.add_row(*map(Text, cells))
        before = one.metric
    return titled(title, table, said=said)


def sides_table(title: str, sides: Iterable[Side], about: Mapping[str, Mapping[str, Any]]) -> Group:
    """Return a row a metric and column: what it is in A, in B, and B less A."""
    table = grid(("", "column"), ("A", "B", "B less A"))
    before = None
    for side in sides:
        its = about[side.metric]
        if side.metric != before and before is not None:
            table.add_section()
        name = flat(heading(side.metric, its)) if side.metric != before else ""
        both = [NOTHING if v is None else number(v, digits(its)) for v in (side.a, side.b)]
        more = NOTHING
        if side.a is not None and side.b is not None:
            less = 0.0 if side.a == side.b else side.b - side.a  # two infinite ones are equal
            more = number(less, digits(its), signed=True)
        table.add_row(*map(Text, (name, side.column, *both, more)))
        before = side.metric
    return titled(title, table)


def fine_print(protocol: Mapping[str, Any], above: Mapping[str, Any] | None = None) -> Text:
    """Return a protocol's stamp in small print.

    Args:
        protocol: The stamp.
        above: Another one that is printed above: what is the same isn't repeated.
    """
    shown, known = _fields(protocol), _fields(above or {})
    new = [f"{key} {plain(value)}" for key, value in shown.items() if known.get(key) != value]
    said = (["as above"] if above else []) + ([", ".join(new)] if new else [])
    return Text(f"protocol: {', but '.join(said)}\n", style="dim")


def _fields(stamp: Mapping[str, Any]) -> dict[str, Any]:
    shown = {**stamp, **stamp.get("versions", {}), **stamp.get("options", {})}
    left_out = ("versions", "options", "embedder_sha256", "description")
    return {k: value for k, value in shown.items() if k not in left_out and value not in ([], ())}


def _best(
    metric: str, about: Mapping[str, Mapping[str, Any]], means: Mapping[str, Mapping[str, float]]
) -> float:
    better = max if about[metric]["higher_is_better"] else min
    return float(better(its[metric] for its in means.values()))
