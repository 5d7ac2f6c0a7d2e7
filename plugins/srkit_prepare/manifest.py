"""The manifest: one row for every face, and one for every photo without any.

The finished manifest is sorted. While it comes into being, photos are appended as they are done;
each row says how many faces its photo has, so a photo that a kill has cut short is noticed.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from srkit.errors import InputError
from srkit.faces.align import Placement
from srkit.files import atomic
from srkit.hookspecs import Face

FILE = "manifest.csv"
UNFINISHED = ".manifest.part"
LANDMARKS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
COLUMNS = (
    *("photo", "sha256", "faces", "face", "status", "reason", "output"),
    *("left", "top", "right", "bottom", "probability"),
    *(f"{landmark}_{axis}" for landmark in LANDMARKS for axis in "xy"),
    *("scale", "outside"),
)
WRITTEN, REJECTED, NO_FACE, UNREADABLE = "written", "rejected", "no face", "unreadable"

Row = dict[str, str]


def photo_row(photo: str, digest: str, status: str = "", reason: str = "", faces: int = 0) -> Row:
    """Return the row of a photo; columns that say nothing of it are empty."""
    known = {"photo": photo, "sha256": digest, "faces": str(faces)}
    return dict.fromkeys(COLUMNS, "") | known | {"status": status, "reason": reason}


def face_columns(face: Face, placement: Placement | None) -> Row:
    """Return where a face is, and its crop if its landmarks are a face's."""
    corners = zip(("left", "top", "right", "bottom"), face.box, strict=True)
    row = {name: f"{value:.2f}" for name, value in corners}
    row["probability"] = f"{face.probability:.4f}"
    for name, (x, y) in zip(LANDMARKS, face.landmarks, strict=True):
        row |= {f"{name}_x": f"{x:.2f}", f"{name}_y": f"{y:.2f}"}
    if placement:
        row |= {"scale": f"{placement.scale:.4f}", "outside": f"{placement.outside:.4f}"}
    return row


def write(file: Path, rows: Iterable[Row]) -> None:
    """Write a manifest; it appears when it is whole."""
    with atomic(file) as temporary:
        temporary.write_text(f"{','.join(COLUMNS)}\n")
        append(temporary, rows)


def append(file: Path, rows: Iterable[Row]) -> None:
    """Add rows to a manifest."""
    # File names of other encodings come and go as the bytes they are.
    with file.open("a", encoding="utf-8", errors="surrogateescape", newline="") as handle:
        csv.DictWriter(handle, COLUMNS, lineterminator="\n").writerows(rows)


def read(file: Path) -> dict[str, list[Row]]:
    """Return the rows of a manifest by photo; photos that aren't whole are left out.

    Raises:
        InputError: It is not a manifest, one of another version, or damaged.
    """
    if not file.is_file():
        return {}
    with file.open(encoding="utf-8", errors="surrogateescape", newline="") as handle:
        text = handle.read()
    # A last line without its end may be torn anywhere.
    whole = io.StringIO(text[: text.rfind("\n") + 1], newline="")
    photos: dict[str, list[Row]] = {}
    try:
        header, *rows = [*csv.reader(whole)] or [COLUMNS]
        if tuple(header) != COLUMNS:
            raise ValueError("other columns")
        for values in rows:
            if len(values) == len(COLUMNS):
                row = dict(zip(COLUMNS, values, strict=True))
                order(row)
                photos.setdefault(row["photo"], []).append(row)
        return {
            photo: rows
            for photo, rows in photos.items()
            if len(rows) == max(1, int(rows[0]["faces"]))
        }
    except (csv.Error, ValueError) as error:
        what = f"{file} is no manifest of this version of 'srkit prepare' ({error})"
        raise InputError(f"{what}; choose another folder") from error


def order(row: Row) -> tuple[str, int]:
    """Return what a finished manifest is sorted by: photo, then face."""
    return row["photo"], int(row["face"] or 0)
