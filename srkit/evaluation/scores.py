"""Single scores as CSV, for pandas and the like.

Tidy: a row is one observation, with a column for each metric, since metrics have different units.
``frame.groupby("column").mean(numeric_only=True)`` is the table, and
``frame.pivot(index="picture", columns="column", values="psnr")`` sets models side by side.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srkit.errors import InputError
from srkit.files import atomic

if TYPE_CHECKING:
    from srkit.evaluation.report import Distances, Pairs, Quality, Report

Rows = Iterator[dict[str, Any]]


def write(report: Report, file: Path) -> list[Path]:
    """Write the scores of every image, and beside them the distances of every face.

    Every row has ``protocol`` (its name) and ``set`` (the files' fingerprint), so that rows of
    several benches can go into one table.

    Args:
        report: What was measured.
        file: A ``.csv`` for images. Distances go to ``NAME-identity.csv``, or to the file itself
            where nothing but identity was measured.

    Returns:
        The files that were written.

    Raises:
        InputError: A file can't be written.
    """
    images = list(_quality(report.quality)) if report.quality else []
    faces = list(
        chain(
            _distances(report.distances, "distances") if report.distances else (),
            _distances(report.whole, "whole") if report.whole else (),
            _pairs(report.pairs) if report.pairs else (),
        )
    )
    beside = file.with_name(f"{file.stem}-identity{file.suffix}") if images else file
    written = []
    for rows, place in ((images, file), (faces, beside)):
        if rows:
            _write(rows, place)
            written.append(place)
    return written


def _quality(quality: Quality) -> Rows:
    """Yield a row an image and method, each metric under its name."""
    about = _about(quality.protocol)
    for column, scores in quality.scores.items():
        for place, picture in enumerate(quality.pictures):
            row = {metric: scores[metric][place] for metric in scores}
            yield {**about, "picture": picture, "column": column, **row}


def _distances(distances: Distances, part: str) -> Rows:
    """Yield a row a probe and column: how far its result is from its person's base."""
    about = {**_about(distances.protocol), "part": part}
    for column in distances.columns:
        for row in distances.rows:
            who = {"person": row.person, "base": row.base, "photo": row.photo, "pair": None}
            value = {"same": True, "column": column, "distance": row.distances[column]}
            yield {**about, **who, **value}


def _pairs(pairs: Pairs) -> Rows:
    """Yield a row a drawn pair and column.

    ``pair`` counts same pairs and different pairs from 0, each in the order of their draw.
    """
    about = {**_about(pairs.protocol), "part": "pairs", "person": None, "base": None, "photo": None}
    for column, scores in pairs.columns.items():
        for same, distances in ((True, scores.same), (False, scores.different)):
            for pair, distance in enumerate(distances):
                value = {"pair": pair, "same": same, "column": column, "distance": distance}
                yield {**about, **value}


def _about(protocol: dict[str, Any]) -> dict[str, Any]:
    return {"protocol": protocol["name"], "set": protocol["fingerprint"]}


def _write(rows: list[dict[str, Any]], file: Path) -> None:
    try:
        with (
            atomic(file) as temporary,
            temporary.open("w", encoding="utf-8", errors="replace", newline="") as handle,
        ):
            # Floats are written in full; infinite ones as inf, which pandas reads as such.
            writer = csv.DictWriter(handle, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    except OSError as error:
        raise InputError(f"can't write {file}: {error.strerror or error}") from error
