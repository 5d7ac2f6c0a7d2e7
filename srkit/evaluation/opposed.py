"""What two reports measured in one way, side by side, and tested where single scores are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from srkit.evaluation import statistics
from srkit.evaluation.columns import HR, LR, REFERENCES
from srkit.evaluation.quality import Quality, Versus

if TYPE_CHECKING:
    from srkit.evaluation.identity import Distances, Pairs

DISTANCE = "distance"
# What verification is summed up by, beside TAR: whether higher is better.
ESTIMATES = {"auc": ("AUC", True), "eer": ("EER", False), "rank1": ("rank-1", True)}
FIXED = (*REFERENCES, LR, HR)  # what no model made

About = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class View:
    """A part of a report, as far as it can be compared.

    Attributes:
        columns: In the order of its table.
        metrics: Name to ``title``, ``unit``, ``higher_is_better``.
        mean: Of a column and metric; None where there is none.
        tested: Metrics of which single scores are known.
        each: Single scores of a column and metric.
        groups: Whose they are, where some hang together.
    """

    columns: Sequence[str]
    metrics: About
    mean: Callable[[str, str], float | None]
    tested: Sequence[str] = ()
    each: Callable[[str, str], Sequence[float]] = lambda column, metric: ()
    groups: Sequence[str] | None = None


@dataclass(frozen=True)
class Side:
    """What one figure is in both reports.

    Attributes:
        metric: What it measures.
        column: Of the reports' tables.
        a: The mean in A; None where A hasn't this column or metric.
        b: The same in B.
    """

    metric: str
    column: str
    a: float | None
    b: float | None


def of_quality(quality: Quality) -> View:
    """Return the view of pictures' scores; metrics of sets have no test."""

    def mean(column: str, metric: str) -> float | None:
        if metric in quality.scores[column]:
            return quality.mean(column, metric)
        return quality.sets.get(column, {}).get(metric)

    return View(
        list(quality.scores),
        {**quality.metrics, **quality.set_metrics},
        mean,
        list(quality.metrics),
        lambda column, metric: quality.scores[column][metric],
    )


def of_distances(found: Distances) -> View:
    """Return the view of identity distances; photos of one person hang together."""
    return View(
        found.columns,
        {DISTANCE: {"title": "identity distance", "unit": "", "higher_is_better": False}},
        lambda column, metric: found.mean(column),
        [DISTANCE],
        lambda column, metric: [row.distances[column] for row in found.rows],
        [row.person for row in found.rows],
    )


def of_pairs(found: Pairs) -> View:
    """Return the view of verification; its figures are of the whole set, so there is no test."""
    targets = dict.fromkeys(t for its in found.columns.values() for t in its.tar)
    about = {
        n: {"title": t, "unit": "", "higher_is_better": up} for n, (t, up) in ESTIMATES.items()
    }
    for target in targets:
        title = f"TAR at FAR {float(target):g}"
        about[target] = {"title": title, "unit": "", "higher_is_better": True}

    def mean(column: str, metric: str) -> float | None:
        its = found.columns[column]
        estimate = its.tar.get(metric) if metric in targets else getattr(its, metric)
        return None if estimate is None else float(estimate.value)

    return View(list(found.columns), about, mean)


def sides(a: View, b: View) -> list[Side]:
    """Return every column of either, by every metric of either."""

    def value(view: View, column: str, metric: str) -> float | None:
        known = column in view.columns and metric in view.metrics
        return view.mean(column, metric) if known else None

    return [
        Side(metric, column, value(a, column, metric), value(b, column, metric))
        for metric in {**a.metrics, **b.metrics}
        for column in dict.fromkeys((*a.columns, *b.columns))
    ]


def pairs_of(a: Sequence[str], b: Sequence[str]) -> list[tuple[str, str]]:
    """Return which columns, A's and B's, are held against each other.

    Models of one name; and two of different names, if at least one of them is only in one report:
    others are compared within either report.
    """
    ours, theirs = ([column for column in its if column not in FIXED] for its in (a, b))
    same = [(column, column) for column in ours if column in theirs]
    return same + [
        (one, other)
        for one in ours
        for other in theirs
        if one != other and not (one in theirs and other in ours)
    ]


def versus(a: View, b: View) -> list[Versus]:
    """Return B's models less A's on the same pictures; p is adjusted within a metric."""
    found = []
    pairs = pairs_of(a.columns, b.columns)
    for metric in [metric for metric in a.tested if metric in b.tested]:
        its = [
            statistics.difference(b.each(other, metric), a.each(one, metric), a.groups)
            for one, other in pairs
        ]
        adjusted = statistics.holm([one.p for one in its])
        for (one, other), difference, p in zip(pairs, its, adjusted, strict=True):
            found.append(Versus(metric, f"{other} (B)", f"{one} (A)", difference, p))
    return found
