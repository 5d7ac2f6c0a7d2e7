"""Everything a repeated study found, as plain values and as tables, without any picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from srkit.evaluation import statistics
from srkit.evaluation.columns import HR
from srkit.evaluation.report import Report
from srkit.evaluation.studies import shares, verdicts
from srkit.evaluation.studies.details import Details
from srkit.evaluation.studies.rebuilt import Bench
from srkit.evaluation.studies.schedule import Schedule
from srkit.evaluation.studies.study import Study


def summary(study: Study, plan: Schedule, bench: Bench, logs: Mapping[str, Path]) -> dict[str, Any]:
    """Return all figures of a repeated study, the published ones beside them, and no picture.

    Args:
        study: The study.
        plan: What was trained, on which machine.
        bench: What was measured.
        logs: Of the trainings, by label.
    """
    its = bench.report
    decided = verdicts.decide(study, plan, its, bench.details)
    return {
        "study": study.name,
        "title": study.title,
        "began": plan.began,
        "machine": plan.machine,
        "versions": plan.versions,
        "asked": plan.asked,
        "share_seconds": plan.share,
        "measuring_seconds": round(plan.measuring, 1),
        "training_photos": plan.fingerprint,
        "trainings": _trainings(plan, logs),
        "bench": {"seconds": its.run.get("seconds"), "machine": its.run.get("machine")},
        "quality": _quality(study, its),
        "published_quality": [row.model_dump(mode="json") for row in study.quality],
        "published_batches": study.batches and study.batches.model_dump(mode="json"),
        "texture": {
            name: {"share_of_hr": statistics.mean(v), "95": statistics.interval(v)}
            for name, v in bench.details.texture.items()
            if name != HR
        },
        "regions": _regions(study, bench.details),
        "distances": _distances(study, its),
        "verdicts": [
            {
                **v.claim.model_dump(),
                "ours": v.ours and [v.ours.value, v.ours.low, v.ours.high],
                "published": v.theirs,
                "said": v.said,
                "basis": v.why,
            }
            for v in decided
        ],
    }


def _trainings(plan: Schedule, logs: Mapping[str, Path]) -> list[dict[str, Any]]:
    first = plan.trainings[0].label
    found = []
    for its in plan.trainings:
        ratio = verdicts.in_equal_time(plan, its.label, first)
        found.append(
            {
                "label": its.label,
                "recipe": its.complete().name,
                "batches": its.steps,
                "seconds_a_batch": its.pace.step,
                "seconds_of_batches": shares.seconds_of(logs[its.label], its.steps),
                "batches_in_equal_time": [ratio.value, ratio.low, ratio.high],
            }
        )
    return found


def _quality(study: Study, its: Report) -> dict[str, Any] | None:
    quality = its.quality
    if quality is None:
        return None
    shown = ("bicubic", *study.labels)
    return {
        "protocol": quality.protocol,
        "pictures": len(quality.pictures),
        "scores": {
            label: {
                metric: {
                    "mean": quality.mean(label, metric),
                    "95": statistics.interval(quality.scores[label][metric]),
                }
                for metric in quality.metrics
            }
            for label in shown
        },
    }


def _regions(study: Study, found: Details) -> dict[str, Any]:
    made = {}
    for its in study.regions:
        if its.name not in found.regions:
            continue
        worse, better = (found.regions[its.name][label] for label in (its.worse, its.better))
        less = statistics.difference(worse, better)
        made[its.name] = {
            "box": found.boxes[its.name],
            "nearer": sum(a > b for a, b in zip(worse, better, strict=True)),
            "of": len(worse),
            "error_less": [less.mean, less.low, less.high],
        }
    return made


def _distances(study: Study, its: Report) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if study.distances:
        means = study.distances.means()
        made["published"] = {"means": means, "ratio": means[1] / means[0]}
    for name, part in (("drawn", its.distances), ("everybody", its.whole)):
        if part is None:
            continue
        people = [row.person for row in part.rows]
        made[name] = {
            "embedder": part.protocol.get("embedder"),
            "people": part.people,
            "photos": len(part.rows),
            "means": {column: part.mean(column) for column in part.columns},
        }
        if study.distances:
            reference, other = study.distances.scenarios
            values, to = ([row.distances[c] for row in part.rows] for c in (other, reference))
            made[name]["ratio"] = asdict(verdicts.ratio(values, to, people))
    return made


def markdown(figures: Mapping[str, Any]) -> str:
    """Return a summary's scenarios and verdicts as Markdown tables."""
    quality = figures["quality"] or {"scores": {}}
    metrics = list(next(iter(quality["scores"].values()), {}))
    head = ["scenario", "batches", "in equal time", *metrics, "texture of HR's", "distance, all"]
    everybody = figures["distances"].get("everybody", {}).get("means", {})
    rows = []
    for its in figures["trainings"]:
        label = its["label"]
        scores = [f"{quality['scores'][label][m]['mean']:.4g}" for m in metrics]
        texture = figures["texture"][label]["share_of_hr"]
        distance = f"{everybody[label]:.4f}" if label in everybody else ""
        ratio = its["batches_in_equal_time"][0]
        rows.append(
            [label, f"{its['batches']:,}", f"{ratio:.3f}", *scores, f"{texture:.3f}", distance]
        )
    said = [
        [
            v["text"],
            v["source"],
            f"{v['measure']}: {v['higher']} above {v['lower']}",
            "not stated" if v["published"] is None else f"{v['published']:.4g}",
            "{:.4g} [{:.4g}, {:.4g}]".format(*v["ours"]) if v["ours"] else "",
            v["said"],
        ]
        for v in figures["verdicts"]
    ]
    claims = ["claim", "source", "in numbers", "published", "here, 95%", "verdict"]
    machine = figures["machine"]
    where = f"{machine['device']}, threads: {machine['threads']}, begun {figures['began']}."
    return "\n\n".join([_table(head, rows), _table(claims, said), where]) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
