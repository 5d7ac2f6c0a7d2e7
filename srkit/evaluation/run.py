"""One call from names and folders to a report."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

from srkit.evaluation import coincidence, identity, inputs, quality
from srkit.evaluation.columns import BICUBIC, REFERENCES, Column, columns
from srkit.evaluation.examples import examples
from srkit.evaluation.inputs import Faces, FaceSet, Given
from srkit.evaluation.measuring import BATCH, Progress, ignore
from srkit.evaluation.protocol import DEFAULT, Protocol
from srkit.evaluation.publish import publish
from srkit.evaluation.report import Report
from srkit.evaluation.store import Store, default_store
from srkit.imaging import codec
from srkit.inference.device import device_named
from srkit.inference.model import Model

__all__ = ["PARTIAL", "Faces", "Progress", "bench", "ignore", "lr_pictures", "machine"]

PARTIAL = "partial.sqlite"  # in a report's folder while it is being made


def bench(
    models: Given | Sequence[Given] = (),
    *,
    data: str | Path | None = None,
    protocol: str | Path | Protocol = DEFAULT,
    verify: str | Faces | None = None,
    verify_data: str | Path | None = None,
    others: Mapping[str, str | Path] | None = None,
    limit: int | None = None,
    device: str = "auto",
    workers: int | None = None,
    batch_size: int = BATCH,
    report: str | Path | None = None,
    partial: Path | None = None,
    command: str = "",
    progress: Progress = ignore,
) -> Report:
    """Measure models.

    Args:
        models: One or several: a model, or what `srkit.load` takes; the shipped default if
            neither these nor ``others`` are given.
        data: HR photos for quality: a folder (its ``test`` split, if it has one) or a data set's
            name. None leaves quality out, unless there is no ``verify`` either: then ``celeba``.
        protocol: A registered name, a TOML file, or a `Protocol`.
        verify: For identity: a registered face set's name, or a `Faces` with all its options.
        verify_data: The face set's folder or file, where ``verify`` is a name.
        others: Results of other programs, name to folder; see `srkit.evaluation.results`.
        limit: Use only the first so many pictures.
        device: Where models compute.
        workers: Threads that decode pictures.
        batch_size: Pictures enlarged at once.
        report: Folder for the page, the figures and the JSON. A bench that was killed goes on
            from what it left there.
        partial: File for scores of a bench that is killed, where there is no ``report``; deleted
            at the end.
        command: What repeats it, for the page.
        progress: Told what is done, how much, and of how much.

    Returns:
        What the tables, the page and the JSON are made of.

    Raises:
        SrkitError: A model, folder or weight file can't be had, or doesn't fit.
    """
    began = time.perf_counter()
    if not isinstance(protocol, Protocol):
        protocol = Protocol.named(protocol)
    faces = Faces(verify, verify_data) if isinstance(verify, str) else verify
    # Everything that can be missing is looked for before anything is computed.
    found = inputs.people(faces, protocol) if faces else None
    judge = faces.judge(device) if faces else None
    files = inputs.photos(data or "celeba", limit) if data or not faces else []
    made = inputs.models(models, others, device)
    compared = columns([*made, *inputs.others(others, protocol.scale)], protocol.scale)
    folder = Path(report) if report else None
    unfinished = partial or (folder / PARTIAL if folder else None)
    kept = Store(unfinished) if unfinished else None

    scored = None
    if files:
        scored = quality.measure(
            compared,
            files,
            protocol,
            workers=workers,
            batch_size=batch_size,
            partial=kept,
            device=device_named(device),
            progress=progress,
        )
    parts: dict[str, Any] = {}
    if faces and found:
        how = {"workers": workers, "batch_size": batch_size, "progress": progress}
        parts = _verify(compared, faces, found, judge, inputs.by_face(protocol), how)
    said = coincidence.warnings([m for m in made if isinstance(m, Model)], judge) if judge else []
    result = Report(
        {column.name: _about(column) for column in compared},
        quality=scored,
        **parts,
        warnings=said,
        examples=list(examples(scored, compared, files, protocol)) if folder and scored else [],
        run={
            "command": command,
            "seconds": round(time.perf_counter() - began, 1),
            "machine": machine(device),
        },
    )
    if folder:
        publish(result, folder)
    if kept:
        kept.delete()
    return result


def lr_pictures(
    *,
    data: str | Path | None = None,
    protocol: str | Path | Protocol = DEFAULT,
    faces: Faces | None = None,
    limit: int | None = None,
    workers: int | None = None,
) -> Iterator[np.ndarray]:
    """Yield every LR picture that `bench` would enlarge, uint8, ``hw3``, for other programs.

    Raises:
        SrkitError: See `bench`.
    """
    if not isinstance(protocol, Protocol):
        protocol = Protocol.named(protocol)
    found = inputs.people(faces, protocol) if faces else None
    files = inputs.photos(data or "celeba", limit) if data or not faces else []
    of_photos = (protocol.degrade(protocol.hr(file)) for file in files)
    pictures = (codec.to_uint8(lr)[0].permute(1, 2, 0).numpy() for lr in of_photos)
    if faces is None or found is None:
        return pictures
    return chain(pictures, _faces_lr(faces, found, inputs.by_face(protocol), workers))


def machine(device: str = "auto") -> dict[str, Any]:
    """Return what figures of time depend on."""
    return {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": str(device_named(device)),
        "system": platform.system(),
    }


def _about(column: Column) -> dict[str, Any]:
    known = {k: column.metadata[k] for k in ("provider", "step", "source") if k in column.metadata}
    return {"sha256": column.sha256, "licence": column.licence, **known}


def _verify(
    compared: list[Column],
    faces: Faces,
    found: FaceSet,
    judge: Any,
    protocol: Protocol,
    how: dict[str, Any],
) -> dict[str, Any]:
    # Of the interpolations bicubic is enough here: the others say the same.
    shown = [c for c in compared if c.name == BICUBIC or c.name not in REFERENCES]
    how = {"store": default_store(), "align": faces.align, **how}
    parts: dict[str, Any] = {}
    if found.drawn:
        parts["distances"] = identity.distances(
            shown, found.drawn, judge, protocol, base="drawn", **how
        )
    if found.whole:
        parts["whole"] = identity.distances(
            shown, found.people, judge, protocol, base="first", **how
        )
    if found.pairs:
        parts["pairs"] = identity.pairs(
            shown, found.people, judge, protocol, **_drawing(faces, found), **how
        )
    return parts


def _drawing(faces: Faces, found: FaceSet) -> dict[str, Any]:
    return {
        "pairs": found.pairs,
        "sides": tuple(faces.sides),
        "size_pairs": faces.size_pairs,
    }


def _faces_lr(
    faces: Faces, found: FaceSet, protocol: Protocol, workers: int | None
) -> Iterator[np.ndarray]:
    how: dict[str, Any] = {"store": default_store(), "workers": workers}
    if found.drawn:
        yield from identity.lr_of_distances(found.drawn, protocol, base="drawn", **how)
    if found.whole:
        yield from identity.lr_of_distances(found.people, protocol, base="first", **how)
    if found.pairs:
        yield from identity.lr_of_pairs(found.people, protocol, **_drawing(faces, found), **how)
