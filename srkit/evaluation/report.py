"""Everything one bench measured, what follows from it, and the files it is stored in."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srkit import foreign, notebook, plugins, registry
from srkit.errors import InputError, NameClashError, OptionError, refused
from srkit.evaluation import statistics
from srkit.evaluation.methods import BICUBIC, HR, LR, REFERENCES
from srkit.evaluation.statistics import DRAWS, Difference, Estimate
from srkit.files import write_text
from srkit.options import validated

if TYPE_CHECKING:
    from srkit.evaluation.tables import Tables

FORMAT = "srkit bench 3"
REPORT = "report.json"
PARTS = ("quality", "distances", "everybody", "pairs")
LARGEST = 2**30  # bytes; 200,000 images by five methods and six metrics are 160 MiB
NO_NUMBER = {"Infinity": "inf", "-Infinity": "-inf", "NaN": "nan"}  # JSON has no numbers for them


@dataclass(frozen=True)
class Versus:
    """Model a's scores less b's, on the same images or faces.

    ``p_adjusted`` is the difference's p, adjusted for the number of pairs compared by this metric.
    """

    metric: str
    a: str
    b: str
    difference: Difference
    p_adjusted: float


def versus(
    metrics: Iterable[str],
    pairs: Sequence[tuple[str, str]],
    scores: Mapping[str, Mapping[str, Sequence[float]]],
    groups: Sequence[str] | None = None,
) -> list[Versus]:
    """Test pairs of methods, the first one's scores (method to metric) less the second one's."""
    results = []
    for metric in metrics:
        if not all(scores[method][metric] for pair in pairs for method in pair):
            continue  # no image counts
        differences = [
            statistics.difference(scores[a][metric], scores[b][metric], groups) for a, b in pairs
        ]
        adjusted = statistics.holm([difference.p for difference in differences])
        results += [
            Versus(metric, a, b, difference, p)
            for (a, b), difference, p in zip(pairs, differences, adjusted, strict=True)
        ]
    return results


@dataclass(frozen=True)
class Quality:
    """Scores of every method on every image.

    Attributes:
        protocol: The stamp of `Protocol.stamp`.
        images: The files' names, sorted, in the scores' order; see `measure.ordered`.
        metrics: Name to ``unit``, ``higher_is_better``, ``title`` and ``provider``.
        scores: Method to metric to one score an image. nearest, bicubic and lanczos come first,
            then the models.
        set_metrics: As ``metrics``, for the metrics of sets.
        set_scores: Method to metric of sets to its one number, which has no interval.
        seconds: Method to the time that upscaling an image took, but for images that other
            programs made: for information, it isn't what is compared.
        notes: What a reader should know.
        exact: By metric the indices of images that a method gives exactly, so that its score is
            infinite, or that have none: they are left out of all that follows from the scores.
    """

    protocol: dict[str, Any]
    images: list[str]
    metrics: dict[str, dict[str, Any]]
    scores: dict[str, dict[str, list[float]]]
    set_metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    set_scores: dict[str, dict[str, float]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    exact: dict[str, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for method, scores in self.scores.items():
            if any(len(scores.get(metric, ())) != len(self.images) for metric in self.metrics):
                raise ValueError(f"{method} hasn't {len(self.images)} scores")
        exact = {
            metric: {
                number
                for method, scores in self.scores.items()
                if self.scored(method, metric)
                for number, score in enumerate(scores[metric])
                if not math.isfinite(score)
            }.union(self.exact.get(metric, ()))
            for metric in self.metrics
        }
        object.__setattr__(self, "exact", {m: sorted(each) for m, each in exact.items() if each})

    @property
    def models(self) -> list[str]:
        """The methods beside nearest, bicubic and lanczos."""
        return [method for method in self.scores if method not in REFERENCES]

    def scored(self, method: str, metric: str) -> bool:
        """Return whether a method has a score on half of the images or more.

        One that hasn't would leave too few of them for the others, and has no mean.
        """
        return 2 * sum(map(math.isnan, self.scores[method][metric])) <= len(self.images)

    def counted(self, method: str, metric: str) -> list[float]:
        """Return the scores of the images that aren't in ``exact``; none of what isn't `scored`."""
        if not self.scored(method, metric):
            return []
        exact = set(self.exact.get(metric, ()))
        scores = self.scores[method][metric]
        return [score for number, score in enumerate(scores) if number not in exact]

    def mean(self, method: str, metric: str) -> float:
        """Return the mean over the images that count; NaN where none does."""
        return statistics.mean(self.counted(method, metric))

    def gain(self, method: str, metric: str, over: str = BICUBIC) -> tuple[float, float, float]:
        """Return mean, low and high end (95%, paired bootstrap) of the gain over a method."""
        ours, theirs = self.counted(method, metric), self.counted(over, metric)
        if len(ours) != len(theirs):  # one isn't `scored`
            return math.nan, math.nan, math.nan
        gains = [score - other for score, other in zip(ours, theirs, strict=True)]
        return statistics.mean(gains), *statistics.interval(gains)

    @cached_property
    def versus(self) -> list[Versus]:
        """Every two models by every metric, a later one less an earlier one."""
        pairs = [(b, a) for a, b in combinations(self.models, 2)]
        return versus(self.metrics, pairs, self.all_counted())

    def all_counted(self) -> dict[str, dict[str, list[float]]]:
        """Return the scores that count, by method and metric."""
        return {name: {m: self.counted(name, m) for m in self.metrics} for name in self.scores}

    def as_json(self) -> dict[str, Any]:
        """Return single scores, and the means, gains and tests that follow from them."""
        summary = {
            method: {m: self._summary(method, m) for m in self.metrics} for method in self.scores
        }
        return {
            **asdict(self),
            "summary": summary,
            "versus": [asdict(pair) for pair in self.versus],
        }

    def _summary(self, method: str, metric: str) -> dict[str, Any]:
        gain, *interval = self.gain(method, metric)
        return {"mean": self.mean(method, metric), "gain": gain, "gain_95": interval}


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What identity is measured with.

    Attributes:
        protocol: The stamp of `Verifier.stamp`, and how photos were chosen.
        people: Number of people that count.
        no_face: Photos in which no face was found, as ``person/photo``; with the reason, where
            they couldn't be read.
        left_out: People who can't be measured, and why.
        notes: What else a reader must know.
    """

    protocol: dict[str, Any]
    people: int
    no_face: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Row:
    """One probe: a person, a photo, its base, and the distance by every method."""

    person: str
    base: str
    photo: str
    distances: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Distances(Identity):
    """Identity distances of every probe from its person's base, in the order of people.

    Attributes:
        auc: By method, the chance that a probe is nearer to its own base than another is to a
            base that isn't its own; ties count half. Empty with one person.
    """

    rows: list[Row]
    auc: dict[str, Estimate] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len({tuple(row.distances) for row in self.rows}) != 1:
            raise ValueError("no rows, or rows of different methods")

    @property
    def methods(self) -> list[str]:
        """``LR``, ``bicubic``, each model, ``HR``."""
        return list(self.rows[0].distances)

    def scores(self, method: str) -> list[float]:
        """Return a method's distances, in the order of the rows."""
        return [row.distances[method] for row in self.rows]

    def mean(self, method: str) -> float:
        """Return a method's mean distance."""
        return statistics.mean(self.scores(method))

    def interval(self, method: str) -> tuple[float, float]:
        """Return the 95% interval of the mean (bootstrap over people)."""
        return statistics.interval(self.scores(method), self._owners)

    def ratio(self, method: str) -> float:
        """Return a method's mean as a multiple of bicubic's; NaN of a mean of 0."""
        bicubic = self.mean(BICUBIC)
        return self.mean(method) / bicubic if bicubic else float("nan")

    def closed(self, method: str) -> Estimate:
        """Return the share of the gap from LR to HR that a method closes.

        1 is as near as HR, 0 as far as LR; both ends can be passed. The interval is that of the
        ratio of means (bootstrap over people).
        """
        # Sums of the same rows, by person: their number cancels out.
        sums = [
            statistics.by_group(self.scores(name), self._owners)[0] for name in (method, LR, HR)
        ]
        drawn = statistics.weights(len(sums[0]), DRAWS, 0)
        whole, *_ = statistics.share(*(values.sum(keepdims=True) for values in sums))
        return Estimate.of(float(whole), statistics.share(*(drawn @ values for values in sums)))

    @property
    def _owners(self) -> list[str]:
        return [row.person for row in self.rows]

    def as_json(self) -> dict[str, Any]:
        """Return the distances and the figures under the table."""
        summary = {
            method: {
                "mean": self.mean(method),
                "mean_95": self.interval(method),
                "closed": asdict(self.closed(method)),
            }
            for method in self.methods
        }
        return {**super().as_json(), "summary": summary}


@dataclass(frozen=True)
class PairScores:
    """How well a method's results tell same pairs from different ones.

    Attributes:
        auc: The chance that a same pair is nearer than a different one; ties count half.
        eer: The rate at which as many same pairs are refused as impostors accepted.
        tar: By FAR, ``"0.01"`` and ``"0.001"``: the share of same pairs accepted by a threshold
            that accepts at most that share of impostors. Left out where a share so small would be
            less than one impostor.
        rank1: How often the nearest gallery photo is the person's own.
        closed: The share of the gap from LR's AUC to HR's.
        roc: ``far`` and ``tar``, at most 200 corners of the curve, to be joined by straight lines.
        same: Distances of the same pairs, in the order of their draw.
        different: Distance of each pair's probe to one stranger drawn from the gallery.
    """

    auc: Estimate
    eer: Estimate
    tar: dict[str, Estimate]
    rank1: Estimate
    closed: Estimate
    roc: dict[str, list[float]]
    same: list[float]
    different: list[float]


@dataclass(frozen=True)
class SizeScores:
    """Verification of probes of one size: method to ``auc``, and ``tar`` at FAR 1e-2.

    ``photos`` is the number of probes and gallery photos it rests on.
    """

    lr_size: int
    photos: int
    scores: dict[str, dict[str, Estimate]]


@dataclass(frozen=True, kw_only=True)
class Pairs(Identity):
    """Verification of pairs.

    Attributes:
        scores: By method: ``LR``, ``bicubic``, each model, ``HR``.
        same: Number of same pairs.
        different: Number of different pairs drawn, for the spread of distances.
        impostors: Number of different pairs the rates rest on: all of probes and gallery.
        photos: Number of the people's photos in the draw.
        sizes: The same over the size of LR.
    """

    scores: dict[str, PairScores]
    same: int
    different: int
    impostors: int
    photos: int
    sizes: list[SizeScores]


@dataclass(frozen=True, repr=False)
class Report:
    """Everything one bench measured.

    Attributes:
        models: Name to what is known of a method: ``sha256`` of its weights (None without any),
            ``licence``, and how many of the photos it was ``trained_on``.
        quality: Scores of images, or None where none were measured.
        distances: Identity distances of the people drawn (Table II), or None.
        everybody: The same for everybody.
        pairs: Same/different verification, or None.
        warnings: What a reader must know.
        run: The command that repeats it, ``seconds``, and the machine.
        render: An index in the quality's images to that image by every method, LR and HR, uint8,
            ``HW3``; None where it can't be upscaled again, as in a report that was read.
        judges: Where several embedders judge, what those after the first measured of the same
            faces, by name.
    """

    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    quality: Quality | None = None
    distances: Distances | None = None
    everybody: Distances | None = None
    pairs: Pairs | None = None
    warnings: list[str] = field(default_factory=list)
    run: dict[str, Any] = field(default_factory=dict)
    render: Callable[[int], Mapping[str, Any]] | None = field(
        default=None, compare=False, repr=False
    )
    judges: dict[str, Report] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return plain values; infinite decibels become the string ``"inf"``."""
        values = {"format": FORMAT, "models": self.models, **self._parts(PARTS)}
        if self.judges:
            values["judges"] = {name: of._parts(PARTS[1:]) for name, of in self.judges.items()}
        return plain({**values, "warnings": self.warnings, "run": self.run})

    def _parts(self, names: Sequence[str]) -> dict[str, Any]:
        parts = {name: getattr(self, name) for name in names}
        return {name: part and part.as_json() for name, part in parts.items()}

    @classmethod
    def read(cls, file: str | Path) -> Report:
        """Read a file that `write` wrote, or ``report.json`` in a folder.

        Raises:
            InputError: It can't be read, or is no report of this version's.
        """
        file = Path(file)
        if file.is_dir():
            file /= REPORT
        values = foreign.read(file, dict[str, Any], "JSON", largest=LARGEST)
        if values.get("format") != FORMAT:
            raise InputError(
                f"{file}: no report of this version ('format' is {values.get('format')!r:.40}, not "
                f"'{FORMAT}'); measure again"
            )
        if "models" not in values:  # which a further judge's part doesn't repeat
            raise InputError(f"{file}: 'models' is missing")
        return validated(cls, values, str(file))

    def write(self, file: str | Path) -> None:
        """Write the JSON.

        Raises:
            InputError: It can't be written.
        """
        write_text(Path(file), json.dumps(self.as_json(), indent=1))

    def publish(self, folder: Path) -> None:
        """Write the JSON, and what every registered report makes of it.

        Raises:
            InputError: The folder can't be written.
        """
        self.write(folder / REPORT)
        for name, offer in registry.offers("reports").items():
            try:
                with refused(f"can't write the report into {folder}"):
                    registry.call("reports", name, self, folder)
            except (NameClashError, OptionError) as error:
                plugins.report(offer.plugins[0], str(error))

    def by_judge(self) -> Iterable[tuple[str, Report]]:
        """Return "" and this report, then each further judge's name and report."""
        return {"": self, **self.judges}.items()

    def tables(self) -> Tables:
        """Return everything as tables."""
        from srkit.evaluation.report_tables import of_report

        return of_report(self)

    def to_frame(self) -> Any:
        """Return the scores of images as a pandas DataFrame: a row an image, method and metric.

        Its columns are ``image``, ``method``, ``metric`` and ``score``. pandas is the caller's.

        Raises:
            InputError: pandas isn't installed, or no quality was measured.
        """
        try:
            import pandas  # type: ignore[import-untyped,unused-ignore]
        except ImportError as error:
            raise InputError("a data frame needs pandas: pip install pandas") from error
        if self.quality is None:
            raise InputError("this report has no scores of images: bench without verify alone")
        rows = [
            (image, method, metric, score)
            for method, scores in self.quality.scores.items()
            for metric in self.quality.metrics
            for image, score in zip(self.quality.images, scores[metric], strict=True)
        ]
        return pandas.DataFrame(rows, columns=["image", "method", "metric", "score"])

    def __repr__(self) -> str:
        parts = [name for name in PARTS if getattr(self, name)]
        if self.quality:
            metric = next(iter(self.quality.metrics))
            means = [f"{m} {self.quality.mean(m, metric):.2f}" for m in self.quality.scores]
            parts[0] = f"{len(self.quality.images)} images, {metric}: {', '.join(means)}"
        parts += [f"{len(self.warnings)} warnings"] * bool(self.warnings)
        return f"<srkit.Report of {', '.join(self.models)}: {'; '.join(parts)}>"

    def _repr_html_(self) -> str:
        warnings = "".join(notebook.paragraph(f"Warning: {text}") for text in self.warnings)
        return warnings + self.tables()._repr_html_() + self._pictures()

    def _pictures(self) -> str:
        """Return the image of the median gain by every method."""
        if not (self.quality and self.render and self.quality.models):
            return ""
        metric, first = next(iter(self.quality.metrics)), self.quality.models[0]
        columns = zip(*(self.quality.scores[m][metric] for m in (first, BICUBIC)), strict=True)
        differences = ((a - b, number) for number, (a, b) in enumerate(columns))
        gains = sorted(gain for gain in differences if not math.isnan(gain[0]))
        if not gains:
            return ""
        number = gains[len(gains) // 2][1]
        title = f"{self.quality.images[number]}: the median gain of {first} over {BICUBIC}"
        return notebook.paragraph(title) + notebook.strip(self.render(number))


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as JSON holds them; those it has no number for become strings."""
    result: dict[str, Any] = json.loads(json.dumps(values), parse_constant=NO_NUMBER.__getitem__)
    return result
