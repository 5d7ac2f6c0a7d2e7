"""Single scores as a file for pandas and the like: CSV or Parquet, by the suffix.

Tidy: a row is one observation, with a column for each metric, since metrics have different units.
``frame.groupby("column").mean(numeric_only=True)`` is the table, and
``frame.pivot(index="picture", columns="column", values="psnr")`` sets models side by side.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srkit.errors import InputError, nearest
from srkit.files import atomic

if TYPE_CHECKING:
    from srkit.evaluation.identity import Distances, Pairs
    from srkit.evaluation.quality import Quality
    from srkit.evaluation.report import Report

SUFFIXES = (".csv", ".parquet")
Rows = list[dict[str, Any]]


def check(file: Path) -> None:
    """See that scores can be written to a file of this name, before anything is computed.

    Raises:
        InputError: It has another suffix, or pyarrow isn't installed.
    """
    if file.suffix not in SUFFIXES:
        hint = nearest(file.suffix, SUFFIXES)
        raise InputError(f"scores go to a .csv or .parquet file, not to '{file}'{hint}")
    if file.suffix == ".parquet":
        _parquet()


def write(report: Report, file: Path) -> list[Path]:
    """Write the scores of every picture, and beside them the distances of every face.

    Args:
        report: What was measured.
        file: ``.csv`` or ``.parquet``, for pictures. Distances go to ``NAME-identity`` of the
            same suffix, or to the file itself where nothing but identity was measured.

    Returns:
        The files that were written.

    Raises:
        InputError: See `check`; or the file can't be written.
    """
    check(file)
    of_pictures = quality_rows(report.quality) if report.quality else []
    of_faces = [
        *(distance_rows(report.distances, "distances") if report.distances else []),
        *(distance_rows(report.whole, "whole") if report.whole else []),
        *(pair_rows(report.pairs) if report.pairs else []),
    ]
    beside = file.with_name(f"{file.stem}-identity{file.suffix}") if of_pictures else file
    written = []
    for rows, where in ((of_pictures, file), (of_faces, beside)):
        if rows:
            _write(rows, where)
            written.append(where)
    return written


def quality_rows(quality: Quality) -> Rows:
    """Return a row a picture and column.

    Returns:
        ``protocol`` (its name), ``set`` (the files' fingerprint, so that rows of several benches
        can go into one table), ``picture``, ``column``, and each metric under its name.
    """
    about = _about(quality.protocol)
    return [
        {**about, "picture": picture, "column": column}
        | {metric: scores[place] for metric, scores in its.items()}
        for column, its in quality.scores.items()
        for place, picture in enumerate(quality.pictures)
    ]


def distance_rows(found: Distances, part: str) -> Rows:
    """Return a row a probe and column: how far its result is from its person's base.

    Returns:
        ``protocol``, ``set``, ``part``, ``person``, ``base``, ``photo``, ``pair`` (None), ``same``
        (True), ``column``, ``distance``.
    """
    about = {**_about(found.protocol), "part": part}
    return [
        {**about, "person": row.person, "base": row.base, "photo": row.photo}
        | {"pair": None, "same": True, "column": column, "distance": row.distances[column]}
        for column in found.columns
        for row in found.rows
    ]


def pair_rows(found: Pairs) -> Rows:
    """Return a row a drawn pair and column; the columns as of `distance_rows`.

    ``pair`` counts same pairs and different pairs from 0, each in the order of their draw.
    """
    about = {**_about(found.protocol), "part": "pairs", "person": None, "base": None, "photo": None}

    def each() -> Iterator[dict[str, Any]]:
        for column, its in found.columns.items():
            for same, distances in ((True, its.same), (False, its.different)):
                for pair, distance in enumerate(distances):
                    about_it = {"pair": pair, "same": same, "column": column}
                    yield {**about, **about_it, "distance": distance}

    return list(each())


def _about(protocol: dict[str, Any]) -> dict[str, Any]:
    return {"protocol": protocol["name"], "set": protocol["fingerprint"]}


def _write(rows: Rows, file: Path) -> None:
    try:
        with atomic(file) as temporary:
            if file.suffix == ".parquet":
                arrow, parquet = _parquet()
                parquet.write_table(arrow.Table.from_pylist(rows), temporary)
                return
            with temporary.open("w", encoding="utf-8", errors="replace", newline="") as handle:
                # Floats are written in full; infinite ones as inf, which pandas reads as such.
                writer = csv.DictWriter(handle, list(rows[0]), lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)
    except OSError as error:
        raise InputError(f"can't write {file}: {error.strerror or error}") from error


def _parquet() -> tuple[Any, Any]:
    try:
        return import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError as error:
        raise InputError(
            "Parquet needs pyarrow: pip install 'srkit[parquet]'; or name a .csv file"
        ) from error
