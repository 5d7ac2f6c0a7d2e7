"""Single scores as files for pandas and the like."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import pytest
from reports import distances, pairs, quality, report

from srkit import InputError
from srkit.evaluation import scores


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def test_a_row_is_a_picture_in_a_column(tmp_path: Path) -> None:
    found = quality({"faces": 1.0, 'a "b", c': 0.5})
    found.scores["faces"]["psnr"][0] = math.inf
    (file,) = scores.write(report({}, quality=found), tmp_path / "new" / "scores.csv")
    assert [p.name for p in file.parent.iterdir()] == ["scores.csv"]
    rows = rows_of(file)
    assert list(rows[0]) == ["protocol", "set", "picture", "column", "psnr", "ssim", "lpips"]
    assert len(rows) == 5 * 30
    assert {(row["protocol"], row["set"]) for row in rows} == {("paper", "f" * 16)}
    for row in rows:
        place = found.pictures.index(row["picture"])
        for metric in found.metrics:
            assert float(row[metric]) == found.scores[row["column"]][metric][place]


def test_distances_lie_beside_the_scores_or_stand_alone(tmp_path: Path) -> None:
    d, p = distances({"faces": 0.8}), pairs({"faces": 0.85})
    parts = {"distances": d, "whole": distances({"faces": 0.8}, people=12), "pairs": p}
    both = report({}, quality=quality({"faces": 1.0}), **parts)
    files = scores.write(both, tmp_path / "scores.csv")
    assert [file.name for file in files] == ["scores.csv", "scores-identity.csv"]
    (alone,) = scores.write(replace(both, quality=None), tmp_path / "faces.csv")
    assert alone == tmp_path / "faces.csv"
    assert alone.read_bytes() == files[1].read_bytes()
    rows = rows_of(alone)
    counts = {part: sum(row["part"] == part for row in rows) for part in parts}
    assert counts == {"distances": 10 * 4, "whole": 24 * 4, "pairs": 8 * 4}
    first = rows[0]
    assert (first["person"], first["base"], first["photo"]) == ("00", "00-1m.jpg", "00-2m.jpg")
    assert (first["column"], first["pair"], first["same"]) == ("LR", "", "True")
    assert float(first["distance"]) == d.rows[0].distances["LR"]
    same, different = (
        [
            float(r["distance"])
            for r in rows
            if r["part"] == "pairs" and r["column"] == "faces" and r["same"] == said
        ]
        for said in ("True", "False")
    )
    assert (same, different) == (p.columns["faces"].same, p.columns["faces"].different)


def test_what_cant_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"can't write .*scores\.csv: "):
        scores.write(report({"faces": 1.0}), tmp_path / "file" / "scores.csv")
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]
