"""``srkit reproduce paper``: planned, trained, interrupted and gone on with, judged by its rule."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import skimage.data
import torch
from PIL import Image
from srkit_inception_gan import results, study
from srkit_inception_gan.paper import CLAIMS, DISTANCES, SCENARIOS, Claim
from srkit_inception_gan.results import FAILS, HOLDS, OPEN, Measured
from srkit_inception_gan.study import Study
from training import same_tensors

import srkit
from srkit.cli import main
from srkit.errors import SrkitError
from srkit.files import lock


class Eye(torch.nn.Module):
    """An embedder without weights to download."""

    name, sha256 = "eye", "e" * 64

    def __init__(self, *, weights: str = "") -> None:
        super().__init__()

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        small = torch.nn.functional.adaptive_avg_pool2d(faces, 6).flatten(1)
        return torch.nn.functional.normalize(small - small.mean(dim=1, keepdim=True))


Place = Callable[..., int]


@pytest.fixture(scope="module")
def data(
    tmp_path_factory: pytest.TempPathFactory, crops: Callable[[Path, int, int], list[Path]]
) -> Path:
    """A few small photos, and faces."""
    folder = tmp_path_factory.mktemp("data")
    for split, count in (("train", 8), ("val", 2), ("test", 3)):
        crops(folder / "photos" / split, count, 64)
    (folder / "imm").mkdir()
    face = Image.fromarray(skimage.data.astronaut()).crop((130, 0, 330, 200))
    for person in range(1, 6):
        for number in range(1, 4):
            shade = 1 - 0.15 * person - 0.04 * number  # else they would count as copies
            photo = face.point([int(v * shade) for v in range(256)] * 3)
            photo.save(folder / "imm" / f"{person:02d}_{number:02d}.png")
    return folder


@pytest.fixture
def place(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Run the command with tiny networks."""
    monkeypatch.setattr("srkit_facenet.embedder.FaceNet", Eye)
    monkeypatch.setattr(study.sys, "argv", ["srkit", "reproduce", "paper"])

    def run(out: str, *options: str) -> int:
        tiny = ("generator.width=0.05", "discriminator.width=0.05", "batch_size=4")
        where = ["--data", f"{data}/photos", "--verify-data", f"{data}/imm"]
        where += ["--out", f"{tmp_path}/{out}", "--device", "cpu"]
        sets = [word for setting in tiny for word in ("--set", setting)]
        return main(["reproduce", "paper", *where, *sets, *options])

    return run


def study_of(out: Path, **changes: Any) -> Study:
    options = {"scenarios": [1, 4], "seeds": 1, "settings": {}, "data": "", "verify_data": None}
    return Study(**{**options, "out": out, "device": "cpu", **changes})


# --- what is trained -----------------------------------------------------------------------------


def test_the_papers_numbers_are_those_it_states() -> None:
    psnr, ssim, steps = zip(*(scenario[2:] for scenario in SCENARIOS.values()), strict=True)
    assert psnr == (26.615, 26.332, 26.018, 26.109)  # P14
    assert ssim == (0.8461, 0.8357, 0.8224, 0.8313)
    assert steps == (41_410, None, None, 27_840)  # P16
    first, fourth = (sum(DISTANCES[scenario]) / 10 for scenario in (1, 4))  # P18
    assert (round(first, 4), round(fourth, 4)) == (0.1933, 0.1516)
    stated = {claim.text: claim.published for claim in CLAIMS}
    assert stated["The PSNR term wins back PSNR"] == pytest.approx(0.091)
    assert stated["Scenario 1 is faster than 4"] == pytest.approx(1 / 0.672 - 1, abs=1e-3)


def test_the_learning_rate_is_halved_in_proportion_to_the_length(tmp_path: Path) -> None:
    runs = study_of(tmp_path, scenarios=[1, 2, 3, 4], seeds=2).runs([41_410, 4141, 3000, 3])
    assert [run.recipe.optimizer.step_size for run in runs[::2]] == [5000, 500, 362, 1]
    assert [run.recipe.seed for run in runs] == [0, 1] * 4
    assert len({run.folder for run in runs}) == len({run.label for run in runs}) == 8


def test_settings_change_the_scenarios_that_have_the_part(tmp_path: Path) -> None:
    settings = {"generator.width": 0.1, "discriminator.width": 0.2, "losses.psnr.weight": 0.5}
    first, fourth = (run.recipe for run in study_of(tmp_path, settings=settings).runs([9, 9]))
    assert first.generator.options == fourth.generator.options == {"width": 0.1}
    assert (first.discriminator, set(first.losses)) == (None, {"pixel"})
    assert fourth.losses["psnr"].weight == 0.5


@pytest.mark.usefixtures("short_measurements")
def test_a_time_budget_is_shared_and_fixes_the_steps(
    place: Place,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    times = []
    measure = srkit.plan

    def plan(recipe: srkit.Recipe, **options: Any) -> Any:
        measured = measure(recipe, **options)
        times.append(measured.seconds_per_step)
        return measured

    def train(recipe: srkit.Recipe, **options: Any) -> Any:
        raise SrkitError(f"{recipe.steps} steps")

    monkeypatch.setattr(srkit, "plan", plan, raising=False)
    monkeypatch.setattr(srkit, "train", train, raising=False)
    assert place("out", "--scenario", "1", "--scenario", "4", "--time-budget", "200s") == 2
    stored = json.loads((tmp_path / "out" / "study.json").read_text())
    steps = json.loads((tmp_path / "out" / "steps.json").read_text())
    assert steps == [int((200 * 0.95 / 2 - 10) / a_step) for a_step in times]
    assert stored["settings"]["time_budget"] == "200s"
    shown = capsys.readouterr().err
    assert "one seed: no claim can be decided" in shown
    with lock(tmp_path / "out"):
        assert place("out", "--scenario", "1", "--scenario", "4", "--time-budget", "200s") == 2
    assert "out is being written by another process" in capsys.readouterr().err
    (tmp_path / "out" / "study.json").write_text('{"settings": {}}')
    assert place("out", "--steps", "5") == 2
    assert "study.json: 'format' is missing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--steps", "5", "--time-budget", "1h"), "exclude each other"),
        (("--set", "seed=3"), "--set seed: the study decides that"),
        (
            ("--scenario", "1", "--set", "losses.psnr.weight=2"),
            "no chosen scenario has such a part",
        ),
        (("--set", "generator.widht=2"), "widht"),
        (("--time-budget", "soon"), "'soon' is not a time"),
        (
            ("--time-budget", "2m"),
            "--time-budget 2m is too short for 4 trainings of a minute or more: give 4m at least",
        ),
        (("--verify-data", "nowhere"), "no face set 'imm' at"),
    ],
)
def test_what_can_not_be_is_said_before_anything_is_trained(
    place: Place,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    message: str,
) -> None:
    assert place("out", *options) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_a_study_goes_on_where_it_was_interrupted(
    place: Place,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = ("--scenario", "1", "--scenario", "4", "--steps", "3")
    training = srkit.train

    def interrupted(recipe: srkit.Recipe, **options: Any) -> Any:
        def interrupt(record: Any) -> None:
            if "start" in record and recipe.discriminator:
                signal.raise_signal(signal.SIGINT)  # in this thread: before the next step

        return training(recipe, report=interrupt, **options)

    with monkeypatch.context() as patch:
        patch.setattr(srkit, "train", interrupted, raising=False)
        assert place("killed", *options) == 130
    assert "4 + PSNR: stopped at step 1; the same command goes on" in capsys.readouterr().err
    first = tmp_path / "killed" / "inception-gan-pixel-seed0" / "log.jsonl"
    before = first.read_bytes()
    assert place("killed", *options) == 0
    assert first.read_bytes() == before
    run = tmp_path / "killed" / "inception-gan-seed0"
    recipe = srkit.Recipe.from_file(run / "recipe.toml")
    whole = training(recipe, data=data / "photos", out=tmp_path / "whole", device="cpu")
    same_tensors(run / "model.safetensors", whole.model)

    table, page = (Path(line) for line in capsys.readouterr().out.splitlines())
    assert page.is_file()
    summary = json.loads((tmp_path / "killed" / "summary.json").read_text())
    assert table.read_text() == results.markdown(summary)
    assert "| 4 + PSNR | 3 | 26.109 |" in table.read_text()
    assert "| 4 + PSNR | 0.1516 |" in table.read_text()
    assert summary["HR"]["AUC, distance in CelebA's framing"]
    assert all(speed > 0 for scenario in summary["scenarios"][1:] for speed in scenario["speeds"])
    verdicts = {claim["text"]: (claim["verdict"], claim["why"]) for claim in summary["claims"]}
    assert verdicts["Scenario 1 is faster than 4"][0] in (HOLDS, FAILS)
    assert verdicts["Scenario 4 keeps the person better than 1"] == (OPEN, "3 steps are too few")
    assert verdicts["The adversary costs PSNR"] == (OPEN, "not trained")
    assert place("killed", *options, "--seeds", "2") == 2
    assert "was begun with seeds 1, not 2; choose another folder" in capsys.readouterr().err


# --- verdicts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("psnr", "psnr_y", "expected"),
    [
        ([(0.3, 0.2, 0.4)], [(0.3, 0.2, 0.4)], (HOLDS, "all 2 intervals")),
        ([(-0.3, -0.4, -0.2)], [(-0.3, -0.4, -0.2)], (FAILS, "all 2 intervals")),
        ([(0.3, 0.2, 0.4)], [(-0.3, -0.4, -0.2)], (OPEN, "seeds or measures disagree")),
        ([(0.3, 0.2, 0.4)] * 2, [(0.3, 0.2, 0.4), (0.1, -0.1, 0.3)], (OPEN, "seeds or measures ")),
        ([(0.1, -0.1, 0.3)], [(0.1, -0.1, 0.3)], (OPEN, "intervals include 0")),
        ([(0.3, 0.2, 0.4)], [(0.04, 0.03, 0.05)], (OPEN, "psnr-y differs by less than 0.05")),
    ],
)
def test_all_intervals_must_agree_and_the_difference_must_count(
    psnr: list[Any], psnr_y: list[Any], expected: tuple[str, str]
) -> None:
    verdict, why = results.decide({"psnr": psnr, "psnr-y": psnr_y})
    assert (verdict, why[: len(expected[1])]) == expected


def test_a_budget_of_less_than_a_step_is_refused_with_the_least_that_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = SimpleNamespace(seconds_per_step=100.0)
    monkeypatch.setattr(srkit, "plan", lambda *_, **__: slow, raising=False)
    study = study_of(tmp_path, seeds=2)
    with pytest.raises(srkit.InputError, match=r"a step takes 100.0 s; give 8m at least"):
        study._steps_within("4m")
    assert study._steps_within("8m") == [1, 1]
    assert "claims need 3,000 steps of each scenario, here a time budget of 2" in (
        capsys.readouterr().err
    )


def measured(
    quality: dict[str, Sequence[float]],
    distances: dict[str, Sequence[float]],
    steps: int = 3000,
    seeds: int = 2,
) -> Measured:
    """Return what two scenarios scored, with every seed alike, and bicubic."""
    scores = {name: {"psnr": list(values)} for name, values in quality.items()}
    rows = [
        SimpleNamespace(person=f"p{n // 2}", distances={k: v[n] for k, v in distances.items()})
        for n in range(10)
    ]
    report = SimpleNamespace(
        quality=SimpleNamespace(counted=lambda name, metric: scores[name][metric]),
    )
    identity = {"distance": SimpleNamespace(rows=rows)}
    labels = {0: ["bicubic"] * seeds, 1: ["one"] * seeds, 4: ["four"] * seeds}
    return Measured(labels, {1: steps, 4: 5000}, {"one": 3, "four": 1}, report, identity)


IDENTITY = Claim("", "", ("distance",), 1, 4)
NEAR = [1.0, 1.1, 0.9, 1.0, 1.0, 1.1, 0.9, 1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("less", "bicubic", "psnr", "steps", "verdict", "why"),
    [
        (0.2, 2.0, 25.0, 3000, HOLDS, "all 2 intervals"),
        (-0.2, 2.0, 25.0, 3000, FAILS, "all 2 intervals"),
        (0.2, 2.0, 25.0, 2999, OPEN, "2,999 steps are too few"),
        (0.2, 2.0, 22.0, 3000, OPEN, "four loses to bicubic"),
        (0.2, 0.9, 25.0, 3000, OPEN, "one loses to bicubic"),
    ],
)
def test_a_claim_needs_steps_and_models_that_beat_bicubic(
    less: float, bicubic: float, psnr: float, steps: int, verdict: str, why: str
) -> None:
    distances = {"one": NEAR, "four": [v - less for v in NEAR], "bicubic": [bicubic] * 10}
    quality = {"one": [24.0] * 3, "four": [psnr] * 3, "bicubic": [23.0] * 3}
    claim = results.judge(IDENTITY, measured(quality, distances, steps))
    assert (claim["verdict"], claim["why"]) == (verdict, why)
    assert claim["differences"]["distance"][0][0] == pytest.approx(less)
    if verdict != OPEN:
        claim = results.judge(IDENTITY, measured(quality, distances, steps, seeds=1))
        assert (claim["verdict"], claim["why"]) == (OPEN, "one seed")


def test_bicubic_itself_may_win_and_speed_needs_no_training() -> None:
    quality = {"one": [24.0] * 3, "four": [22.0] * 3, "bicubic": [23.0] * 3}
    study = measured(quality, {}, steps=5000)
    gain = Claim("", "", ("psnr",), 0, 1)
    assert results.judge(gain, study)["verdict"] == FAILS
    speed = results.judge(Claim("", "", ("speed",), 1, 4), measured({}, {}, steps=1, seeds=1))
    assert (speed["verdict"], speed["differences"]["speed"]) == (HOLDS, [(2, 2, 2)])
    assert results.judge(Claim("", "", ("psnr",), 1, 2), study)["why"] == "not trained"
