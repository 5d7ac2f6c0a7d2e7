"""A study: read from data, trained in equal shares, killed and gone on with, reported beside it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from training import same_tensors

from srkit import InputError, registry
from srkit.errors import Interrupted, RecipeError
from srkit.evaluation.identity import Distances
from srkit.evaluation.identity.estimate import Estimate
from srkit.evaluation.identity.table import Row
from srkit.evaluation.report import Report
from srkit.evaluation.studies import details, outcome, schedule, turns, variants, verdicts
from srkit.evaluation.studies.details import Details
from srkit.evaluation.studies.published import Claim
from srkit.evaluation.studies.reproduce import reproduce
from srkit.evaluation.studies.schedule import Schedule, Training
from srkit.evaluation.studies.study import Study
from srkit.evaluation.studies.turns import Pace
from srkit.models import checkpoint

PARTS = """
from pathlib import Path
import srkit
import torch
from srkit import Adversarial, Data, Loss, Optimizer, Part, Recipe


class Eye(torch.nn.Module):
    name, sha256 = "eye", "e" * 64

    def __init__(self, *, weights: str = "") -> None:
        super().__init__()

    def forward(self, faces):
        small = torch.nn.functional.adaptive_avg_pool2d(faces, 6).flatten(1)
        return torch.nn.functional.normalize(small - small.mean(dim=1, keepdim=True))


def recipe(name, **more):
    return Recipe(
        name=name, steps=100, batch_size=4, losses={"l1": Loss()},
        data=Data(size=32, framing="squash"), degradation=Part.of("faces-x4"),
        generator=Part.of("face-residual", width=8, blocks=1),
        optimizer=Optimizer(learning_rate=1e-3), **more)


def plain():
    return recipe("tiny-plain")


def game():
    return recipe("tiny-game", discriminator=Part.of("srgan-plain", width=0.05),
                  adversarial=Adversarial(weight=0.01))


def same_photos(root):
    return [srkit.Person(f.name, tuple(sorted(f.iterdir()))) for f in sorted(Path(root).iterdir())]


same_photos.draw = (2, 3)


@srkit.hookimpl
def srkit_recipes():
    return {"tiny-plain": plain, "tiny-game": game}


@srkit.hookimpl
def srkit_embedders():
    return {"eye": Eye}


@srkit.hookimpl
def srkit_face_sets():
    return {"few": same_photos}


@srkit.hookimpl
def srkit_studies():
    return {"tiny": lambda: Path(__file__).with_name("tiny.toml")}
"""

PROTOCOL = """
size = 32
metrics = ["psnr", "ssim", "psnr-y"]
"""

STUDY = """
name = "tiny"
title = "A comparison of two"
citation = "Nobody"
protocol = "small.toml"
face_set = "few"

[[scenarios]]
label = "1 plain"
recipe = "tiny-plain"

[[scenarios]]
label = "2 game"
recipe = "tiny-game"

[[quality]]
name = "PSNR"
unit = "dB"
source = "Table A"
ours = ["psnr", "psnr-y"]
published = [31.25, "not stated"]

[batches]
source = "Fig. B"
published = [1000, "not stated"]

[distances]
source = "Table C"
scenarios = ["1 plain", "2 game"]
note = "Other photos: values can't be compared."
[[distances.published]]
person = "one"
values = [[0.5, 0.7], [0.3, 0.3]]

[[claims]]
text = "The game costs PSNR"
source = "Table A"
measure = "psnr"
higher = "1 plain"
lower = "2 game"

[[claims]]
text = "More texture than bicubic"
source = "Fig. D"
measure = "texture"
higher = "2 game"
lower = "bicubic"

[[claims]]
text = "The nose is better"
source = "Fig. E"
measure = "region nose"
higher = "1 plain"
lower = "2 game"

[[claims]]
text = "The plain one is faster"
source = "Fig. B"
measure = "batches"
higher = "1 plain"
lower = "2 game"

[[claims]]
text = "The game keeps the person"
source = "Table C"
measure = "distance"
higher = "1 plain"
lower = "2 game"

[[opinions]]
text = "It is nicer"
source = "Fig. D"

[[figures]]
kind = "side by side"
source = "Fig. D"
by = "2 game"

[[figures]]
kind = "region"
source = "Fig. E"
name = "nose"
landmark = 2
width = 60
height = 60
worse = "1 plain"
better = "2 game"

[[figures]]
kind = "texture"
source = "Fig. F"
by = "2 game"
window = 12
within = [35, 45, 143, 195]

[[figures]]
kind = "probes"
source = "Fig. G"
scenarios = ["2 game"]
"""

# Starts the study; is killed, by a real SIGKILL, when it is told of a step, of any run or of one.
CHILD = """
import json, os, signal, sys
from pathlib import Path
from srkit.evaluation.studies import schedule, turns
from srkit.evaluation.studies.reproduce import reproduce

turns.TURN = 0.01
schedule.LOST, schedule.SAVING = 0.001, 1e6  # a checkpoint after every batch
given, kill = json.loads(sys.argv[1]), json.loads(sys.argv[2])
where = []

def told(record):
    where.append(record.get("out", where[-1] if where else ""))
    if kill["run"] in where[-1] and record.get("step", record.get("start")) == kill["step"]:
        os.kill(os.getpid(), signal.SIGKILL)

reproduce(**{**given, "out": Path(given["out"])}, report=told)
"""


@dataclass
class Place:
    """Where a study's data lie, and what `reproduce` is given."""

    site: Path
    given: dict[str, Any]

    def child(self, out: Path, run: str, step: int) -> subprocess.CompletedProcess[str]:
        """Begin the study in another process, which kills itself."""
        given = {k: str(v) if isinstance(v, Path) else v for k, v in self.given.items()}
        threads = str(torch.get_num_threads())  # with as many, it rounds alike
        env = {**os.environ, "PYTHONPATH": str(self.site), "OMP_NUM_THREADS": threads}
        words = [json.dumps({**given, "out": str(out)}), json.dumps({"run": run, "step": step})]
        return subprocess.run(
            [sys.executable, "-c", CHILD, *words], env=env, capture_output=True, text=True
        )

    def __call__(self, out: Path, **changes: Any) -> Path:
        return reproduce(**{**self.given, "out": out, **changes})


@pytest.fixture
def place(
    tmp_path: Path,
    fake_distribution: Callable[..., Path],
    crops: Callable[[Path, int, int], list[Path]],
    monkeypatch: pytest.MonkeyPatch,
) -> Place:
    site = fake_distribution("srkit-tiny", {"tiny_parts": PARTS})
    (site / "tiny.toml").write_text(STUDY)
    (site / "small.toml").write_text(PROTOCOL)
    crops(tmp_path / "photos" / "train", 12, 32)
    crops(tmp_path / "photos" / "val", 3, 32)
    crops(tmp_path / "photos" / "test", 5, 32)
    face = Image.fromarray(skimage.data.astronaut()).crop((130, 0, 330, 200))
    for name, shift in (("one", 1.0), ("two", 0.8)):
        (tmp_path / "few" / name).mkdir(parents=True)
        for number in range(3):
            photo = face.point([min(255, int(v * (shift + 0.05 * number))) for v in range(256)] * 3)
            photo.save(tmp_path / "few" / name / f"{number}.png")
    monkeypatch.setenv("SRKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(turns, "TURN", 0.01)
    given = {
        "study": "tiny",
        "data": tmp_path / "photos",
        "verify_data": tmp_path / "few",
        "embedder": "eye",
        "device": "cpu",
        "steps": 5,
        "settings": {"discriminator.width": 0.06},
    }
    return Place(site, given)


# --- the study as data ---------------------------------------------------------------------------


def test_the_papers_numbers_are_those_it_states() -> None:
    study = Study.named("paper")
    psnr, ssim = study.quality
    assert psnr.published == (26.615, 26.332, 26.018, 26.109)  # P14
    assert ssim.published == (0.8461, 0.8357, 0.8224, 0.8313)
    assert study.batches is not None
    assert study.batches.published == (41410, "not stated", "not stated", 27840)  # P16
    assert study.batches.published[3] / study.batches.published[0] == pytest.approx(0.672, abs=5e-4)
    assert study.distances is not None
    assert [p.values for p in study.distances.published] == [  # P18
        ((0.2236, 0.1818), (0.1216, 0.1670)),
        ((0.1692, 0.2097), (0.1142, 0.1768)),
        ((0.1724, 0.2254), (0.1384, 0.1398)),
        ((0.1319, 0.1505), (0.1252, 0.1476)),
        ((0.1979, 0.2705), (0.1897, 0.1953)),
    ]
    first, second = study.distances.means()
    assert (round(first, 4), round(second, 4)) == (0.1933, 0.1516)
    assert second / first == pytest.approx(0.784, abs=5e-4)
    recipes = [scenario.recipe for scenario in study.scenarios]
    assert recipes == [
        "inception-gan-pixel",
        "inception-gan-adversarial",
        "inception-gan-feature",
        "inception-gan",
    ]
    assert [registry.build("recipes", name).name for name in recipes] == recipes
    assert {figure.source for figure in study.figures} == {"Fig. 4", "Fig. 5", "Fig. 6", "Fig. 8"}
    metrics = study.its_protocol(0).metrics
    assert {"psnr", "psnr-y", "ssim", "ssim-y"} <= set(metrics)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('title = "A', 'titel = "A', "unknown field 'titel'"),
        ('name = "tiny"\n', "", "'name' is missing"),
        ("31.25, ", "", "Table A: 1 numbers for 2 scenarios"),
        ('[1000, "not stated"]', '[1000, "unknown"]', "batches.published"),
        ('lower = "2 game"', 'lower = "2 gane"', "no scenario '2 gane' (did you mean '2 game'?)"),
        ('"tiny-game"', '"tiny-plain"', "'tiny-plain' stands there twice"),
        ('"region nose"', '"region chin"', "no figure has the region chin"),
        ("[[0.5, 0.7], [0.3, 0.3]]", "[[0.5, 0.7], [0.3]]", "two lists of as many photos"),
        ('"side by side"', '"collage"', "figures.0"),
        ("title =", "title ==", "study"),
    ],
)
def test_a_bad_study_is_one_clear_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in STUDY
    file = tmp_path / "mine.toml"
    file.write_text(STUDY.replace(old, new, 1))
    with pytest.raises(InputError) as caught:
        Study.named(file)
    line = str(caught.value)
    assert line.startswith(f"study {file}: ")
    assert said in line
    assert "\n" not in line


def test_an_unknown_study_names_those_there_are() -> None:
    with pytest.raises(
        InputError, match=r"no study 'papper' \(did you mean 'paper'\?\); there are"
    ):
        Study.named("papper")
    with pytest.raises(InputError, match=r"study nowhere\.toml: "):
        Study.named("nowhere.toml")


# --- what is trained -----------------------------------------------------------------------------


def test_changes_reach_the_recipes_that_have_the_part(place: Place) -> None:
    study = Study.named("tiny")
    changes = {"discriminator.width": 0.1, "generator.width": 4, "adversarial.weight": 0.5}
    plain, game = variants.recipes(study, changes, 3).values()
    assert plain.discriminator is None
    assert game.discriminator is not None
    assert game.discriminator.options == {"width": 0.1}
    assert game.adversarial is not None
    assert game.adversarial.weight == 0.5
    assert {r.generator.options["width"] for r in (plain, game)} == {4}
    assert {r.seed for r in (plain, game)} == {3}
    with pytest.raises(RecipeError, match=r"--set losses\.feature\.weight: no recipe of"):
        variants.recipes(study, {"losses.feature.weight": 1}, 0)
    with pytest.raises(RecipeError, match="--set steps: a study decides that itself"):
        variants.recipes(study, {"steps": 3}, 0)


PACES = {
    "1 plain": Pace(0.1, (0.1,), 2.0, 0.5, 1.0),
    "2 game": Pace(0.15, (0.15,), 2.0, 1.5, 3.0),
}


def planned(
    place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **asked: Any
) -> Schedule:
    """Return the schedule of the tiny study on a machine of known speed."""
    monkeypatch.setattr(turns, "measure", lambda *_, **__: (PACES, "f" * 16))
    study = Study.named("tiny")
    return schedule.make(
        study,
        variants.recipes(study, {}, 0),
        tmp_path / "out",
        source=place.given["data"],
        asked={"time_budget": 600.0, "equal": "time", "steps": None, **asked},
        validate_every=None,
        device="cpu",
        workers=None,
        decoded=lambda done, total: None,
    )


def test_equal_time_gives_equal_shares(
    place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plan = planned(place, monkeypatch, tmp_path)
    assert plan.share == pytest.approx(300, abs=1)
    for training in plan.trainings:
        # All that a training takes but the last batch that no longer fits.
        assert plan.share - 3 < training.seconds <= plan.share
        saving = training.checkpoint_every * training.pace.step
        assert 30 < saving < 60  # what a kill costs
        validations = training.steps / training.complete().validate_every
        assert validations * training.pace.validation < 0.03 * plan.share
        assert training.complete().steps == training.steps
    one, other = (training.steps for training in plan.trainings)
    assert one / other == pytest.approx(1.5, rel=0.05)  # less for the dearer checkpoints


def test_equal_batches_share_the_time(
    place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plan = planned(place, monkeypatch, tmp_path, equal="batches")
    one, other = plan.trainings
    assert one.steps == other.steps
    assert 590 < one.seconds + other.seconds <= 600
    fixed = planned(place, monkeypatch, tmp_path, equal="batches", time_budget=None, steps=70)
    assert [t.steps for t in fixed.trainings] == [70, 70]
    with pytest.raises(InputError, match="the time budget is too short: measuring leaves "):
        planned(place, monkeypatch, tmp_path, time_budget=8.0)


class Slow:
    """A recipe whose turns are counted."""

    def __init__(self, name: str, warm: float, order: list[str]) -> None:
        self.name, self.warm, self.order = name, warm, order

    def turn(self, count: int) -> float:
        self.order.append(f"{self.name}{count}")
        return self.warm


def test_speeds_are_measured_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    runners: Any = {name: Slow(name, warm, order) for name, warm in (("a", 0.25), ("b", 2.0))}
    monkeypatch.setattr(turns, "TURN", 1.0)
    found = turns._in_turns(runners, seconds=18)
    assert order == ["a4", "b1", "b1", "a4", "a4", "b1", "b1", "a4", "a4", "b1", "b1", "a4"]
    assert found == {"a": [0.25] * 6, "b": [2.0] * 6}
    order.clear()
    turns._in_turns(runners, seconds=0)
    assert len(order) == 2 * turns.ROUNDS[0]


def test_slow_minutes_and_slow_turns_change_no_share() -> None:
    quiet = {"a": [0.1] * 7, "b": [0.2] * 7}
    slow = [1, 1, 3, 4, 1, 1, 1]  # times as slow, for all
    noisy = {name: [t * s for t, s in zip(its, slow, strict=True)] for name, its in quiet.items()}
    assert turns.level(quiet) == pytest.approx({"a": 0.1, "b": 0.2})
    assert turns.level(noisy) == pytest.approx({"a": 0.1, "b": 0.2})
    noisy["a"][0] = 2.0  # one turn of one of them
    assert turns.level(noisy) == pytest.approx({"a": 0.1, "b": 0.2})


# --- all of it -----------------------------------------------------------------------------------


def test_a_study_is_trained_measured_and_reported(place: Place, tmp_path: Path) -> None:
    out, said = tmp_path / "out", list[str]()
    page = place(out, say=said.append)
    assert page == out / "report" / "index.html"
    html = page.read_text()
    for heading in (
        "Table A: scores",
        "Fig. B: batches in equal time",
        "Table C: identity",
        "Fig. D: side by side",
        "Fig. E: the nose",
        "Fig. F: texture",
        "Fig. G: base and probes",
    ):
        assert html.count(f">{heading}</h2>") == 1, heading
    assert "31.250" in html  # published, beside ours
    assert html.count("not stated") >= 4
    assert "is an opinion" in html
    figures = {file.stem for file in (page.parent / "figures").iterdir()}
    assert {"fig-d-side-by-side", "fig-e-the-nose", "fig-f-texture"} <= figures
    plan = Schedule.read(out)
    assert plan is not None
    assert [(t.label, t.steps) for t in plan.trainings] == [("1 plain", 5), ("2 game", 5)]
    assert [line for line in said if line.startswith("2 of 2: 2 game, 5 batches")]

    summary = json.loads((page.parent / "summary.json").read_text())
    report = Report.read(page.parent)
    assert report.quality is not None
    assert report.whole is not None
    mine = summary["quality"]["scores"]["2 game"]["psnr"]["mean"]
    assert mine == report.quality.mean("2 game", "psnr")
    assert summary["distances"]["published"]["ratio"] == pytest.approx(0.5)
    by_hand = report.whole.mean("2 game") / report.whole.mean("1 plain")
    assert summary["distances"]["everybody"]["ratio"]["value"] == pytest.approx(by_hand)
    assert {v["said"] for v in summary["verdicts"]} <= {"holds", "does not hold", "can't be told"}
    assert summary["regions"]["nose"]["of"] == 5
    assert "png" not in json.dumps(summary)
    table = (page.parent / "summary.md").read_text().splitlines()
    assert table[0].startswith("| scenario | batches |")
    assert any(line.startswith("| 2 game | 5 |") for line in table)

    # Once more: nothing is trained or measured again.
    files = [*out.glob("*/model.safetensors"), *out.glob("measured-*.json"), out / "study.json"]
    before = {file: file.stat().st_mtime_ns for file in files}
    assert len(before) == 4
    assert place(out) == page
    assert {file: file.stat().st_mtime_ns for file in files} == before

    for changes, line in (
        ({"steps": 6}, "begun with steps 5, now 6: ask for the same, or choose another --out"),
        ({"seed": 1}, "begun with seed 0, now 1"),
        ({"settings": {}}, "begun with settings {'discriminator.width': 0.06}, now not given"),
        ({"steps": None, "time_budget": 9.0}, "begun with time_budget not given, now 9.0"),
        ({"data": tmp_path / "photos" / "train"}, "begun with data "),
    ):
        with pytest.raises(InputError) as caught:
            place(out, **changes)
        assert str(caught.value).startswith(line)


def test_what_cant_be_compared_is_said(place: Place, tmp_path: Path) -> None:
    file = place.site / "bare.toml"
    file.write_text(STUDY.replace('face_set = "few"', "").replace("small.toml", "whole.toml"))
    (place.site / "whole.toml").write_text('framing = "whole"\nmetrics = ["psnr", "psnr-y"]\n')
    page = place(tmp_path / "bare", study=file, steps=1)
    html = page.read_text()
    assert "the nose isn&#39;t shown: framing &#39;whole&#39; doesn&#39;t tell where it is." in html
    assert "No faces were compared." in html
    assert "Table C: identity" not in html
    found = json.loads((page.parent / "summary.json").read_text())
    said = {v["measure"]: (v["said"], v["basis"]) for v in found["verdicts"]}
    assert said["distance"] == ("can't be told", "no faces were compared")
    assert said["region nose"] == ("can't be told", "it was not measured")
    assert set(found["distances"]) == {"published"}


def test_what_is_killed_goes_on_to_the_same_numbers(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Any] = []
    monkeypatch.setattr(outcome, "write", lambda *given: found.append(given[-1]))  # seen above
    whole, out = tmp_path / "whole", tmp_path / "killed"
    place(whole)
    # Within the first training, and between the two: as the second one starts.
    for run, step in (("tiny-plain", 5), ("tiny-game", 0)):
        died = place.child(out, run, step)
        assert died.returncode == -signal.SIGKILL, died.stderr
    assert len(checkpoint.checkpoints(out / "tiny-plain")) == 2
    assert (out / "tiny-plain" / checkpoint.MODEL).is_file()
    assert not (out / "tiny-game" / checkpoint.MODEL).is_file()
    begun = (out / "study.json").read_bytes()

    def early(record: Mapping[str, Any]) -> None:
        if record.get("start") == 0:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted, match="2 game: stopped at step 1; the same command goes on"):
        place(out, report=early)
    place(out)
    assert (out / "study.json").read_bytes() == begun
    for name in ("tiny-plain", "tiny-game"):
        same_tensors(whole / name / checkpoint.MODEL, out / name / checkpoint.MODEL)
    one, other = (bench.report for bench in found)
    assert one.quality.scores == other.quality.scores
    assert one.whole == other.whole
    assert found[0].details == found[1].details


def test_what_is_missing_after_training_is_missed_before(place: Place, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for changes, line in (
        ({"verify_data": tmp_path / "nobody"}, "no face set 'few' at"),
        ({"embedder": "ear"}, "unknown embedder 'ear'"),
        ({"data": tmp_path / "nothing"}, "no photos at"),
        ({"study": "tiny2"}, "no study 'tiny2'"),
        ({"settings": {"scale": 2}}, "'1 plain' enlarges by 2, protocol 'small' by 4"),
    ):
        with pytest.raises(Exception, match=line):
            place(out, **changes)
    assert not out.exists()
    (out / "tiny-plain").mkdir(parents=True)
    with pytest.raises(InputError, match=r"tiny-plain is there, but no study.json; choose another"):
        place(out)
    (out / "study.json").write_text("{}")
    with pytest.raises(InputError, match=r"study.json: no study of this version of srkit"):
        place(out)


# --- verdicts ------------------------------------------------------------------------------------


def report_of(higher: Sequence[float], lower: Sequence[float]) -> Report:
    """Return distances of five people, two photos each, in both scenarios."""
    rows = [
        Row(f"p{n // 2}", "b", f"{n}", {"1 plain": a, "2 game": b})
        for n, (a, b) in enumerate(zip(higher, lower, strict=True))
    ]
    return Report({}, whole=Distances({}, ["1 plain", "2 game"], rows, [], [], 5))


@pytest.mark.parametrize(
    ("gain", "said"), [(0.2, "holds"), (-0.2, "does not hold"), (0.01, "can't be told")]
)
def test_intervals_decide_claims(place: Place, gain: float, said: str) -> None:
    rng = np.random.default_rng(0)
    lower = rng.uniform(0.8, 1.2, 10)
    higher = lower + gain + np.repeat([0.05, -0.05, 0.05, -0.05, 0], 2)  # people differ
    study = Study.named("tiny")
    (claim,) = (c for c in study.claims if c.measure == "distance")
    found = verdicts._decided(claim, study, None, report_of(higher, lower), None)  # type: ignore[arg-type]
    assert found.said == said
    assert found.theirs == pytest.approx(0.6 - 0.3)
    assert found.ours is not None
    assert found.ours.value == pytest.approx(gain, abs=1e-9)
    assert ("interval includes 0" in found.why) == (said == "can't be told")


def test_a_claim_whose_metrics_disagree_cant_be_told() -> None:
    claim = Claim(text="", source="", measure="psnr", higher="a", lower="b")
    ours = Estimate(0.3, 0.2, 0.4)
    agreed = verdicts.Verdict(claim, ours, 0, None, "9 pictures", (("psnr-y", verdicts.HOLDS),))
    assert (agreed.said, agreed.why) == (verdicts.HOLDS, "9 pictures")
    split = verdicts.Verdict(claim, ours, 0, None, "9 pictures", (("psnr-y", verdicts.FAILS),))
    assert (split.said, split.why) == (verdicts.OPEN, "psnr: holds, psnr-y: does not hold")
    unmeasured = verdicts.Verdict(claim, None, 0, None, "it was not measured")
    assert (unmeasured.said, unmeasured.why) == (verdicts.OPEN, "it was not measured")


def test_speeds_are_compared_turn_by_turn(place: Place) -> None:
    toml = registry.build("recipes", "tiny-plain").to_toml()
    paces = {"1 plain": (0.1, 0.2, 0.4), "2 game": (0.2, 0.4, 0.8)}  # the machine slows down
    trainings = [
        Training(label=k, recipe=toml, steps=1, checkpoint_every=1, pace=Pace(1, v, 1, 1, 1))
        for k, v in paces.items()
    ]
    plan = Schedule.model_construct(trainings=trainings)
    assert verdicts.in_equal_time(plan, "1 plain", "2 game") == Estimate(2.0, 2.0, 2.0)


def test_the_ratios_interval_is_of_people_drawn_anew() -> None:
    values, to = [1.0, 3.0, 2.0], [2.0, 2.0, 8.0]
    found = verdicts.ratio(values, to, ["a", "a", "b"])
    assert found.value == pytest.approx(0.5)
    # Two people: only both of them, or one of them twice, can be drawn.
    assert (found.low, found.high) == (pytest.approx(0.25), pytest.approx(1.0))


# --- details -------------------------------------------------------------------------------------


def test_only_what_lr_cant_hold_is_texture() -> None:
    places = torch.arange(64)
    wave = 0.5 + 0.4 * torch.cos(2 * torch.pi * places * 7 / 64)  # LR holds up to 8 / 64
    smooth = wave.expand(1, 3, 64, 64)
    assert float(details.texture(smooth, 4)) == pytest.approx(0, abs=1e-10)
    fast = 0.5 + 0.4 * torch.cos(2 * torch.pi * places / 4)
    both = (smooth + fast[:, None].expand(1, 3, 64, 64)) / 2
    assert float(details.texture(both, 4)) == pytest.approx((0.4 / 2) ** 2 / 2, rel=1e-4)


def test_the_window_lies_where_the_texture_is() -> None:
    hr = torch.full((1, 3, 64, 64), 0.5)
    hr[..., 8:24, 36:52] += 0.3 * torch.tensor([1.0, -1.0]).repeat(8)  # columns in turn
    hr[..., 44:60, 0:16] += 0.4 * torch.tensor([1.0, -1.0]).repeat(8)
    assert details.window(hr, 4, 16) == (0, 44, 16, 60)
    assert details.window(hr, 4, 16, (20, 0, 64, 64)) == (36, 8, 52, 24)
    assert details.window(hr, 4, 400) == (0, 0, 64, 64)


def test_parts_of_the_face_follow_the_framing() -> None:
    nose = details.place(2, 44, 48)
    assert nose == pytest.approx((66.7, 111.7, 110.7, 159.7))
    # 64 of 178 across, of 218 down.
    assert details.framed(nose, "squash", 64) == (24, 33, 40, 47)
    # The square begins 20 rows down.
    assert details.framed(nose, "square", 89) == (33, 46, 55, 70)
    assert details.framed(nose, "whole", 64) is None
    assert details.framed((0, 0, 20, 10), "square", 64) is None


def test_errors_are_of_the_part_alone() -> None:
    hr = torch.zeros(2, 3, 8, 8)
    sr = hr.clone()
    sr[0, :, 2:4, 1:5] = 51 / 255
    sr[1, :, 0, 0] = 1
    assert details.error(sr, hr, (1, 2, 5, 4)).tolist() == pytest.approx([51, 0], abs=1e-4)


def test_details_come_back_from_their_file() -> None:
    its = Details(["a"], {"HR": [1.0]}, {"nose": {"x": [0.5]}}, {"nose": (1, 2, 3, 4)})
    assert Details.from_json(json.loads(json.dumps(its.as_json()))) == its
