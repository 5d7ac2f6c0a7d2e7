"""What a study measured beside what the paper reports, and whether its claims hold here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Any, NamedTuple

import srkit
from srkit_inception_gan.paper import CLAIMS, DISTANCES, SCENARIOS, Claim

HOLDS, FAILS, OPEN = "holds", "doesn't hold", "can't be told"
LEAST_STEPS = 3000
METRICS = ("psnr", "psnr-y", "ssim", "ssim-y", "lsd")
DISTANCE, FRAMED = "distance", "distance in CelebA's framing"
LOWER_IS_BETTER = ("lsd", DISTANCE, FRAMED)
# The smallest difference that counts, and digits in tables.
MEASURES = {
    **dict.fromkeys(("psnr", "psnr-y"), (0.05, 2)),
    **dict.fromkeys(("ssim", "ssim-y"), (0.003, 4)),
    **dict.fromkeys((DISTANCE, FRAMED), (0.02, 4)),
    **{"lsd": (0.5, 2), "speed": (0.02, 3)},
}
RULE = (
    "A claim *holds* where the whole 95% interval of the difference is on its side for every seed "
    "and measure, and *doesn't hold* where it is on the other side for all. It *can't be told* "
    f"where they disagree, from one seed, with fewer than {LEAST_STEPS:,} steps, where a scenario "
    "loses to bicubic (in PSNR or in the claim's measure), or where the difference is smaller than "
    "0.05 dB PSNR, 0.003 SSIM, 0.5 dB LSD, 0.02 of distance or 2% of speed. Speed is the median "
    "over a training, without interval; one seed will do for it. Intervals are over test images or "
    "people (paired bootstrap). No measure decides whether scenario 3 mends the nose of scenario 2 "
    "(Fig. 5), or whether scenario 4 has more real and less noisy hair, beards and wrinkles "
    "(Fig. 6) and is the most pleasant."
)
NOTE = (
    "With several seeds, the lowest and the highest are in brackets. The paper doesn't state its "
    "colour channel, border and SSIM window, and its photos, FaceNet weights and perhaps its "
    "degradation differ from ours: compare differences and ratios, not values."
)


class Measured(NamedTuple):
    """What was measured, by scenario (0: bicubic): its models' names in the report, and steps.

    ``speeds`` are steps an hour of each model's training. ``framed`` is a report of identity whose
    probes are framed as CelebA's, on which the models were trained; in ``report`` they are cut out
    by a detector.
    """

    labels: Mapping[int, Sequence[str]]
    steps: Mapping[int, int]
    speeds: Mapping[str, float]
    report: Any
    framed: Any

    def values(self, measure: str, label: str) -> list[float]:
        """Return a measure of each image, or of each photo of the people."""
        if measure in (DISTANCE, FRAMED):
            report = self.report if measure == DISTANCE else self.framed
            return [row.distances[label] for row in report.everybody.rows]
        return list(self.report.quality.counted(label, measure))

    def difference(self, measure: str, higher: str, lower: str) -> tuple[float, float, float]:
        """Return mean, low and high end (95%) of the difference of two models."""
        if measure == "speed":
            return (self.speeds[higher] / self.speeds[lower] - 1,) * 3
        groups = (
            [row.person for row in self.report.everybody.rows]
            if measure in (DISTANCE, FRAMED)
            else None
        )
        paired = srkit.difference(self.values(measure, higher), self.values(measure, lower), groups)
        return paired.mean, paired.low, paired.high

    def loses(self, label: str, measure: str) -> bool:
        """Return whether a model is worse than bicubic."""
        mean, bicubic = (fmean(self.values(measure, name)) for name in (label, "bicubic"))
        return mean > bicubic if measure in LOWER_IS_BETTER else mean < bicubic


def summary(study: Measured) -> dict[str, Any]:
    """Return all that was measured as plain values, with the verdicts."""
    report = study.report
    people = {
        f"{who}: {part.people} people, {len(part.rows)} images": part
        for who, part in (
            ("drawn", report.distances),
            ("everybody", report.everybody),
            ("everybody in CelebA's framing", study.framed.everybody),
        )
    }

    def by_scenario(values: Mapping[str, float]) -> dict[str, float]:
        means = {n: fmean(values[name] for name in study.labels[n]) for n in sorted(study.steps)}
        mine = {str(scenario): mean for scenario, mean in means.items()}
        return {"bicubic": values["bicubic"], **mine, "HR": values["HR"]}

    return {
        "scenarios": [
            {
                "scenario": scenario,
                "steps": study.steps.get(scenario),
                "speeds": [study.speeds[name] for name in names if scenario],
                **{
                    measure: [fmean(study.values(measure, name)) for name in names]
                    for measure in (*METRICS, DISTANCE, FRAMED)
                },
            }
            for scenario, names in study.labels.items()
        ],
        "distances": {
            who: by_scenario({method: part.mean(method) for method in part.methods})
            for who, part in people.items()
        },
        "auc": {
            who: by_scenario({method: auc.value for method, auc in part.auc.items()})
            for who, part in people.items()
        },
        "claims": [{**claim._asdict(), **judge(claim, study)} for claim in CLAIMS],
        **{"protocol": report.quality.protocol, "models": report.models, "run": report.run},
    }


def judge(claim: Claim, study: Measured) -> dict[str, Any]:
    """Decide a claim by `RULE`: its ``verdict``, ``why``, and the ``differences`` of each seed."""
    both = [claim.higher, claim.lower]
    if not study.labels.keys() >= set(both):
        return {"verdict": OPEN, "why": "not trained", "differences": {}}
    pairs = list(zip(*(study.labels[scenario] for scenario in both), strict=True))
    differences = {m: [study.difference(m, *pair) for pair in pairs] for m in claim.measures}
    verdict, why = decide(differences)
    if claim.measures != ("speed",):  # which needs no well trained model
        against = {"psnr", *claim.measures} if claim.higher else {"psnr"}
        names = [name for pair in pairs for name in pair]
        losing = [name for name in names if any(study.loses(name, m) for m in against)]
        steps = min(study.steps[scenario] for scenario in both if scenario)
        if steps < LEAST_STEPS:
            verdict, why = OPEN, f"{steps:,} steps are too few"
        elif losing:
            verdict, why = OPEN, f"{losing[0]} loses to bicubic"
        elif len(pairs) == 1:
            verdict, why = OPEN, "one seed"
    return {"verdict": verdict, "why": why, "differences": differences}


def decide(differences: Mapping[str, Sequence[tuple[float, ...]]]) -> tuple[str, str]:
    """Return what differences (mean, low, high) say of a claim that they are above 0, and why."""
    every = [intervals for each in differences.values() for intervals in each]
    sides = {HOLDS if low > 0 else FAILS if high < 0 else OPEN for _, low, high in every}
    if len(sides) > 1:
        return OPEN, "seeds or measures disagree"
    if sides == {OPEN}:
        return OPEN, "intervals include 0"
    for measure, intervals in differences.items():
        if abs(fmean(mean for mean, _, _ in intervals)) < (least := MEASURES[measure][0]):
            return OPEN, f"{measure} differs by less than {least:g}"
    return sides.pop(), f"all {len(every)} intervals" if len(every) > 1 else "the interval"


# --- tables --------------------------------------------------------------------------------------


def markdown(summary: Mapping[str, Any]) -> str:
    """Return what `summary` gave as tables."""
    parts = [_scores(summary["scenarios"]), _distances(summary["distances"], summary["auc"]), NOTE]
    parts += [_claims(summary["claims"]), RULE, f"```console\n$ {summary['run']['command']}\n```"]
    return "\n\n".join(parts) + "\n"


def _scores(scenarios: Sequence[Mapping[str, Any]]) -> str:
    """Return Table I and Fig. 7."""
    first = next((median(each["speeds"]) for each in scenarios if each["scenario"] == 1), None)
    rows = []
    for scenario in scenarios:
        cells = [_seeds(scenario[metric], MEASURES[metric][1]) for metric in METRICS]
        if not scenario["scenario"]:
            rows.append(["bicubic", "", "", *cells[:2], "", *cells[2:], "", ""])
            continue
        paper = SCENARIOS[scenario["scenario"]]
        ratio = f"{paper.steps / 41_410:.3f}" if paper.steps else "not stated"
        here = f"{median(scenario['speeds']) / first:.3f}" if first else ""
        psnr, ssim = [f"{paper.psnr:.3f}", *cells[:2]], [f"{paper.ssim:.4f}", *cells[2:]]
        rows.append([paper.label, f"{scenario['steps']:,}", *psnr, *ssim, ratio, here])
    quality = ["PSNR, paper", "RGB", "Y", "SSIM, paper", "RGB", "Y", "LSD"]
    return _table(["Table I", "steps", *quality, "speed, paper (Fig. 7)", "speed"], rows)


def _distances(
    measured: Mapping[str, Mapping[str, float]], auc: Mapping[str, Mapping[str, float]]
) -> str:
    """Return Table II, and the AUC that belongs to each row of ours."""
    paper = {str(scenario): fmean(means) for scenario, means in DISTANCES.items()}
    ours = {**measured, **{f"AUC of {who}": values for who, values in auc.items()}}
    rows = []
    for who, means in {"paper: 5 people, 10 images": paper, **ours}.items():
        cells = [f"{means[n]:.4f}" if n in means else "" for n in ("bicubic", "1", "4", "HR")]
        ratio = f"{means['4'] / means['1']:.3f}" if {"1", "4"} <= means.keys() else ""
        rows.append([who, *cells, ratio])
    head = ["Table II", "bicubic", SCENARIOS[1].label, SCENARIOS[4].label, "HR", "ratio 4 : 1"]
    return _table(head, rows)


def _claims(claims: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for claim in claims:
        measure = claim["measures"][0]
        digits, ours = MEASURES[measure][1] + 1, ""
        if intervals := claim["differences"].get(measure):
            means, lows, highs = zip(*intervals, strict=True)
            ours = f"{fmean(means):+.{digits}f} [{min(lows):+.{digits}f}, {max(highs):+.{digits}f}]"
        paper = "not stated" if claim["published"] is None else f"{claim['published']:+.{digits}f}"
        verdict = f"**{claim['verdict']}**: {claim['why']}"
        rows.append([claim["text"], claim["source"], measure, paper, ours, verdict])
    return _table(["claim", "source", "difference in", "paper", "here [95%]", "verdict"], rows)


def _seeds(values: Sequence[float], digits: int) -> str:
    ends = f" [{min(values):.{digits}f}, {max(values):.{digits}f}]" if values[1:] else ""
    return f"{fmean(values):.{digits}f}{ends}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *rows])
