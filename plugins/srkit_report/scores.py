"""Single scores as CSV, for pandas and the like.

A row is one observation, with a column for each metric, since metrics have different units.
``frame.groupby("method").mean(numeric_only=True)`` is the table, and
``frame.pivot(index="image", columns="method", values="psnr")`` sets models side by side.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srkit.files import atomic

if TYPE_CHECKING:
    from srkit.evaluation.report import Distances, Pairs, Quality, Report

IMAGES, IDENTITY = "scores.csv", "scores-identity.csv"
Rows = Iterator[dict[str, Any]]


def write(report: Report, folder: Path) -> None:
    """Write the scores of every image, and the distances of every face.

    Every row has ``protocol`` (its name) and ``set`` (the files' fingerprint), so that rows of
    several benches can go into one table.

    Args:
        report: What was measured.
        folder: Gets ``scores.csv`` and ``scores-identity.csv``, each if there is something for it;
            else one that was there before is removed.
    """
    for name, rows in ((IMAGES, _images(report.quality)), (IDENTITY, _identity(report))):
        table = list(rows)
        if not table:
            (folder / name).unlink(missing_ok=True)
            continue
        text = io.StringIO()
        # Floats are written in full; infinite ones as inf, which pandas reads as such.
        writer = csv.DictWriter(text, list(table[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)
        save(folder / name, text.getvalue().encode("utf-8", "replace"))


def _images(quality: Quality | None) -> Rows:
    """Yield a row an image and method, each metric under its name."""
    if quality:
        stamp = _stamp(quality.protocol)
        for method, scores in quality.scores.items():
            for index, image in enumerate(quality.images):
                values = {metric: scores[metric][index] for metric in scores}
                yield {**stamp, "image": image, "method": method, **values}


def _identity(report: Report) -> Rows:
    for _, measures in report.by_judge():
        for part in ("distances", "everybody"):
            if distances := getattr(measures, part):
                yield from _distances(distances, part)
        if measures.pairs:
            yield from _pairs(measures.pairs)


def _distances(distances: Distances, part: str) -> Rows:
    """Yield a row a probe and method: how far its result is from its person's base."""
    stamp = {**_judged(distances.protocol), "part": part}
    for method in distances.methods:
        for row in distances.rows:
            photos = {"person": row.person, "base": row.base, "photo": row.photo, "pair": None}
            value = {"same": True, "method": method, "distance": row.distances[method]}
            yield {**stamp, **photos, **value}


def _pairs(pairs: Pairs) -> Rows:
    """Yield a row a drawn pair and method.

    ``pair`` counts same pairs and different pairs from 0, each in the order of their draw.
    """
    photos = {"person": None, "base": None, "photo": None}
    stamp = {**_judged(pairs.protocol), "part": "pairs", **photos}
    for method, scores in pairs.scores.items():
        for same, distances in ((True, scores.same), (False, scores.different)):
            for pair, distance in enumerate(distances):
                value = {"pair": pair, "same": same, "method": method, "distance": distance}
                yield {**stamp, **value}


def _judged(protocol: Mapping[str, Any]) -> dict[str, Any]:
    return {**_stamp(protocol), "embedder": protocol["embedder"]}


def _stamp(protocol: Mapping[str, Any]) -> dict[str, Any]:
    return {"protocol": protocol["name"], "set": protocol["fingerprint"]}


def save(file: Path, content: bytes) -> None:
    """Write a file that appears only when it is whole."""
    with atomic(file) as temporary:
        temporary.write_bytes(content)
