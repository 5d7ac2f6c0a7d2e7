"""Tables: what they show, within which width, and which method they call the best."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from functools import partial

import pytest
from reports import distances, pairs, printed, quality, report
from rich.console import Console

from srkit.evaluation.protocol import Protocol
from srkit.evaluation.report import Quality, Report
from srkit.evaluation.statistics import Estimate
from srkit.evaluation.tables import Table, Tables, Value, fine_print


def tables(result: Report) -> dict[str, Table]:
    return {table.name: table for table in result.tables()}


def cells(table: Table, method: str) -> list[str]:
    """The numbers of the first row of a method."""
    values = next(values for labels, values in table.rows if labels[0] == method)
    return [f"{value} {value.interval}".strip() for value in values]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Value(1.23456, 1.0, 1.5, 2), "1.23 [1.00, 1.50]"),
        (Value(-0.0001, -0.5, 0.25, 2, "signed"), "0.00 [-0.50, +0.25]"),
        (Value(math.inf, math.inf, math.inf, 2, "signed"), "+inf [+inf, +inf]"),
        (Value(0.654, 0.63, 0.66, kind="percent"), "65% [63%, 66%]"),
        (Value(0.0004, kind="p"), "< 0.001"),
        (Value(0.0416, kind="p"), "0.042"),
        (Value(math.nan), "-"),
    ],
)
def test_numbers(value: Value, text: str) -> None:
    assert f"{value} {value.interval}".strip() == text


def test_table_ii_is_the_papers_table_and_says_what_it_comes_to() -> None:
    measured = distances({"faces": 0.8, "[b]": 1.0})
    by_name = tables(report({}, distances=measured))
    assert list(by_name) == ["photos", "distances"]
    listed = by_name["photos"]
    assert listed.title == "Identity distance (Table II), facenet (casia-webface)"
    assert (listed.labels, listed.headings) == (["person", "photo"], measured.methods)
    for row, (labels, values) in zip(measured.rows, listed.rows, strict=True):
        assert labels == [row.person, row.photo]
        assert [str(value) for value in values] == [f"{d:.4f}" for d in row.distances.values()]
    low, high = measured.interval("faces")
    distance, ratio, closed = cells(by_name["distances"], "faces")
    assert distance == f"{measured.mean('faces'):.3f} [{low:.3f}, {high:.3f}]"
    assert ratio == f"{measured.ratio('faces'):.3f}"
    assert closed.startswith(f"{100 * measured.closed('faces').value:.0f}% [")
    assert cells(by_name["distances"], "LR")[2] == cells(by_name["distances"], "HR")[2] == "-"
    notes = by_name["distances"].notes
    assert "photos without a face, 1: 07/07-2m.jpg" in notes
    assert "people left out, 1: 07 (no probe with a face)" in notes


def test_many_rows_are_left_to_the_files_and_what_is_too_wide_goes_on_below() -> None:
    many = distances({f"model {n}": 0.5 + n / 10 for n in range(9)}, people=30)
    by_name = tables(report({}, distances=many, everybody=many))
    assert list(by_name) == ["distances", "everybody"]
    few = distances(dict.fromkeys(many.methods[2:-1], 0.5))
    text = printed(tables(report({}, distances=few))["photos"])
    assert text.count("photo ") == 2
    for method in few.methods:
        assert f"{few.rows[0].distances[method]:.4f}" in text
    names = [f"{n}/{n}.jpg" for n in range(7)]
    lost = tables(report({}, distances=replace(many, no_face=names)))["distances"].notes
    assert "photos without a face, 7: 0/0.jpg, 1/1.jpg, 2/2.jpg, 3/3.jpg, 4/4.jpg, ..." in lost


def test_verification_shows_every_rate_with_its_interval() -> None:
    measured = pairs({"faces": 0.85})
    by_name = tables(report({}, pairs=measured))
    assert cells(by_name["pairs"], "faces") == [
        *("0.850 [0.830, 0.860]", "0.150 [0.130, 0.160]", "0.425 [0.405, 0.435]"),
        *("0.212 [0.193, 0.223]", "0.283 [0.263, 0.293]", "65% [63%, 66%]"),
    ]
    assert by_name["pairs"].headings[3] == "TAR at FAR 0.001"
    note = "4 same and 4 different pairs, 1200 impostors, of 80 photos of 40 people"
    assert by_name["pairs"].notes[0].startswith(note)
    assert by_name["sizes"].headings == ["8 px", "16 px"]
    assert by_name["sizes"].notes == ["60 photos at 8 px, 60 photos at 16 px"]
    assert [labels for labels, _ in by_name["sizes"].rows[:2]] == [
        ["LR", "AUC"],
        ["LR", "TAR at FAR 0.01"],
    ]
    assert list(tables(report({}, pairs=replace(measured, sizes=[])))) == ["pairs"]
    # Too few impostors for one rate, and a share that isn't defined.
    unknown = Estimate(math.nan, math.nan, math.nan)
    tar = {"0.01": measured.scores["faces"].tar["0.01"]}
    one = replace(measured.scores["faces"], closed=unknown, tar=tar)
    by_name = tables(report({}, pairs=replace(measured, scores={**measured.scores, "faces": one})))
    assert [cell for cell in cells(by_name["pairs"], "faces") if cell == "-"] == ["-"] * 2


def bold(table: Table, heading: int = 0) -> list[str]:
    return [labels[0] for labels, values in table.rows if values[heading].best]


def test_nobody_is_the_best_where_another_may_be_as_good() -> None:
    def best(result: Quality) -> list[str]:
        return bold(tables(report({}, quality=result))["quality"])

    assert best(quality({"old": 1.0, "better": 2.0})) == ["better"]
    assert best(quality({"old": 1.0, "better": 1.0})) == []
    result = quality({"old": 1.0, "better": 2.0})
    scores = {name: {"lpips": by_name["lpips"]} for name, by_name in result.scores.items()}
    lower = replace(result, metrics={"lpips": result.metrics["lpips"]}, scores=scores)
    assert best(lower) == ["better"]
    six = partial(distances, people=6)
    assert bold(tables(report({}, distances=six({"a": 0.5, "b": 0.9})))["distances"]) == ["a"]
    assert bold(tables(report({}, distances=six({"a": 0.5, "b": 0.5})))["distances"]) == []
    assert bold(tables(report({}, pairs=pairs({"a": 0.9, "b": 0.85})))["pairs"]) == ["a"]
    assert bold(tables(report({}, pairs=pairs({"a": 0.9, "b": 0.89})))["pairs"]) == []


def test_nobody_is_the_best_of_what_no_test_can_tell() -> None:
    """Of five differences of one sign the permutation test's p is 2 / 32."""
    few, enough = (quality({"better": 9.0}, count) for count in (5, 6))
    assert [test.difference.p for test in few.versus] == []
    means = tables(report({}, quality=few))["quality"]
    assert bold(means) == []
    assert "nothing is bold: fewer than 6 images can't tell methods apart" in means.notes
    assert bold(tables(report({}, quality=enough))["quality"]) == ["better"]
    five = tables(report({}, distances=distances({"a": 0.5, "b": 0.9})))["distances"]
    assert bold(five) == []
    assert "fewer than 6 people can't tell methods apart" in five.notes[0]
    one = tables(report({}, quality=quality({"better": 9.0}, 1)))["gains"]
    assert all(value.interval == "" for _, values in one.rows for value in values)


def test_markdown() -> None:
    rows = [(["a|b"], [Value(1.5, 1, 2, 1, best=True), Value(math.nan)])]
    table = Table("t", "T", ["method"], ["PSNR, dB", "x"], rows)
    assert table.markdown() == (
        "| method | PSNR, dB | x |\n| --- | ---: | ---: |\n| a\\|b | **1.5** [1.0, 2.0] | - |\n"
    )

    whole = replace(report({"one": 1.0}), warnings=["mind this"]).tables().markdown()
    titles = ("warning: mind", "**Quality, ", "| bicubic | ", "**Gain over", "protocol: name paper")
    assert [whole.index(title) for title in titles] == sorted(map(whole.index, titles))


def test_names_do_not_steer_the_terminal() -> None:
    hostile = "a\x1b[31m\nb"
    rows = [([hostile, "method"], [Value(1.5)])]
    table = Table("t", "T", ["x", "y"], ["z"], rows, notes=(hostile,))
    output = io.StringIO()
    Console(file=output, force_terminal=False, width=80).print(Tables([table], [hostile]))
    assert "\x1b" not in output.getvalue()
    assert output.getvalue().count("a\\x1b[31m\\nb") == 3


def test_what_is_measured_alike_is_printed_once() -> None:
    stamp = Protocol(seed=7).stamp([])
    for note in ("name paper", "seed 7", "kernel bicubic", "noise 0.02", "torch "):
        assert note in fine_print(stamp)
    other = fine_print({**stamp, "border": 4, "embedder": "dlib"}, stamp)
    assert other == "as above, but border 4, embedder dlib"
    assert fine_print(stamp, stamp) == "as above"


@pytest.mark.parametrize("width", [80, 100, 200])
def test_a_whole_report_fits_and_says_its_warnings(width: int) -> None:
    models = {"faces": 0.9, "runs/inception-gan/final": 1.0}
    whole = distances(models, people=12, seed=8)
    result = report(
        models,
        **{"quality": quality(models), "distances": distances(models), "everybody": whole},
        pairs=pairs(dict.fromkeys(models, 0.8)),
    )
    text = printed(replace(result, warnings=["faces learned from this embedder"]).tables(), width)
    assert "warning: faces learned from this embedder" in text
    assert text.count("protocol: ") == 4
    titles = ("Quality,", "(Table II)", "of everybody", "Verification,", "by the side of LR")
    assert [text.index(title) for title in titles] == sorted(map(text.index, titles))
