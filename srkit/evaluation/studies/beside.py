"""A study's own numbers beside ours: sections of the report's page."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from srkit.evaluation import statistics
from srkit.evaluation.page.numbers import MINUS, NONE, digits_of, heading, number, span
from srkit.evaluation.page.sections import Cell, PlainTable, Section
from srkit.evaluation.studies import verdicts
from srkit.evaluation.studies.published import BATCHES, DISTANCE, REGION, TEXTURE, Published
from srkit.evaluation.studies.stated import THEIRS, stated, with_ends
from srkit.evaluation.studies.study import Study
from srkit.evaluation.studies.verdicts import Verdict

if TYPE_CHECKING:
    from srkit.evaluation.identity import Distances
    from srkit.evaluation.identity.estimate import Estimate
    from srkit.evaluation.quality import Quality
    from srkit.evaluation.report import Report
    from srkit.evaluation.studies.schedule import Schedule

# --- what was said ---------------------------------------------------------------------------


def claims(study: Study, schedule: Schedule, found: Sequence[Verdict]) -> Section:
    """Return what the publication says, and whether it holds here."""
    hold, fail, open_ = (sum(v.said == said for v in found) for said in _SAID)
    text = [
        f"{study.title}. {study.citation}.",
        *study.notes,
        f"Of its {len(found)} claims that numbers can decide: {hold} hold, {fail} don't, "
        f"{open_} can't be told. A claim holds "
        "where the whole 95% interval of the difference lies on its side, and doesn't where it "
        "lies on the other. Intervals are of one claim at a time, and of these trainings, one a "
        f"scenario with seed {schedule.asked['seed']}: other seeds may turn small differences.",
        *(
            f'"{o.text}" ({o.source}) is an opinion: none of these numbers decides it.'
            for o in study.opinions
        ),
    ]
    rows = [
        [
            v.claim.text,
            v.claim.source,
            f"{_measure(v.claim.measure)}: {v.claim.higher} above {v.claim.lower}",
            stated(v.theirs, _digits(v), sign=v.none == 0),
            NONE if v.ours is None else with_ends(v.ours, _digits(v), sign=v.none == 0),
            Cell(v.said, strong=True, under=v.why),
        ]
        for v in found
    ]
    headings = ["claim", "source", "in numbers", THEIRS, "here", ""]
    note = (
        "Texture is energy beyond LR's Nyquist limit, as a share of HR's. "
        "Differences of the first over the second, of batches their ratio; beneath ours the 95% "
        "interval: pictures drawn anew, of distances people, of batches the turns in which speeds "
        "were measured."
    )
    return Section(
        "What was published, and what is found here", text, [PlainTable(headings, rows, note)]
    )


_SAID = (verdicts.HOLDS, verdicts.FAILS, verdicts.OPEN)


def _measure(name: str) -> str:
    if name == DISTANCE:
        return "identity distance"
    return f"error at the {name.removeprefix(REGION)}, of 255" if name.startswith(REGION) else name


def _digits(verdict: Verdict) -> int:
    measure = verdict.claim.measure
    if measure.startswith(REGION):
        return 2
    if measure in (BATCHES, TEXTURE):
        return 3
    return 3 if measure.startswith("psnr") else 4


# --- Table I -----------------------------------------------------------------------------------


def quality(study: Study, its: Quality) -> Section:
    """Return published scores beside ours, and differences beside differences."""
    source = ", ".join(dict.fromkeys(row.source for row in study.quality))
    note = study.quality_note.text if study.quality_note else ""
    return Section(
        f"{source}: scores",
        [note] if note else [],
        [_scores(study, its), _differences(study, its)],
    )


def _scores(study: Study, its: Quality) -> PlainTable:
    headings, rows = [""], [[label] for label in study.labels]
    for published in study.quality:
        for metric in published.ours:
            about = its.metrics[metric]
            headings.append(f"here, {heading(metric, about)}")
            for row, label in zip(rows, study.labels, strict=True):
                values = its.scores[label][metric]
                ends = span(*statistics.interval(values), digits_of(about))
                row.append(Cell(number(its.mean(label, metric), digits_of(about)), under=ends))
        headings.append(f"{THEIRS}, {_unit(published)}")
        for row, value in zip(rows, published.published, strict=True):
            row.append(stated(value, 3 if published.unit else 4))
    note = f"Ours: means over {len(its.pictures):,} pictures with their 95% intervals."
    return PlainTable(headings, rows, note, "Values, which can't be held against each other")


def _unit(published: Published) -> str:
    return f"{published.name}, {published.unit}" if published.unit else published.name


def _differences(study: Study, its: Quality) -> PlainTable:
    headings, rows = [""], []
    for published in study.quality:
        headings += [f"here, {heading(m, its.metrics[m])}" for m in published.ours]
        headings.append(f"{THEIRS}, {_unit(published)}")
    for a, b in combinations(range(len(study.labels)), 2):
        one, other = study.labels[a], study.labels[b]
        row: list[str] = [f"{one} {MINUS} {other}"]
        for published in study.quality:
            for metric in published.ours:
                found = its.difference(one, other, metric)
                digits = digits_of(its.metrics[metric]) + bool(published.unit)
                ends = span(found.low, found.high, digits, sign=True)
                row.append(Cell(number(found.mean, digits, sign=True), under=ends))
            both = published.published[a], published.published[b]
            numbers = [value for value in both if isinstance(value, float)]
            less = numbers[0] - numbers[1] if len(numbers) == 2 else "not stated"
            row.append(stated(less, 3 if published.unit else 4, sign=True))  # type: ignore[arg-type]
        rows.append(row)
    note = "On the same pictures, with the 95% interval of the difference (paired bootstrap)."
    return PlainTable(headings, rows, note, "Differences between scenarios")


# --- Table II ----------------------------------------------------------------------------------


def distances(study: Study, report: Report) -> Section | None:
    """Return the published distances' ratios beside ours; None where faces weren't compared."""
    theirs = study.distances
    parts = {"drawn": report.distances, "everybody": report.whole}
    given = {name: part for name, part in parts.items() if part}
    if theirs is None or not given:
        return None
    reference, other = theirs.scenarios
    first, second = theirs.means()
    rows = [
        [
            f"{name}: {part.people} people, {len(part.rows)} photos",
            number(part.mean(reference), 4),
            number(part.mean(other), 4),
            with_ends(_ratio(part, other, reference), 3),
        ]
        for name, part in given.items()
    ]
    photos = sum(len(p.values[0]) for p in theirs.published)
    rows.append(
        [
            f"{THEIRS}: {len(theirs.published)} people, {photos} photos",
            number(first, 4),
            number(second, 4),
            Cell(number(second / first, 3), under="no interval: single values were published"),
        ]
    )
    head = ["", f"mean, {reference}", f"mean, {other}", "ratio"]
    note = "Ratios of means with 95% intervals, people drawn anew; below 1 the second is closer."
    tables = [PlainTable(head, rows, note, "Ratios")]
    shown = report.distances or report.whole
    assert shown is not None
    tables += [_ours(shown, reference, other), _theirs(study)]
    return Section(f"{theirs.source}: identity", [theirs.note], tables)


def _ratio(part: Distances, column: str, to: str) -> Estimate:
    both = ([row.distances[name] for row in part.rows] for name in (column, to))
    values, others = both
    return verdicts.ratio(values, others, [row.person for row in part.rows])


def _ours(part: Distances, reference: str, other: str) -> PlainTable:
    rows = [
        [
            row.person,
            row.photo,
            number(row.distances[reference], 4),
            number(row.distances[other], 4),
            number(row.distances[other] / row.distances[reference], 3),
        ]
        for row in part.rows
    ]
    head = ["person", "photo", reference, other, "ratio"]
    return PlainTable(head, rows, "", "Here, a photo at a time")


def _theirs(study: Study) -> PlainTable:
    assert study.distances is not None
    rows = [
        [str(person.person), f"image {n}", number(a, 4), number(b, 4), number(b / a, 3)]
        for person in study.distances.published
        for n, (a, b) in enumerate(zip(*person.values, strict=True), 1)
    ]
    head = ["person", "photo", *study.distances.scenarios, "ratio"]
    return PlainTable(head, rows, "", "As published, of other photos and by another embedder")
