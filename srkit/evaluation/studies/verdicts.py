"""What a paper says of its scenarios, decided by the intervals of our own numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from srkit.evaluation import statistics
from srkit.evaluation.identity.estimate import Estimate, weights
from srkit.evaluation.report import Report
from srkit.evaluation.statistics import DRAWS
from srkit.evaluation.studies.details import Details
from srkit.evaluation.studies.published import BATCHES, DISTANCE, REGION, TEXTURE, Claim
from srkit.evaluation.studies.schedule import Schedule
from srkit.evaluation.studies.study import Study

HOLDS, FAILS, OPEN = "holds", "does not hold", "can't be told"


@dataclass(frozen=True)
class Verdict:
    """A claim, and what our numbers say of it.

    Attributes:
        claim: What was said: one scenario's measure is higher than another's.
        ours: How much higher it is here; for batches by how many times.
        none: What ``ours`` would be if there were no difference: 0, or 1 for batches.
        theirs: How much higher it is in the paper, the same way; None where it states no numbers.
        basis: What ours rests on.
        twins: The same claim by other metrics that may have been meant, and what they say.
    """

    claim: Claim
    ours: Estimate | None
    none: float
    theirs: float | None
    basis: str
    twins: tuple[tuple[str, str], ...] = ()

    @property
    def said(self) -> str:
        """``holds``, ``does not hold``, or ``can't be told``: where twins disagree, too."""
        alone = judge(self.ours, self.none)
        return alone if all(said == alone for _, said in self.twins) else OPEN

    @property
    def why(self) -> str:
        """What the verdict rests on, or why there is none."""
        alone = judge(self.ours, self.none)
        if self.ours is None:
            return self.basis
        others = [f"{name}: {said}" for name, said in self.twins if said != alone]
        if others:
            return f"{self.claim.measure}: {alone}, {', '.join(others)}"
        if alone == OPEN:
            return f"the interval includes {self.none:g}; {self.basis}"
        return self.basis


def judge(ours: Estimate | None, none: float) -> str:
    """Return what an interval says of a claim that its value is above ``none``."""
    if ours is None:
        return OPEN
    if ours.low > none:
        return HOLDS
    return FAILS if ours.high < none else OPEN


def decide(
    study: Study, schedule: Schedule, report: Report, details: Details | None
) -> list[Verdict]:
    """Decide every claim of a study."""
    return [_decided(claim, study, schedule, report, details) for claim in study.claims]


def _decided(
    claim: Claim, study: Study, schedule: Schedule, report: Report, details: Details | None
) -> Verdict:
    if claim.measure == BATCHES:
        return _batches(claim, study, schedule)
    if claim.measure == DISTANCE:
        return _distance(claim, study, report)
    theirs = _published(study, claim)
    values = _values(claim.measure, report, details)
    if claim.higher not in values or claim.lower not in values:
        return Verdict(claim, None, 0, theirs, "it was not measured")
    twins = [
        (metric, judge(_less(_values(metric, report, details), claim), 0))
        for metric in _twins(study, claim.measure)
    ]
    basis = f"{len(values[claim.higher]):,} pictures"
    return Verdict(claim, _less(values, claim), 0, theirs, basis, tuple(twins))


def _values(measure: str, report: Report, details: Details | None) -> Mapping[str, Sequence[float]]:
    """Return every column's values on the pictures; empty where that wasn't measured."""
    if measure == TEXTURE:
        return details.texture if details else {}
    if measure.startswith(REGION):
        return details.regions.get(measure.removeprefix(REGION), {}) if details else {}
    scores = report.quality.scores if report.quality else {}
    return {column: its[measure] for column, its in scores.items() if measure in its}


def _less(values: Mapping[str, Sequence[float]], claim: Claim) -> Estimate:
    found = statistics.difference(values[claim.higher], values[claim.lower])
    return Estimate(found.mean, found.low, found.high)


def _twins(study: Study, measure: str) -> list[str]:
    """Return the other metrics that a published one may be: it doesn't say which."""
    rows = [row.ours for row in study.quality if measure in row.ours]
    return [metric for ours in rows for metric in ours if metric != measure]


def _published(study: Study, claim: Claim) -> float | None:
    """Return the published difference of a metric, if both its values are stated."""
    for row in study.quality:
        if claim.measure in row.ours:
            by_label = dict(zip(study.labels, row.published, strict=True))
            higher, lower = by_label.get(claim.higher), by_label.get(claim.lower)
            if isinstance(higher, float) and isinstance(lower, float):
                return higher - lower
    return None


def _batches(claim: Claim, study: Study, schedule: Schedule) -> Verdict:
    theirs = None
    if study.batches:
        by_label = dict(zip(study.labels, study.batches.published, strict=True))
        higher, lower = by_label[claim.higher], by_label[claim.lower]
        if isinstance(higher, float) and isinstance(lower, float):
            theirs = higher / lower
    ours = in_equal_time(schedule, claim.higher, claim.lower)
    rounds = len(_rounds(schedule, claim.higher))
    return Verdict(claim, ours, 1, theirs, f"speeds measured in {rounds} turns")


def _rounds(schedule: Schedule, label: str) -> Sequence[float]:
    (found,) = (its.pace.rounds for its in schedule.trainings if its.label == label)
    return found


def in_equal_time(schedule: Schedule, label: str, to: str) -> Estimate:
    """Return how many batches one does while another does one, by the speeds of each turn."""
    pairs = zip(_rounds(schedule, to), _rounds(schedule, label), strict=True)
    ratios = [its / mine for its, mine in pairs]
    return Estimate(float(np.median(ratios)), *statistics.interval(ratios))


def _distance(claim: Claim, study: Study, report: Report) -> Verdict:
    theirs = None
    if study.distances:
        means = dict(zip(study.distances.scenarios, study.distances.means(), strict=True))
        if claim.higher in means and claim.lower in means:
            theirs = means[claim.higher] - means[claim.lower]
    found = report.whole or report.distances
    if found is None:
        return Verdict(claim, None, 0, theirs, "no faces were compared")
    higher, lower = ([row.distances[c] for row in found.rows] for c in (claim.higher, claim.lower))
    people = [row.person for row in found.rows]
    its = statistics.difference(higher, lower, people)
    basis = f"{len(higher)} photos of {len(set(people))} people"
    return Verdict(claim, Estimate(its.mean, its.low, its.high), 0, theirs, basis)


def ratio(
    values: Sequence[float], to: Sequence[float], groups: Sequence[str], *, seed: int = 0
) -> Estimate:
    """Return the ratio of two means, groups (people) drawn anew for its interval.

    Args:
        values: One a photo.
        to: The same photos', in the denominator.
        groups: Whose they are.
        seed: Of the draws.
    """
    _, place = np.unique(np.asarray(groups), return_inverse=True)
    above, below = (np.bincount(place, weights=np.asarray(v, float)) for v in (values, to))
    drawn = weights(len(above), DRAWS, seed)
    return Estimate.of(float(above.sum() / below.sum()), (drawn @ above) / (drawn @ below))
