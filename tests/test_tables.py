"""Tables of identity in the terminal: what they show, within how many columns."""

from __future__ import annotations

import io
import math
from dataclasses import replace

from reports import distances, pairs, quality, report
from rich.console import Console, RenderableType

from srkit.evaluation import tables
from srkit.evaluation.identity import Estimate
from srkit.evaluation.protocol import Protocol


def printed(what: RenderableType, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(what)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert max(map(len, text.splitlines()), default=0) <= width
    assert "…" not in text
    return text


def test_table_ii_is_the_papers_table() -> None:
    found = distances({"faces": 0.8, "[b]": 1.0})
    text = printed(tables.distances_table(found))
    lines = text.splitlines()
    assert lines[0] == "Identity distance (Table II), facenet (casia-webface)"
    heading = next(line for line in lines if "person" in line)
    order = [heading.index(word) for word in ("person", "photo", *found.columns)]
    assert order == sorted(order)
    for row in found.rows:
        line = next(line for line in lines if row.photo in line)
        assert all(f"{value:.4f}" in line for value in row.distances.values())
    mean = next(line for line in lines if "mean" in line)
    assert all(f"{found.mean(column):.4f}" in mean for column in found.columns)
    ratio = next(line for line in lines if "of bicubic" in line)
    assert f"{found.ratio('faces'):.3f}" in ratio
    low, high = found.interval("faces")
    assert f" {low:.3f}-" in text
    assert f" {high:.3f} " in text
    closed = next(line for line in lines if "gap closed" in line)
    assert closed.split()[2] == closed.split()[-1] == "-"  # the two ends of the gap
    assert f"{100 * found.closed('faces').value:.0f}%" in closed
    assert "photos without a face, 1: 07/07-2m.jpg" in text
    assert "people left out, 1: 07 (no probe with a face)" in text


def test_many_rows_are_left_to_the_files_and_many_columns_go_on_below() -> None:
    many = distances({f"model {n}": 0.5 + n / 10 for n in range(9)}, people=30)
    text = printed(tables.distances_table(many))
    assert "01-2m.jpg" not in text
    assert text.count("of bicubic") == 2
    for column in many.columns:
        assert f"{many.mean(column):.4f}" in text
    few = tables.distances_table(distances({"faces": 0.8}), "Everybody", rows=False)
    assert "01-2m.jpg" not in printed(few)
    assert "mean" in printed(few)
    names = [f"{n}/{n}.jpg" for n in range(7)]
    lost = printed(tables.distances_table(replace(many, no_face=names)))
    assert "photos without a face, 7: 0/0.jpg, 1/1.jpg, 2/2.jpg, 3/3.jpg, 4/4.jpg, ..." in lost


def test_verification_shows_every_rate_with_its_interval() -> None:
    found = pairs({"faces": 0.85})
    text = printed(tables.pairs_table(found))
    lines = text.splitlines()
    at = next(number for number, line in enumerate(lines) if line.split()[:1] == ["faces"])
    assert lines[at].split() == ["faces", ".850", ".150", ".425", ".212", ".283", "65%"]
    assert lines[at + 1].split()[:2] == [".830-.860", ".130-.160"]
    assert lines[at + 1].split("[")[1].strip() == "63, 66]"
    assert " FAR 0.001" in text
    assert "4 same and 4 different pairs, 1200 impostors, of 80 photos of 40 people" in text
    sizes = printed(tables.sizes_table(found))
    assert "8 px" in sizes
    assert "60 photos" in sizes
    assert sizes.count("TAR at FAR 0.01") == len(found.columns)
    assert printed(tables.sizes_table(replace(found, sizes=[]))).strip() == ""


def test_a_rate_that_isnt_defined_is_a_dash() -> None:
    found = pairs({"faces": 0.85})
    unknown = Estimate(math.nan, math.nan, math.nan)
    tar = {"0.01": found.columns["faces"].tar["0.01"]}  # too few impostors for the other
    its = replace(found.columns["faces"], closed=unknown, tar=tar)
    text = printed(tables.pairs_table(replace(found, columns={**found.columns, "faces": its})))
    row = next(line for line in text.splitlines() if line.split()[:1] == ["faces"])
    assert row.split() == ["faces", ".850", ".150", ".425", "-", ".283", "-"]


def test_what_is_measured_alike_is_printed_once() -> None:
    stamp = Protocol(seed=7).stamp([])
    first = " ".join(printed(tables.fine_print(stamp)).split())
    for said in ("protocol: name paper", "seed 7", "kernel bicubic", "noise 0.02", "torch "):
        assert said in first
    other = tables.fine_print({**stamp, "border": 4, "embedder": "dlib"}, stamp)
    assert printed(other).strip() == "protocol: as above, but border 4, embedder dlib"
    assert printed(tables.fine_print(stamp, stamp)).strip() == "protocol: as above"


def test_a_whole_report_fits_and_says_its_warnings() -> None:
    models = {"faces": 0.9, "runs/inception-gan/final": 1.0}
    made = report(
        models,
        quality=quality(models),
        distances=distances(models),
        whole=distances(models, people=12),
        pairs=pairs(dict.fromkeys(models, 0.8)),
    )
    text = printed(replace(made, warnings=["faces learned from this embedder"]).tables())
    assert "warning: faces learned from this embedder" in text
    assert text.count("protocol: ") == 4
    titles = ("Quality,", "(Table II)", "of everybody", "Verification,", "By the side of the input")
    assert [text.index(title) for title in titles] == sorted(map(text.index, titles))
