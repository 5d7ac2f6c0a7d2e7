"""What was measured, as tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from srkit.evaluation.methods import BICUBIC, HR, LR
from srkit.evaluation.tables import Table, Tables, Value

if TYPE_CHECKING:
    from srkit.evaluation.report import Distances, Pairs, Quality, Report, Versus
    from srkit.evaluation.statistics import Estimate

LONG = 40  # rows; more are left to the files
TIME = "ms an image"  # for information: it isn't what is compared
NAMED = 5  # photos that are left out; the rest is counted
TEST = (
    "p: paired sign-flip permutation test, two-sided; adjusted (Holm) for the number of pairs of "
    "methods compared by a metric"
)

Metrics = Mapping[str, Mapping[str, Any]]


def of_report(report: Report) -> Tables:
    """Return everything that a report says."""
    found: list[Table] = []
    if report.quality:
        found += quality_tables(report.quality)
    if report.distances:
        found += distance_tables(report.distances)
    if report.whole:
        found += [distances_table(report.whole, "everybody", "Identity distance of everybody")]
    if report.pairs:
        found.append(pairs_table(report.pairs))
        found += [sizes_table(report.pairs)] if report.pairs.sizes else []
    return Tables(found, [f"warning: {text}" for text in report.warnings])


def leader(
    methods: Sequence[str], score: Callable[[str], float], ahead: Callable[[str, str], bool]
) -> str | None:
    """Return the method that is ahead of every other, or nobody where one may be as good.

    Args:
        methods: To choose from.
        score: Higher is better.
        ahead: Whether one method is better than another beyond uncertainty.
    """
    best = max(methods, key=score, default=None)
    others = [method for method in methods if method != best]
    return best if best and others and all(ahead(best, other) for other in others) else None


def heading(name: str, metric: Mapping[str, Any]) -> str:
    """Return a metric's title and unit."""
    return ", ".join(filter(None, (metric.get("title") or name, metric.get("unit"))))


def digits(metric: Mapping[str, Any]) -> int:
    """Return how many decimals a metric's values get."""
    return 2 if metric.get("unit") == "dB" else 4


def quality_tables(quality: Quality) -> list[Table]:
    """Return means, gains over bicubic, and every two models against each other."""
    found = [means_table(quality)]
    if quality.models:
        found.append(gains_table(quality))
    if quality.versus:
        title = "Methods against each other, on the same images"
        found.append(versus_table(title, quality.versus, quality.metrics, quality.protocol))
    return found


def means_table(quality: Quality) -> Table:
    """Return every method's mean by every metric."""
    metrics = {**quality.metrics, **quality.set_metrics}
    best = {name: _best(quality, name) for name in quality.metrics}
    rows = []
    for method in quality.scores:
        means = {name: quality.mean(method, name) for name in quality.metrics}
        means |= quality.sets.get(method, {})
        values = [
            Value(means[name], digits=digits(its), best=best.get(name) == method)
            for name, its in metrics.items()
        ]
        if quality.seconds:
            values.append(Value(1000 * quality.seconds.get(method, math.nan), digits=1))
        rows.append(([method], values))
    lower = [heading(n, its) for n, its in metrics.items() if not its["higher_is_better"]]
    notes = [f"lower is better: {'; '.join(lower)}"] if lower else []
    if any(best.values()):
        notes.append("bold: better than every other method, by the interval of the difference")
    return Table(
        "quality",
        f"Quality, mean of {len(quality.pictures)} images",
        ["method"],
        [heading(*item) for item in metrics.items()] + [TIME] * bool(quality.seconds),
        rows,
        [*notes, *quality.notes],
        quality.protocol,
    )


def _best(quality: Quality, metric: str) -> str | None:
    sign = 1 if quality.metrics[metric]["higher_is_better"] else -1

    def ahead(method: str, other: str) -> bool:
        _, low, high = quality.gain(method, metric, other)
        return min(sign * low, sign * high) > 0

    return leader(list(quality.scores), lambda m: sign * quality.mean(m, metric), ahead)


def gains_table(quality: Quality) -> Table:
    """Return what each method gains over bicubic."""
    rows = []
    for method in (method for method in quality.scores if method != BICUBIC):
        gains = {name: quality.gain(method, name) for name in quality.metrics}
        about = quality.metrics
        values = [Value(*gain, digits(about[name]), "signed") for name, gain in gains.items()]
        rows.append(([method], values))
    return Table(
        "gains",
        "Gain over bicubic [95%, paired bootstrap over images]",
        ["method"],
        [heading(*item) for item in quality.metrics.items()],
        rows,
        protocol=quality.protocol,
    )


def versus_table(
    title: str,
    found: Sequence[Versus],
    metrics: Metrics,
    protocol: Mapping[str, Any],
) -> Table:
    """Return a row a pair and metric: difference, p, and p adjusted."""
    note, rows = TEST, []
    if len(found) > LONG:
        first = found[0].metric
        found = [one for one in found if one.metric == first]
        note += f"; by {first} alone, the other metrics are in the JSON"
    for one in found:
        metric, its = metrics[one.metric], one.difference
        values = [
            Value(its.mean, its.low, its.high, digits(metric), "signed"),
            Value(its.p, kind="p"),
            Value(one.adjusted, kind="p"),
        ]
        rows.append(([heading(one.metric, metric), one.a, one.b], values))
    labels, headings = ["", "method", "less"], ["difference [95%]", "p", "adjusted p"]
    return Table("versus", title, labels, headings, rows, [note], protocol)


def distance_tables(found: Distances) -> list[Table]:
    """Return a row a photo (Table II), if they aren't too many, and what they come to."""
    title = f"Identity distance (Table II), {found.protocol['embedder']}"
    rows = [
        ([row.person, row.photo], [Value(row.distances[c], digits=4) for c in found.columns])
        for row in found.rows
    ]
    listed = Table("photos", title, ["person", "photo"], found.columns, rows, (), found.protocol)
    title = "Identity distance, mean" if len(rows) <= LONG else "Identity distance (Table II), mean"
    return [listed] * (len(rows) <= LONG) + [distances_table(found, "distances", title)]


def distances_table(found: Distances, name: str, title: str) -> Table:
    """Return every method's mean distance, its multiple of bicubic's, and the gap closed."""
    ends = {method: found.interval(method) for method in found.columns}
    methods = [method for method in found.columns if method not in (LR, HR)]
    best = leader(methods, lambda m: -found.mean(m), lambda a, b: ends[a][1] < ends[b][0])
    rows = [
        (
            [method],
            [
                Value(found.mean(method), *ends[method], best=method == best),
                Value(found.ratio(method, BICUBIC)),
                _estimate(None if method in (LR, HR) else found.closed(method), "percent"),
            ],
        )
        for method in found.columns
    ]
    said = (
        f"{len(found.rows)} probes of {found.people} people; lower is closer; LR is the floor, HR "
        "the ceiling, and the gap that from the one to the other; intervals by person"
    )
    return Table(
        name,
        f"{title}, {found.protocol['embedder']}",
        ["method"],
        ["distance", "of bicubic", "gap closed"],
        rows,
        [said, *_missing(found)],
        found.protocol,
    )


def pairs_table(found: Pairs) -> Table:
    """Return every method's AUC, EER, TAR at FAR, rank-1 and the gap closed."""
    targets = list(dict.fromkeys(t for its in found.columns.values() for t in its.tar))
    methods = [method for method in found.columns if method not in (LR, HR)]
    auc = {method: found.columns[method].auc for method in methods}
    best = leader(methods, lambda m: auc[m].value, lambda a, b: auc[a].low > auc[b].high)
    rows = []
    for method, its in found.columns.items():
        estimates = [its.eer, *(its.tar.get(target) for target in targets), its.rank1]
        values = [_estimate(its.auc, best=method == best), *map(_estimate, estimates)]
        closed = _estimate(None if method in (LR, HR) else its.closed, "percent")
        rows.append(([method], [*values, closed]))
    said = (
        f"{found.same} same and {found.different} different pairs, {found.impostors} impostors, "
        f"of {found.photos} photos of {found.people} people; of EER lower is better"
    )
    title = f"Verification, {found.protocol['embedder']} [95%, people drawn anew]"
    headings = ["AUC", "EER", *(f"TAR at FAR {float(target):g}" for target in targets)]
    headings += ["rank-1", "gap closed"]
    notes = [said, *_missing(found)]
    return Table("pairs", title, ["method"], headings, rows, notes, found.protocol)


def sizes_table(found: Pairs) -> Table:
    """Return AUC and TAR by the size of LR."""
    rows = [
        ([method, title], [_estimate(size.columns[method][key]) for size in found.sizes])
        for method in found.sizes[0].columns
        for key, title in (("auc", "AUC"), ("tar", "TAR at FAR 0.01"))
    ]
    photos = ", ".join(f"{size.photos} photos at {size.side} px" for size in found.sizes)
    headings = [f"{size.side} px" for size in found.sizes]
    title = "Verification by the side of LR [95%]"
    return Table("sizes", title, ["method", ""], headings, rows, [photos], found.protocol)


def _estimate(
    found: Estimate | None, kind: Literal["plain", "percent"] = "plain", *, best: bool = False
) -> Value:
    if found is None:
        return Value(math.nan)
    return Value(found.value, found.low, found.high, kind=kind, best=best)


def _missing(found: Distances | Pairs) -> Iterator[str]:
    """Yield what was left out, how much of it, and what else is to be said."""
    lists = {"photos without a face": found.no_face, "people left out": found.left_out}
    for what, names in lists.items():
        if names:
            some = ", ".join(map(str, names[:NAMED])) + (", ..." if len(names) > NAMED else "")
            yield f"{what}, {len(names)}: {some}"
    yield from found.notes
