"""Trainings of recipes side by side: what goes together, and what is said of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from reports import distances, pairs, printed, quality, report
from scipy import stats
from srkit_compare.comparison import ProtocolMismatch, compare
from srkit_compare.seeds import NOTHING, SeedComparison, compare_seeds

from srkit import InputError
from srkit.errors import UnknownNameError
from srkit.evaluation.methods import methods
from srkit.evaluation.protocol import Protocol
from srkit.evaluation.report import Report
from srkit.models.load import load

Cli = Callable[..., tuple[int, str, str]]


def training(name: str, gain: float, seed: int, recipe: str = "gan", **parts: object) -> Report:
    """A report of one training."""
    about = {
        "sha256": f"{recipe}{seed}",
        "recipe": recipe,
        "recipe_sha256": recipe * 2,
        "seed": seed,
    }
    return replace(report({name: gain}, **(parts or {})), models={name: about})


def three(recipe: str = "gan", gains: tuple[float, ...] = (1.0, 1.2, 1.1)) -> list[Report]:
    """Reports of three seeds, whose models have names of their own."""
    return [training(f"{recipe}-{n}", gain, n, recipe) for n, gain in enumerate(gains)]


def together(reports: list[Report]) -> SeedComparison:
    return compare_seeds(reports, [f"{n}.json" for n in range(len(reports))])


def means(reports: list[Report], metric: str) -> list[float]:
    return [r.quality.mean(m, metric) for r in reports if r.quality for m in r.quality.models]


def test_three_seeds_are_one_column_with_its_spread() -> None:
    reports = three()
    found = together(reports)
    (part,) = found.parts
    assert part.table.headings == ["nearest", "bicubic", "lanczos", "gan, 3 seeds"]
    assert [labels for labels, _ in part.table.rows] == [["PSNR, dB"], ["SSIM"], ["LPIPS"]]
    value = part.table.rows[0][1][3]
    psnr = means(reports, "psnr")
    assert value.value == pytest.approx(sum(psnr) / 3)
    assert (value.low, value.high) == (min(psnr), max(psnr))
    assert not value.best
    column = part.columns[3]
    assert column.values == pytest.approx(psnr)
    assert column.sd == pytest.approx(stats.tstd(psnr))
    assert "gan, 3 seeds: seeds 0, 1, 2" in found.notes
    bicubic = part.table.rows[0][1][1]
    assert bicubic.interval == ""


def test_over_bicubic_it_is_a_t_test_of_the_seeds() -> None:
    reports = three()
    (part,) = together(reports).parts
    test = part.between[0]
    assert (test.metric, test.a, test.b) == ("PSNR, dB", "gan, 3 seeds", "bicubic")
    assert reports[0].quality is not None
    base = reports[0].quality.mean("bicubic", "psnr")
    theirs = stats.ttest_1samp(means(reports, "psnr"), base)
    low, high = theirs.confidence_interval(0.95)
    assert (test.low, test.high) == pytest.approx((low - base, high - base))
    assert test.p == pytest.approx(theirs.pvalue)


def test_two_recipes_are_told_apart_by_welch() -> None:
    gan, pixel = three(), three("pixel", (1.5, 1.55, 1.45))
    (part,) = together([*gan, *pixel]).parts
    assert part.table.headings[3:] == ["gan, 3 seeds", "pixel, 3 seeds"]
    psnr = [test for test in part.between if test.metric == "PSNR, dB"]
    assert [(test.a, test.b) for test in psnr] == [
        ("gan, 3 seeds", "bicubic"),
        ("pixel, 3 seeds", "bicubic"),
        ("pixel, 3 seeds", "gan, 3 seeds"),
    ]
    theirs = stats.ttest_ind(means(pixel, "psnr"), means(gan, "psnr"), equal_var=False)
    assert psnr[2].p == pytest.approx(theirs.pvalue)
    assert (psnr[2].low, psnr[2].high) == pytest.approx(theirs.confidence_interval(0.95))
    assert all(test.p_adjusted >= test.p for test in psnr)


def test_of_fewer_than_three_nothing_is_said() -> None:
    found = together([*three()[:2], *three("pixel")[:1]])
    (part,) = found.parts
    assert part.table.headings[3:] == ["gan, 2 seeds", "pixel, seed 0"]
    assert part.between == []
    assert found.tables().notes[0] == NOTHING
    assert [table.name for table in found.tables()] == ["seeds"]


def test_one_report_of_three_runs_is_enough() -> None:
    several = report({"a": 1.0, "b": 1.2, "c": 1.1})
    abouts = [training("x", 1.0, seed).models["x"] for seed in range(3)]
    several = replace(several, models=dict(zip("abc", abouts, strict=True)))
    assert together([several]).parts[0].table.headings[3:] == ["gan, 3 seeds"]
    with pytest.raises(InputError, match=r"0\.json: one report, and no two trainings"):
        together([report({"a": 1.0, "b": 1.2})])


def test_what_is_the_same_and_what_has_one_name() -> None:
    first, *others = three()
    # The same weights twice are one training; a repetition of a seed is one of another.
    assert together([first, first, *others]).groups[-1].name == "gan, 3 seeds"
    again = replace(first, models={"gan-0": {**first.models["gan-0"], "sha256": "again"}})
    assert together([first, again, *others]).groups[-1].name == "gan, 4 trainings"
    # Another recipe of this name, as by --set.
    other = replace(first, models={"gan-0": {**first.models["gan-0"], "recipe_sha256": "other",
                                             "sha256": "other"}})  # fmt: skip
    names = [group.name for group in together([first, other, *others]).groups]
    assert names[-2:] == ["gan, 3 seeds", "gan, seed 0"]
    unknown = [report({"theirs": gain}) for gain in (1.0, 1.1, 1.2)]
    unknown[2] = replace(unknown[2], models={"theirs": {"sha256": "z" * 64}})
    assert [group.name for group in together(unknown).groups][-2:] == ["theirs", "theirs (2.json)"]


def test_identity_is_spread_too() -> None:
    reports = [
        training(
            f"gan-{n}", 1.0, n,
            quality=quality({f"gan-{n}": 1.0 + n / 10}),
            distances=distances({f"gan-{n}": 0.8 + n / 100}),
            pairs=pairs({f"gan-{n}": 0.9 + n / 100}),
        )
        for n in range(3)
    ]  # fmt: skip
    parts = {part.name: part for part in together(reports).parts}
    assert list(parts) == ["quality", "distances", "pairs"]
    assert parts["pairs"].table.headings == ["bicubic", "LR", "HR", "gan, 3 seeds"]
    auc = parts["pairs"].table.rows[0]
    assert auc[0] == ["AUC"]
    assert [str(value) for value in auc[1]] == ["0.780", "0.600", "0.984", "0.910"]
    assert auc[1][3].interval == "[0.900, 0.920]"


def test_other_protocols_are_refused() -> None:
    reports = three()
    assert reports[2].quality is not None
    stamp = {**reports[2].quality.protocol, "seed": 1}
    reports[2] = replace(reports[2], quality=replace(reports[2].quality, protocol=stamp))
    with pytest.raises(ProtocolMismatch, match=r"0\.json and 2\.json .* quality, seed: 0 and 1"):
        together(reports)
    with pytest.raises(InputError, match="no part in common"):
        together([three()[0], report({}, pairs=pairs({"x": 0.9})), three()[1]])


def test_the_verb_shows_and_writes_it(tmp_path: Path, cli: Cli) -> None:
    files = []
    for n, each in enumerate(three()):
        files.append(str(tmp_path / f"{n}.json"))
        each.write(Path(files[-1]))
    status, out, _ = cli("compare", *files, "--json", str(tmp_path / "all.json"))
    assert status == 0
    assert "mean over trainings [least, largest]" in out
    written = json.loads((tmp_path / "all.json").read_text())
    assert written["groups"][-1]["seeds"] == [0, 1, 2]
    assert len(written["parts"][0]["columns"][3]["values"]) == 3
    status, _, err = cli("compare", *files, "--pair", "a=b")
    assert (status, "--pair is for two reports" in err) == (2, True)
    assert "gan, 3 seeds" in printed(together(three()).tables(), 80)


# --- two reports ----------------------------------------------------------------------------------


def test_the_only_models_stand_beside_each_other() -> None:
    comparison = compare(training("mine", 1.0, 0), training("yours", 1.5, 0, "pixel"))
    rows = {labels[1]: values for labels, values in comparison.parts[0].means.rows[:4]}
    both = "gan, seed 0 / pixel, seed 0"
    assert list(rows) == ["nearest", "bicubic", "lanczos", both]
    assert rows[both][2].value == pytest.approx(0.5, abs=0.1)
    test = comparison.parts[0].versus[0]
    assert (test.a, test.b) == ("pixel, seed 0 (B)", "gan, seed 0 (A)")
    (note,) = comparison.notes
    assert note.startswith("gan, seed 0 and pixel, seed 0: one training each")
    (note,) = compare(training("a", 1.0, 0), training("b", 1.5, 1)).notes
    assert note.endswith("two seeds of one recipe, whose difference is that of trainings")


def test_pairs_are_chosen_by_name() -> None:
    a, b = report({"x": 1.0, "y": 2.0, "both": 1.0}), report({"u": 1.5, "v": 2.5, "both": 1.0})
    assert len({(t.a, t.b) for t in compare(a, b).parts[0].versus}) == 9
    part = compare(a, b, pairs={"x": "v"}).parts[0]
    assert {(t.a, t.b) for t in part.versus} == {("v (B)", "x (A)"), ("both (B)", "both (A)")}
    methods = [labels[1] for labels, _ in part.means.rows[:7]]
    assert methods == ["nearest", "bicubic", "lanczos", "x / v", "y", "both", "u"]
    # B's own x stays a row by itself.
    part = compare(report({"x": 1.0}), report({"x": 3.0, "v": 2.0}), pairs={"x": "v"}).parts[0]
    psnr = {labels[1]: [str(v) for v in values] for labels, values in part.means.rows[:5]}
    assert float(psnr["x / v"][2]) == pytest.approx(1.0, abs=0.1)
    assert psnr["x"][0] == "-"
    with pytest.raises(UnknownNameError, match="no model 'z' in A; there are x, y, both"):
        compare(a, b, pairs={"z": "v"})
    with pytest.raises(UnknownNameError, match="no model 'x' in B"):
        compare(a, b, pairs={"x": "x"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--pair", "x"], "--pair is MINE=YOURS, not 'x'"),
        (["--pair", "x=u", "--pair", "y=u"], "--pair y=u: a model stands in one pair only"),
        (["--pair", "x=nothing"], "no model 'nothing' in "),
    ],
)
def test_wrong_pairs_are_one_line(
    options: list[str], message: str, tmp_path: Path, cli: Cli
) -> None:
    files = [tmp_path / "a.json", tmp_path / "b.json"]
    for file, names in zip(files, ("xy", "uv"), strict=True):
        report(dict.fromkeys(names, 1.0)).write(file)
    status, _, err = cli("compare", *map(str, files), *options)
    assert status == 2
    assert message in err


def test_too_few_images_are_said() -> None:
    few = [report({}, quality=quality({"x": gain}, 5)) for gain in (1.0, 2.0)]
    (part,) = compare(*few).parts
    assert part.means.notes == [
        "5 images are too few to tell models apart: no test has a p below 0.05"
    ]


def test_a_report_says_recipe_and_seed_of_a_model() -> None:
    model = load("faces", device="cpu")
    assert model.recipe is not None
    other = replace(model, name="other", recipe=model.recipe.changed({"seed": 7}))
    changed = replace(model, name="third", recipe=model.recipe.changed({"steps": 7}))
    found = [m.metadata for m in methods([model, other, changed], Protocol())][3:]
    assert [about["seed"] for about in found] == [model.recipe.seed, 7, model.recipe.seed]
    digests = [about["recipe_sha256"] for about in found]
    assert digests[0] == digests[1] != digests[2]
    assert {about["recipe"] for about in found} == {"faces"}
