"""Two reports side by side: what may be compared, what is said of it, and what isn't compared."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from reports import distances, pairs, printed, quality, report
from srkit_compare.comparison import (
    Part,
    ProtocolMismatch,
    compare,
    compared_pairs,
)

from srkit import InputError
from srkit.evaluation import statistics
from srkit.evaluation.report import Report

Cli = Callable[..., tuple[int, str, str]]


def everything(models: dict[str, float], **changes: Any) -> Report:
    """A report with all parts; models' numbers are their gains in dB."""
    near = {name: 1 - gain / 4 for name, gain in models.items()}
    return report(
        models,
        quality=quality(models, **changes),
        distances=distances(near, **changes),
        everybody=distances(near, people=12, **changes),
        pairs=pairs({name: 0.8 + gain / 50 for name, gain in models.items()}, **changes),
    )


def means(part: Part) -> dict[tuple[str, ...], list[str]]:
    return {tuple(labels): [str(value) for value in values] for labels, values in part.means.rows}


def test_one_model_against_another_image_by_image() -> None:
    a, b = report({"old": 1.0}), report({"new": 1.5})
    comparison = compare(a, b)
    (part,) = comparison.parts
    assert part.name == "quality"
    psnr = [test for test in part.versus if test.metric == "psnr"]
    (test,) = psnr
    assert (test.a, test.b) == ("new (B)", "old (A)")
    assert a.quality is not None
    assert b.quality is not None
    theirs, ours = b.quality.scores["new"]["psnr"], a.quality.scores["old"]["psnr"]
    assert test.difference == statistics.difference(theirs, ours)
    assert test.difference.low < 0.5 < test.difference.high
    assert test.difference.p < 0.001
    assert [test.metric for test in part.versus] == ["psnr", "ssim", "lpips"]
    old, new = a.quality.mean("old", "psnr"), b.quality.mean("new", "psnr")
    beside = [f"{old:.2f}", f"{new:.2f}", f"{new - old:+.2f}"]
    assert means(part)["PSNR, dB", "old / new"] == beside
    bicubic = f"{a.quality.mean('bicubic', 'psnr'):.2f}"
    assert means(part)["PSNR, dB", "bicubic"] == [bicubic, bicubic, "0.00"]
    assert {metric for metric, _ in means(part)} == {"PSNR, dB", "SSIM", "LPIPS"}


def test_a_model_that_both_have_is_compared_with_itself() -> None:
    a, b = report({"faces": 1.0}), report({"faces": 1.2})
    b = replace(b, models={"faces": {"sha256": "e" * 64}})
    comparison = compare(a, b)
    assert comparison.notes == ["'faces' has other weights in B than in A"]
    test = comparison.parts[0].versus[0]
    assert (test.a, test.b) == ("faces (B)", "faces (A)")
    assert test.difference.mean == pytest.approx(0.2)
    same = compare(a, a)
    assert same.notes == []
    assert all(
        test.difference == statistics.Difference(0, 0, 0, 1) for test in same.parts[0].versus
    )


def test_models_are_held_against_the_other_reports_not_against_their_own() -> None:
    fixed = ["nearest", "bicubic", "lanczos", "LR", "HR"]
    assert compared_pairs([*fixed, "x"], [*fixed, "y"]) == [("x", "y")]
    assert compared_pairs([*fixed, "x", "y"], [*fixed, "x", "y"]) == [("x", "x"), ("y", "y")]
    assert compared_pairs(["x", "y"], ["y", "z"]) == [
        ("y", "y"),
        ("x", "y"),
        ("x", "z"),
        ("y", "z"),
    ]
    assert compared_pairs(fixed, fixed) == []


def test_several_pairs_of_models_are_corrected_for() -> None:
    a, b = report({"a": 0.5, "b": 0.52}), report({"c": 0.5, "d": 0.6})
    tests = [test for test in compare(a, b).parts[0].versus if test.metric == "psnr"]
    assert len(tests) == 4
    ps = [test.difference.p for test in tests]
    assert [test.p_adjusted for test in tests] == statistics.holm(ps)
    assert [test.p_adjusted for test in tests] != ps


def test_identity_is_compared_by_people() -> None:
    a, b = everything({"old": 1.0}), everything({"new": 1.6})
    comparison = compare(a, b)
    assert [part.name for part in comparison.parts] == [
        "quality",
        "distances",
        "everybody",
        "pairs",
    ]
    by_name = {part.name: part for part in comparison.parts}
    (test,) = by_name["distances"].versus
    assert test.difference.mean == pytest.approx(-0.15, abs=0.03)
    # Five people can't say more, whatever their ten probes do.
    assert test.difference.p == 2 / 2**5
    (of_all,) = by_name["everybody"].versus
    assert of_all.difference.p == 2 / 2**12
    assert by_name["pairs"].versus == []
    values = means(by_name["pairs"])
    assert values["AUC", "old / new"] == ["0.820", "0.832", "+0.012"]
    assert values["AUC", "HR"] == ["0.984", "0.984", "0.000"]
    assert values["TAR at FAR 0.001", "old / new"] == ["0.205", "0.208", "+0.003"]
    targets = {"TAR at FAR 0.01", "TAR at FAR 0.001"}
    assert {metric for metric, _ in values} == {"AUC", "EER", "rank-1", "gap closed", *targets}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 1}, "quality, seed: 0 and 1"),
        ({"border": 4}, "quality, border: 0 and 4"),
        ({"fingerprint": "0" * 16}, f"quality, fingerprint: {'f' * 16} and {'0' * 16}"),
        ({"framing": "square"}, "quality, framing: squash and square"),
        ({"seed": 1, "scale": 2}, "quality, scale: 4 and 2; quality, seed: 0 and 1"),
    ],
)
def test_other_protocols_are_refused_field_by_field(changes: dict[str, Any], message: str) -> None:
    measured = quality({"x": 1.0})
    other = replace(measured, protocol={**measured.protocol, **changes})
    with pytest.raises(ProtocolMismatch) as error:
        compare(report({"x": 1.0}), report({"x": 1.0}, quality=other), ("one.json", "two.json"))
    assert str(error.value) == (
        f"one.json and two.json were measured under different protocols: {message}"
    )
    assert error.value.status == 2


def test_another_embedder_or_other_people_are_refused() -> None:
    comparison = distances({"x": 1.0})
    a = report({"x": 1.0}, distances=comparison, pairs=pairs({"x": 0.9}))
    weights = {**comparison.protocol, "embedder_sha256": "d" * 64}
    b = replace(a, distances=replace(comparison, protocol=weights))
    with pytest.raises(ProtocolMismatch, match="identity distances, embedder_sha256: ccc"):
        compare(a, b)
    b = replace(a, distances=replace(comparison, rows=comparison.rows[:-1]))
    with pytest.raises(ProtocolMismatch, match="identity distances, faces: 10 and 9, not the same"):
        compare(a, b)
    b = replace(a, pairs=replace(pairs({"x": 0.9}), impostors=7))
    with pytest.raises(ProtocolMismatch, match="verification, impostors: 1200 and 7"):
        compare(a, b)


def test_of_several_judges_each_is_compared_with_itself() -> None:
    by_dlib = {"embedder": "dlib (x)", "embedder_sha256": "d" * 64}
    dlib = Report(distances=distances({"x": 0.9}, **by_dlib), pairs=pairs({"x": 0.7}, **by_dlib))
    both = replace(report({"x": 1.0}, distances=distances({"x": 0.8})), judges={"dlib": dlib})
    alone = report({"x": 1.0}, distances=dlib.distances, pairs=dlib.pairs)
    for a, b, missing in ((both, alone, "A"), (alone, both, "B")):
        comparison = compare(a, b)
        assert [part.name for part in comparison.parts] == ["distances", "pairs"]
        for part in comparison.parts:
            assert part.protocol["embedder"] == "dlib (x)"
            assert all(less in ("0.000", "0%", "-") for *_, less in means(part).values())
        title = "identity distances by facenet (casia-webface)"
        assert comparison.notes == [f"{title}: only in {missing}"]
        assert "Identity distances by dlib (x)" in printed(comparison.tables())
    comparison = compare(both, both)
    judges = [part.protocol["embedder"] for part in comparison.parts]
    assert judges == ["facenet (casia-webface)", "dlib (x)", "dlib (x)"]
    other = replace(dlib, pairs=pairs({"x": 0.7}, **{**by_dlib, "embedder_sha256": "e" * 64}))
    with pytest.raises(ProtocolMismatch, match=r"verification by dlib \(x\), embedder_sha256: ddd"):
        compare(both, replace(both, judges={"dlib": other}))
    with pytest.raises(InputError, match="no part in common"):
        compare(both, report({"x": 1.0}, distances=distances({"x": 1.0}, embedder="sface")))


def test_versions_and_the_choice_of_metrics_may_differ_and_are_said() -> None:
    measured = quality({"x": 1.0})
    versions = {**measured.protocol["versions"], "torch": "1.13"}
    other = replace(
        measured,
        protocol={
            **measured.protocol,
            **{"versions": versions, "metrics": ["psnr"], "name": "mine", "provider": "srkit 99"},
        },
        metrics={"psnr": measured.metrics["psnr"]},
        scores={name: {"psnr": tests["psnr"]} for name, tests in measured.scores.items()},
    )
    comparison = compare(report({"x": 1.0}, quality=measured), report({"x": 1.0}, quality=other))
    (part,) = comparison.parts
    assert part.versions == [
        f"torch: {measured.protocol['versions']['torch']} and 1.13",
        f"degradation: {measured.protocol['provider']} and srkit 99",
    ]
    assert {test.metric for test in part.versus} == {"psnr"}
    ssim = [values for (metric, _), values in means(part).items() if metric == "SSIM"]
    assert [(a == "-", b == "-") for a, b, _ in ssim] == [(False, True)] * 4
    assert "other versions: torch: " in " ".join(printed(comparison.tables()).split())


def test_what_only_one_has_is_said_and_nothing_in_common_is_refused() -> None:
    a = everything({"x": 1.0})
    comparison = compare(a, replace(a, pairs=None, everybody=None))
    assert comparison.notes == [
        "identity distances of everybody: only in A",
        "verification: only in A",
    ]
    assert [part.name for part in comparison.parts] == ["quality", "distances"]
    with pytest.raises(InputError, match="have no part in common") as error:
        compare(replace(a, quality=None, distances=None, everybody=None), replace(a, pairs=None))
    assert error.value.status == 2


def test_images_that_either_gives_exactly_count_in_neither() -> None:
    measured = quality({"x": 1.0})
    perfect = {**measured.scores["x"], "psnr": [math.inf, *measured.scores["x"]["psnr"][1:]]}
    a = report({"x": 1.0}, quality=replace(measured, scores={**measured.scores, "x": perfect}))
    test = compare(a, a).parts[0].versus[0]
    assert test.difference == statistics.Difference(0, 0, 0, 1)
    (part,) = (p for p in compare(report({"x": 1.0}), a).parts if p.name == "quality")
    assert part.versus[0].difference == statistics.Difference(0, 0, 0, 1)
    assert all(values[0].value == values[1].value for _, values in part.means.rows)
    assert f"infinite: {measured.images[0]}" in part.means.notes[0]
    json.dumps(part.as_json(), default=vars, allow_nan=False)


def test_the_reports_own_warnings_are_passed_on() -> None:
    a = replace(report({"x": 1.0}), warnings=["x was TRAINED ON 3 of these"])
    assert "B: x was TRAINED ON 3 of these" in compare(report({"x": 1.0}), a).notes


def test_the_tables_stay_within_a_terminal() -> None:
    both = compare(everything({"old": 1.0}), everything({"new [b]": 1.6}), ("a", "b/c"))
    text = printed(both.tables())
    plain = " ".join(text.split())
    for message in (
        "A: a B: b/c",
        "Quality",
        "PSNR, dB",
        "new [b] (B)",
        "old (A)",
        "Identity distances of everybody",
        "TAR at FAR 0.001",
        "< 0.001",
        "framing face",
    ):
        assert message in plain


def test_the_verb_compares_files_and_folders(tmp_path: Path, cli: Cli) -> None:
    report({"old": 1.0}).write(tmp_path / "a.json")
    report({"new": 1.5}).write(tmp_path / "b" / "report.json")
    status, out, err = cli(
        "compare", tmp_path / "a.json", tmp_path / "b", "--json", tmp_path / "c" / "both.json"
    )
    assert (status, err) == (0, "")
    assert "new (B)" in out
    assert "protocol: " in out
    written = json.loads((tmp_path / "c" / "both.json").read_text())
    assert written["format"] == "srkit compare 2"
    assert written["names"] == [str(tmp_path / "a.json"), str(tmp_path / "b")]
    assert written["parts"][0]["versus"][0]["a"] == "new (B)"


def test_a_json_that_cannot_be_written_is_said_before_any_table(tmp_path: Path, cli: Cli) -> None:
    file = tmp_path / "a.json"
    report({"x": 1.0}).write(file)
    status, out, error = cli("compare", file, file, "--json", file / "b.json")
    assert (status, out) == (2, "")
    assert "can't write" in error


def test_no_report_that_is_read_is_written_over(tmp_path: Path, cli: Cli) -> None:
    a, b = tmp_path / "a.json", tmp_path / "b" / "report.json"
    b.parent.mkdir()
    for file in (a, b):
        report({"x": 1.0}).write(file)
    for file in (a, b):
        status, _, err = cli("compare", a, b.parent, "--json", file)
        assert (status, err) == (2, f"srkit: {file} is an input; choose another place\n")


def test_the_verb_refuses_other_protocols(tmp_path: Path, cli: Cli) -> None:
    report({"x": 1.0}).write(tmp_path / "a.json")
    other = quality({"x": 1.0}, seed=3)
    report({"x": 1.0}, quality=other).write(tmp_path / "b.json")
    status, out, err = cli("compare", tmp_path / "a.json", tmp_path / "b.json")
    assert (status, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("srkit: ")
    assert line.endswith("under different protocols: quality, seed: 0 and 3")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "No such file"),
        ("{", "not JSON"),
        ("\x89PNG", "it isn't text"),
        ("[1, 2]", "this is a table"),
        ('{"models": {}, "format": "srkit bench 2"}', "no report of this version"),
        ('{"format": "srkit bench 3"}', "'models' is missing"),
        (
            '{"models": {}, "format": "srkit bench 3", "quality": {}}',
            "'quality.protocol' is missing",
        ),
    ],
)
def test_what_is_no_report_is_one_line(
    tmp_path: Path, refused: Callable[..., str], text: str | None, message: str
) -> None:
    report({"x": 1.0}).write(tmp_path / "a.json")
    if text is not None:
        (tmp_path / "b.json").write_text(text, encoding="latin-1")
    line = refused("compare", tmp_path / "a.json", tmp_path / "b.json")
    assert "b.json" in line
    assert message in line
