"""What was measured, as tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

from srkit.errors import first_of
from srkit.evaluation.methods import BICUBIC, HR, LR
from srkit.evaluation.statistics import FEWEST
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
    """Return all tables of a report."""
    tables: list[Table] = []
    if quality := report.quality:
        tables.append(means_table(quality))
        if quality.models:
            tables.append(gains_table(quality))
        if quality.versus:
            title = "Methods against each other, on the same images"
            tables.append(versus_table(title, quality.versus, quality.metrics, quality.protocol))
    if report.judges:
        tables.append(judges_table(report))
    for judge, part in report.by_judge():
        for table in _identity_tables(part):
            embedder, title = table.protocol["embedder"], table.title
            if report.judges and embedder not in title:
                title = f"{title}, {embedder}"
            tables.append(replace(table, name=f"{table.name} {judge}".strip(), title=title))
    return Tables(tables, head=[f"warning: {text}" for text in report.warnings])


def _identity_tables(report: Report) -> Iterator[Table]:
    """Yield one embedder's tables."""
    if distances := report.distances:
        title, few = "Identity distance (Table II)", len(distances.rows) <= LONG
        if few:
            yield photos_table(distances, title)
        title = "Identity distance, mean" if few else f"{title}, mean"
        yield distances_table(distances, "distances", title)
    if report.everybody:
        title = "Identity distance of everybody"
        yield distances_table(report.everybody, "everybody", title)
    if report.pairs:
        yield pairs_table(report.pairs)
        if report.pairs.sizes:
            yield sizes_table(report.pairs)


def leader(
    methods: Sequence[str],
    count: int,
    score: Callable[[str], float],
    better: Callable[[str, str], bool],
) -> str | None:
    """Return the method that is better than every other beyond uncertainty; None if there is none.

    Of ``score`` higher is better. ``count`` images or people are too few below `FEWEST`.
    """
    best = max(methods, key=score, default=None) if count >= FEWEST else None
    others = [method for method in methods if method != best]
    return best if best and others and all(better(best, other) for other in others) else None


def heading(name: str, metric: Mapping[str, Any]) -> str:
    """Return a metric's title and unit."""
    return ", ".join(
        str(text) for text in (metric.get("title") or name, metric.get("unit")) if text
    )


def digits(metric: Mapping[str, Any]) -> int:
    """Return the number of decimals of a metric's values."""
    return 2 if metric.get("unit") == "dB" else 4


def means_table(quality: Quality) -> Table:
    """Return every method's mean by every metric."""
    metrics = {**quality.metrics, **quality.set_metrics}
    real = quality.protocol.get("framing") == "lr"  # without HR no number says who is right
    best = {} if real else {name: _best(quality, name) for name in quality.metrics}
    headings = [heading(*item) for item in metrics.items()] + [TIME] * bool(quality.seconds)
    rows = []
    for method in quality.scores:
        means = [quality.mean(method, name) for name in quality.metrics]
        means += [quality.set_scores[method][name] for name in quality.set_metrics]
        values = [
            Value(mean, digits=digits(metrics[name]), best=best.get(name) == method)
            for name, mean in zip(metrics, means, strict=True)
        ]
        if quality.seconds:
            values.append(Value(1000 * quality.seconds.get(method, math.nan), digits=1))
        rows.append(([method], values))
    lower = [heading(*item) for item in metrics.items() if not item[1]["higher_is_better"]]
    notes = [f"lower is better: {'; '.join(lower)}"] if lower else []
    if any(best.values()):
        notes.append("bold: better than every other method, by the interval of the difference")
    elif len(quality.images) < FEWEST and not real:
        notes.append(f"nothing is bold: fewer than {FEWEST} images can't tell methods apart")
    notes += [*exact_notes(quality), *quality.notes]
    title = f"Quality, mean of {len(quality.images)} images"
    return Table("quality", title, ["method"], headings, rows, notes, quality.protocol)


def exact_notes(quality: Quality) -> Iterator[str]:
    """Yield which images no mean counts, and which methods have no mean."""
    metrics: dict[tuple[str, tuple[int, ...]], list[str]] = {}
    for metric in quality.metrics:
        exact = quality.exact.get(metric, ())
        if not exact and all(quality.scored(method, metric) for method in quality.scores):
            continue
        why = "of which a method gives every pixel, so that its score is infinite"
        if missing := quality.metrics[metric].get("missing"):
            scores = quality.scores.items()
            counts = {name: sum(map(math.isnan, of[metric])) for name, of in scores}
            each = [
                f"{name} {count}{'' if quality.scored(name, metric) else ', so no mean'}"
                for name, count in counts.items()
            ]
            why = (
                missing
                if exact and len({*counts.values()}) == 1
                else f"{missing} ({'; '.join(each)})"
            )
        metrics.setdefault((why, tuple(exact)), []).append(metric)
    for (why, numbers), names in metrics.items():
        images = first_of([quality.images[number] for number in numbers])
        without = f"without {len(numbers)} of {len(quality.images)} images, {why}: {images}"
        yield f"{', '.join(names)}: {without if numbers else why}"


def _best(quality: Quality, metric: str) -> str | None:
    sign = 1 if quality.metrics[metric]["higher_is_better"] else -1

    def better(method: str, other: str) -> bool:
        _, low, high = quality.gain(method, metric, other)
        return min(sign * low, sign * high) > 0

    methods = [method for method in quality.scores if quality.scored(method, metric)]
    count = len(quality.counted(methods[0], metric)) if methods else 0
    return leader(methods, count, lambda m: sign * quality.mean(m, metric), better)


def gains_table(quality: Quality) -> Table:
    """Return what each method gains over bicubic."""

    def gains(method: str) -> list[Value]:
        metrics = quality.metrics.items()
        return [Value(*quality.gain(method, m), digits(about), "signed") for m, about in metrics]

    title = "Gain over bicubic [95%, paired bootstrap over images]"
    headings = [heading(*item) for item in quality.metrics.items()]
    rows = [([method], gains(method)) for method in quality.scores if method != BICUBIC]
    return Table("gains", title, ["method"], headings, rows, protocol=quality.protocol)


def versus_table(
    title: str, tests: Sequence[Versus], metrics: Metrics, protocol: Mapping[str, Any]
) -> Table:
    """Return a row a pair and metric: difference, p, and p adjusted."""
    note, rows = TEST, []
    if len(tests) > LONG:
        first = tests[0].metric
        tests = [test for test in tests if test.metric == first]
        note += f"; by {first} alone, the other metrics are in the JSON"
    for test in tests:
        metric, difference = metrics[test.metric], test.difference
        ends = difference.low, difference.high
        values = [
            Value(difference.mean, *ends, digits(metric), "signed"),
            Value(difference.p, kind="p"),
            Value(test.p_adjusted, kind="p"),
        ]
        rows.append(([heading(test.metric, metric), test.a, test.b], values))
    labels, headings = ["", "method", "less"], ["difference [95%]", "p", "adjusted p"]
    return Table("versus", title, labels, headings, rows, [note], protocol)


def photos_table(distances: Distances, title: str) -> Table:
    """Return a row a photo (Table II)."""
    rows = [
        ([row.person, row.photo], [Value(value, digits=4) for value in row.distances.values()])
        for row in distances.rows
    ]
    title = f"{title}, {distances.protocol['embedder']}"
    labels = ["person", "photo"]
    return Table("photos", title, labels, distances.methods, rows, (), distances.protocol)


def distances_table(distances: Distances, name: str, title: str) -> Table:
    """Return every method's mean distance, its multiple of bicubic's, and the gap closed."""
    ends = {method: distances.interval(method) for method in distances.methods}
    compared = [method for method in distances.methods if method not in (LR, HR)]
    people = len({row.person for row in distances.rows})
    best = leader(
        compared, people, lambda m: -distances.mean(m), lambda a, b: ends[a][1] < ends[b][0]
    )
    rows = []
    for method in distances.methods:
        mean = Value(distances.mean(method), *ends[method], best=method == best)
        closed = distances.closed(method) if method in compared else None
        values = [mean, Value(distances.ratio(method)), _value(closed, "percent")]
        rows.append(
            ([method], [*values, _value(distances.auc[method])] if distances.auc else values)
        )
    note = (
        f"{len(distances.rows)} probes of {distances.people} people; lower is closer; LR is the "
        "floor, HR the ceiling, and the gap that from the one to the other; intervals by person"
    )
    if people < FEWEST:
        note += f"; fewer than {FEWEST} people can't tell methods apart"
    title, notes = f"{title}, {distances.protocol['embedder']}", [note, *_missing(distances)]
    headings = ["distance", "of bicubic", "gap closed", *(["AUC"] if distances.auc else [])]
    return Table(name, title, ["method"], headings, rows, notes, distances.protocol)


def pairs_table(pairs: Pairs) -> Table:
    """Return every method's AUC, EER, TAR at FAR, rank-1 and the gap closed."""
    targets = list(dict.fromkeys(far for scores in pairs.scores.values() for far in scores.tar))
    compared = [method for method in pairs.scores if method not in (LR, HR)]
    auc = {method: pairs.scores[method].auc for method in compared}
    best = leader(
        compared, pairs.people, lambda m: auc[m].value, lambda a, b: auc[a].low > auc[b].high
    )
    rows = []
    for method, scores in pairs.scores.items():
        tars = [scores.tar.get(target) for target in targets]
        values = [_value(scores.auc, best=method == best)]
        values += map(_value, (scores.eer, *tars, scores.rank1))
        values.append(_value(scores.closed if method in compared else None, "percent"))
        rows.append(([method], values))
    note = (
        f"{pairs.same} same and {pairs.different} different pairs, {pairs.impostors} impostors, "
        f"of {pairs.photos} photos of {pairs.people} people; of EER lower is better"
    )
    title = f"Verification, {pairs.protocol['embedder']} [95%, bootstrap over people]"
    headings = ["AUC", "EER", *(f"TAR at FAR {float(target):g}" for target in targets)]
    headings += ["rank-1", "gap closed"]
    notes = [note, *_missing(pairs)]
    return Table("pairs", title, ["method"], headings, rows, notes, pairs.protocol)


def judges_table(report: Report) -> Table:
    """Return every method's distance, TAR at FAR, rank-1 and gap closed by every embedder.

    They are those of pairs, or without pairs those of everybody, or of the people drawn.
    """
    judged: list[tuple[str, dict[tuple[str, str], Value]]] = []
    stamp: Mapping[str, Any] = {}
    for name, part in report.by_judge():
        cells: dict[tuple[str, str], Value] = {}
        if part.pairs:
            table = pairs_table(part.pairs)
            for method, scores in part.pairs.scores.items():
                cells["distance", method] = Value(fmean(scores.same))
        elif distances := part.everybody or part.distances:
            table = distances_table(distances, "", "")
        else:
            continue
        for key, value in table.cells().items():
            if key[0].startswith(("distance", "TAR", "rank-1", "gap closed")):
                cells[key] = replace(value, best=False)
        stamp = stamp or table.protocol
        judged.append((name or str(table.protocol["embedder"]).partition(" (")[0], cells))
    headings = list(dict.fromkeys(heading for _, cells in judged for heading, _ in cells))
    rows = [
        ([method, judge], [cells[heading, method] for heading in headings])
        for method in dict.fromkeys(method for _, method in judged[0][1])
        for judge, cells in judged
    ]
    whose, which = ("same pairs", "AUC") if report.pairs else ("probes to bases", "mean distance")
    note = (
        f"distance: mean of {whose}, on a scale of each judge's own; gap closed: the share of that "
        f"from LR's to HR's {which}"
    )
    protocol = {key: value for key, value in stamp.items() if not key.startswith("embedder")}
    title = "All judges on the same faces [95%, bootstrap over people]"
    return Table("judges", title, ["method", "judge"], headings, rows, [note], protocol)


def sizes_table(pairs: Pairs) -> Table:
    """Return AUC and TAR by the size of LR."""
    rows = [
        ([method, title], [_value(size.scores[method][key]) for size in pairs.sizes])
        for method in pairs.sizes[0].scores
        for key, title in (("auc", "AUC"), ("tar", "TAR at FAR 0.01"))
    ]
    note = ", ".join(f"{size.photos} photos at {size.lr_size} px" for size in pairs.sizes)
    headings = [f"{size.lr_size} px" for size in pairs.sizes]
    title = "Verification by the side of LR [95%]"
    return Table("sizes", title, ["method", ""], headings, rows, [note], pairs.protocol)


def _value(
    estimate: Estimate | None, kind: Literal["plain", "percent"] = "plain", *, best: bool = False
) -> Value:
    if estimate is None:
        return Value(math.nan)
    return Value(estimate.value, estimate.low, estimate.high, kind=kind, best=best)


def _missing(part: Distances | Pairs) -> Iterator[str]:
    """Yield what was left out, and the part's notes."""
    for title, names in (
        ("photos without a face", part.no_face),
        ("people left out", part.left_out),
    ):
        if names:
            more = ", ..." if len(names) > NAMED else ""
            yield f"{title}, {len(names)}: {', '.join(names[:NAMED])}{more}"
    yield from part.notes
