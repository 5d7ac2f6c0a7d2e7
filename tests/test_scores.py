"""Single scores as files for pandas and the like."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from reports import distances, pairs, quality, report
from srkit_report.scores import write


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def test_a_row_is_an_image_and_a_method(tmp_path: Path) -> None:
    measured = quality({"faces": 1.0, 'a "b", c': 0.5})
    measured.scores["faces"]["psnr"][0] = math.inf
    write(report({}, quality=measured), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["scores.csv"]
    rows = rows_of(tmp_path / "scores.csv")
    assert list(rows[0]) == ["protocol", "set", "image", "method", "psnr", "ssim", "lpips"]
    assert len(rows) == 5 * 30
    assert {(row["protocol"], row["set"]) for row in rows} == {("paper", "f" * 16)}
    for row in rows:
        index = measured.images.index(row["image"])
        for metric in measured.metrics:
            assert float(row[metric]) == measured.scores[row["method"]][metric][index]


def test_distances_are_in_a_file_of_their_own(tmp_path: Path) -> None:
    d, p = distances({"faces": 0.8}), pairs({"faces": 0.85})
    parts = {"distances": d, "everybody": distances({"faces": 0.8}, people=12), "pairs": p}
    (tmp_path / "scores.csv").write_text("of an earlier report")
    write(report({}, **parts), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["scores-identity.csv"]
    rows = rows_of(tmp_path / "scores-identity.csv")
    counts = {part: sum(row["part"] == part for row in rows) for part in parts}
    assert counts == {"distances": 10 * 4, "everybody": 24 * 4, "pairs": 8 * 4}
    first = rows[0]
    assert (first["person"], first["base"], first["photo"]) == ("00", "00-1m.jpg", "00-2m.jpg")
    assert (first["method"], first["pair"], first["same"]) == ("LR", "", "True")
    assert float(first["distance"]) == d.rows[0].distances["LR"]
    assert first["embedder"] == "facenet (casia-webface)"
    same, different = (
        [
            float(row["distance"])
            for row in rows
            if (row["part"], row["method"], row["same"]) == ("pairs", "faces", same)
        ]
        for same in ("True", "False")
    )
    assert (same, different) == (p.scores["faces"].same, p.scores["faces"].different)
