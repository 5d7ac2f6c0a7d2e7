"""What a repeated study came to: measured once, then a page, and figures without any picture."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from srkit.evaluation import inputs, page, run
from srkit.evaluation.columns import Column, columns
from srkit.evaluation.identity.found import Finder
from srkit.evaluation.protocol import Protocol, fingerprint
from srkit.evaluation.report import Report
from srkit.evaluation.store import default_store
from srkit.evaluation.studies import beside, details, digest, rebuilt, shares, verdicts
from srkit.evaluation.studies.details import Box, Details
from srkit.evaluation.studies.rebuilt import Bench
from srkit.evaluation.studies.schedule import Schedule
from srkit.evaluation.studies.study import Study
from srkit.files import write_text
from srkit.models import checkpoint
from srkit.models.load import load

if TYPE_CHECKING:
    from srkit.evaluation.studies.reproduce import Judged

PAGE = "report"  # folder
SUMMARY, TABLE = "summary.json", "summary.md"  # in it


def measured(
    study: Study,
    plan: Schedule,
    out: Path,
    judged: Judged,
    *,
    device: str,
    command: str = "",
    progress: run.Progress = run.ignore,
) -> Bench:
    """Bench the trained scenarios, or read what an earlier start measured of the same.

    Raises:
        SrkitError: Photos, faces or weights can't be had.
    """
    protocol = study.its_protocol(judged.seed)
    files = inputs.photos(judged.data)
    trained = [
        replace(
            load(str(out / its.complete().name / checkpoint.MODEL), device=device),
            name=its.label,
        )
        for its in plan.trainings
    ]
    compared = columns(trained, protocol.scale)
    boxes = places(study, protocol)
    faces = judged.faces(study)
    people = inputs.people(faces, protocol) if faces else None
    drawn = people.drawn if people else []
    key = _key(protocol, compared, files, boxes, asdict(faces) if faces else None, people)
    kept = out / f"measured-{key}.json"
    if (found := _read(kept)) is None:
        report = run.bench(
            trained,
            data=judged.data,
            protocol=protocol,
            verify=faces,
            device=device,
            workers=judged.workers,
            command=command,
            partial=kept.with_suffix(".partial"),
            progress=progress,
        )
        its = details.measure(
            compared, files, protocol, boxes, workers=judged.workers, progress=progress
        )
        found = report, its
        _keep(kept, *found)
    crops = _cropper(protocol, judged.workers) if drawn else None
    return Bench(*found, compared, files, protocol, drawn, crops)


def places(study: Study, protocol: Protocol) -> dict[str, Box]:
    """Return the parts of the face that a study compares, where the framing tells their place."""
    found = {
        its.name: details.framed(
            details.place(its.landmark, its.width, its.height), protocol.framing, protocol.size
        )
        for its in study.regions
    }
    return {name: box for name, box in found.items() if box is not None}


def _cropper(protocol: Protocol, workers: int | None) -> Callable[[Sequence[Path]], torch.Tensor]:
    finder = Finder(default_store(), workers)
    return lambda photos: finder.crops(finder.find(photos), protocol.size)


def _key(
    protocol: Protocol,
    compared: Sequence[Column],
    files: Sequence[Path],
    boxes: Mapping[str, Box],
    faces: Mapping[str, Any] | None,
    people: inputs.FaceSet | None,
) -> str:
    """Return what changes where anything changes that a figure follows from."""
    photos = [photo for person in people.people for photo in person.photos] if people else []
    values = [
        protocol.stamp(files),
        [(column.name, column.sha256) for column in compared],
        dict(boxes),
        faces,
        fingerprint(photos) if photos else None,
        [(p.name, [photo.name for photo in p.photos]) for p in people.drawn] if people else None,
    ]
    return hashlib.sha256(json.dumps(values, default=str).encode()).hexdigest()[:12]


def _read(file: Path) -> tuple[Report, Details] | None:
    """Return what was measured; None where it wasn't, or by another version of srkit."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return Report.from_json(found["report"]), Details.from_json(found["details"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _keep(file: Path, report: Report, its: Details) -> None:
    write_text(file, json.dumps({"report": report.as_json(), "details": its.as_json()}))


def write(study: Study, plan: Schedule, out: Path, bench: Bench) -> Path:
    """Write the report, and its figures as JSON and as a table for people.

    Returns:
        The page.

    Raises:
        InputError: The folder can't be written.
    """
    logs = shares.logs_of(plan, out)
    decided = verdicts.decide(study, plan, bench.report, bench.details)
    its = bench.report
    made = [
        beside.claims(study, plan, decided),
        beside.quality(study, its.quality) if its.quality and study.quality else None,
        shares.batches(study, plan, logs),
        beside.distances(study, its),
        *rebuilt.sections(study, bench),
    ]
    where = page.write(
        its,
        out / PAGE,
        sections=[section for section in made if section],
        title=f"{study.name}: {study.title}, repeated",
    )
    figures = digest.summary(study, plan, bench, logs)
    write_text(out / PAGE / SUMMARY, json.dumps(figures, indent=1) + "\n")
    write_text(out / PAGE / TABLE, digest.markdown(figures))
    return where
