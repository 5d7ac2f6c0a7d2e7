"""What a study measured beside what the paper reports, and whether its claims hold here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Any, NamedTuple

import srkit
from srkit_inception_gan.paper import CLAIMS, DISTANCE, DISTANCES, FRAMED, SCENARIOS, Claim

HOLDS, FAILS, OPEN = "holds", "doesn't hold", "can't be told"
LEAST_STEPS = 3000
METRICS = ("psnr", "psnr-y", "ssim", "ssim-y", "lsd")
LOWER_IS_BETTER = ("lsd", DISTANCE, FRAMED)
# The smallest difference that counts, and digits in tables.
MEASURES = {
    **dict.fromkeys(("psnr", "psnr-y"), (0.05, 2)),
    **dict.fromkeys(("ssim", "ssim-y"), (0.003, 4)),
    **dict.fromkeys((DISTANCE, FRAMED), (0.02, 4)),
    **{"lsd": (0.5, 2), "speed": (0.02, 3)},
}
RULE = (
    "A claim *holds* where the 95% interval of the difference (paired bootstrap over test images "
    "or people) is above 0 for every seed and measure (RGB and luma, or both framings), and "
    "*doesn't hold* where it is below 0 for all. It *can't be told* otherwise, from one seed, with "
    f"fewer than {LEAST_STEPS:,} steps, where a scenario loses to bicubic (in PSNR or in the "
    "claim's measure), or below 0.05 dB PSNR, 0.003 SSIM, 0.5 dB LSD or 0.02 of distance."
)
SPEED = (
    "Speed is the median over a training, without interval; one seed will do for it, and less "
    "than 2% can't be told."
)
NOTE = (
    "PSNR and SSIM are of RGB; LSD is the log-spectral distance to HR, in dB. Brackets hold the "
    "lowest and the highest seed. The distance is that of all people, cut by a detector or "
    "*framed* as CelebA's images, on which the models were trained. The paper doesn't state its "
    "colour channel, border and SSIM window, and its photos, FaceNet weights and perhaps its "
    "degradation differ: compare differences, not values."
)


class Measured(NamedTuple):
    """What was measured, by scenario (0: bicubic), its models' names, or what is measured."""

    labels: Mapping[int, Sequence[str]]
    steps: Mapping[int, int]
    speeds: Mapping[str, float]  # steps an hour in training
    report: Any
    identity: Mapping[str, Any]  # everybody's distances

    def values(self, measure: str, label: str) -> list[float]:
        """Return a measure of each image, or of each photo of the people."""
        if part := self.identity.get(measure):
            return [row.distances[label] for row in part.rows]
        return list(self.report.quality.counted(label, measure))

    def difference(self, measure: str, higher: str, lower: str) -> tuple[float, float, float]:
        """Return mean, low and high end (95%) of the difference of two models."""
        if measure == "speed":
            return (self.speeds[higher] / self.speeds[lower] - 1,) * 3
        part = self.identity.get(measure)
        groups = [row.person for row in part.rows] if part else None
        paired = srkit.difference(self.values(measure, higher), self.values(measure, lower), groups)
        return paired.mean, paired.low, paired.high

    def loses(self, label: str, measure: str) -> bool:
        """Return whether a model is worse than bicubic."""
        mean, bicubic = (fmean(self.values(measure, name)) for name in (label, "bicubic"))
        return mean > bicubic if measure in LOWER_IS_BETTER else mean < bicubic


def summary(study: Measured) -> dict[str, Any]:
    """Return all that was measured as plain values, with the verdicts."""

    def identity(names: Sequence[str]) -> dict[str, list[float]]:
        parts = study.identity.items()
        means = {measure: [part.mean(name) for name in names] for measure, part in parts}
        return means | {f"AUC, {m}": [part.auc[name].value for name in names] for m, part in parts}

    report = study.report
    return {
        "scenarios": [
            {
                "scenario": scenario,
                "steps": study.steps.get(scenario),
                "speeds": [study.speeds[name] for name in names if scenario],
                **{m: [fmean(study.values(m, name)) for name in names] for m in METRICS},
                **identity(names),
            }
            for scenario, names in study.labels.items()
        ],
        "HR": identity(["HR"]),
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
        losing = [n for pair in pairs for n in pair if any(study.loses(n, m) for m in against)]
        if (steps := min(study.steps[each] for each in both if each)) < LEAST_STEPS:
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


def markdown(summary: Mapping[str, Any]) -> str:
    """Return what `summary` gave as tables: the claims, then what they rest on."""
    scenarios, claims = summary["scenarios"], summary["claims"]
    timed = any("speed" in claim["measures"] for claim in claims)
    parts = [_claims(claims), f"{RULE} {SPEED}" if timed else RULE]
    parts += [_scores(scenarios, timed=timed), _distances(scenarios, summary["HR"]), NOTE]
    return "\n\n".join([*parts, f"```console\n$ {summary['run']['command']}\n```"]) + "\n"


def _scores(scenarios: Sequence[Mapping[str, Any]], *, timed: bool) -> str:
    """Return Table I, and Fig. 7 if the trainings were timed."""
    first = next((median(each["speeds"]) for each in scenarios if each["scenario"] == 1), None)
    quality = ["PSNR, paper", "here", "SSIM, paper", "here", "LSD"]
    rows = [["Table I", "steps", *quality, "speed, paper (Fig. 7)", "here"]]
    for scenario in scenarios:
        psnr, ssim, lsd = (over_seeds(scenario[m], MEASURES[m][1]) for m in ("psnr", "ssim", "lsd"))
        if not scenario["scenario"]:
            rows.append(["bicubic", "", "", psnr, "", ssim, lsd, "", ""])
            continue
        paper = SCENARIOS[scenario["scenario"]]
        ratio = f"{paper.steps / 41_410:.3f}" if paper.steps else ""
        here = f"{median(scenario['speeds']) / first:.3f}" if first else ""
        beside = [f"{paper.psnr:.3f}", psnr, f"{paper.ssim:.4f}", ssim, lsd]
        rows.append([paper.label, f"{scenario['steps']:,}", *beside, ratio, here])
    if not timed:
        rows = [[row[0], *row[2:7]] for row in rows]  # without steps and speeds
    return _table(rows[0], rows[1:])


def _distances(scenarios: Sequence[Mapping[str, Any]], hr: Mapping[str, Any]) -> str:
    """Return Table II."""
    rows = []
    for each in [*scenarios, {"scenario": "HR", **hr}]:
        scenario, paper = each["scenario"] or "bicubic", DISTANCES.get(each["scenario"])
        label = SCENARIOS[scenario].label if scenario in SCENARIOS else scenario
        cells = [over_seeds(each[f"{w}{m}"], 3) for m in (DISTANCE, FRAMED) for w in ("", "AUC, ")]
        rows.append([label, f"{fmean(paper):.4f}" if paper else "", *cells])
    return _table(["Table II", "distance, paper", "here", "AUC", "framed", "AUC"], rows)


def _claims(claims: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for claim in claims:
        measure = claim["measures"][0]
        digits, ours = MEASURES[measure][1] + 1, ""
        if intervals := claim["differences"].get(measure):
            means, lows, highs = zip(*intervals, strict=True)
            ours = f"{fmean(means):+.{digits}f} [{min(lows):+.{digits}f}, {max(highs):+.{digits}f}]"
        paper = "" if claim["published"] is None else f"{claim['published']:+.{digits}f}"
        verdict = f"**{claim['verdict']}**" + f": {claim['why']}" * (claim["verdict"] == OPEN)
        rows.append([claim["text"] + " (LSD)" * (measure == "lsd"), paper, ours, verdict])
    return _table(["claim", "paper's difference", "here [95%]", "verdict"], rows)


def over_seeds(values: Sequence[float], digits: int) -> str:
    """Return the mean over seeds, and the lowest and the highest in brackets."""
    low, high = min(values), max(values)
    ends = f" [{low:.{digits}f}, {high:.{digits}f}]" if low < high else ""
    return f"{fmean(values):.{digits}f}{ends}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *rows])
