"""Two runs of a verb in one folder at once: they share it, or the second is refused in one line."""

from __future__ import annotations

import random
import re
import shutil
import time
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import verbs
from verbs import (
    BENCH,
    CASES,
    RESUMED,
    TRAIN,
    Case,
    begun,
    contents,
    copied,
    scores,
    undisturbed,
    weights,
)

ROUNDS = 10  # pairs, the second run later and later
SECONDS = 300.0
SHARED = {"upscale", "bench --json", "demo"}  # no run of theirs is refused
BRIEF = {"bench --write-lr"}  # its folder is locked for some milliseconds: the runs may not meet
REFUSED = r"being written by another process|already holds a run|is there already"
WITHOUT = BENCH[: BENCH.index("--report")]
DATASET = ("upscale-dataset", "in", "out", "--model", "bicubic", "--device", "cpu")
PAPER = ("reproduce", "paper", "--scenario", "1", "--steps", "3", "--data", "study")
PAPER += ("--out", "out", "--device", "cpu", "--set", "generator.width=0.05")
PAPER += ("--set", "batch_size=4", "--verify-data", "imm")
FIT = ("fit", "a-plus", "--data", "in", "--out", "out", "--samples", "1000")
FIT += ("--set", "generator.atoms=8", "--set", "generator.components=4")
SHARDS = (*DATASET, "--workers", "1", "--shard-size", "4")
PAIRS = {
    **CASES,
    "train --resume": Case(RESUMED, RESUMED, weights),
    "bench --json": Case((*WITHOUT, "--json", "out.json"), (), scores("out.json")),
    "bench --write-lr": Case((*WITHOUT, "--write-lr", "out"), (), contents("out*/*")),
    "fit": Case(FIT, FIT, contents("out/model.safetensors")),
    "upscale-dataset": Case(SHARDS, SHARDS, contents("out/*.tar")),
    "reproduce": Case(PAPER, PAPER, contents("out/*/model.safetensors")),
}
MINUTES = {"upscale-dataset": 3, "reproduce": 3}  # rounds of what takes long


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = verbs.given(tmp_path_factory.mktemp("given"))
    for split in ("train", "val", "test"):
        shutil.copytree(folder / "in", folder / "study" / split)
    (folder / "imm").mkdir()
    for number, file in enumerate(sorted((folder / "portraits").glob("*.png"))):
        for photo in range(3):  # not the same pixels: copies would be left out
            pixels = verbs.Image.open(file).rotate(photo, resample=2)
            pixels.save(folder / "imm" / f"{number + 1:02d}_{photo + 1:02d}.png")
    return folder


@pytest.fixture(autouse=True)
def eye(monkeypatch: pytest.MonkeyPatch) -> None:
    from test_reproduce import Eye

    monkeypatch.setattr("srkit_facenet.embedder.FaceNet", Eye)


def pair(case: Case, folder: Path, later: float) -> list[tuple[int, str]]:
    """Start a verb twice; return the statuses and what was said, of the first one first."""
    first = begun(folder, case.words)
    time.sleep(later)
    second = begun(folder, case.words)
    return [
        (status, err) for status, _, err in (run.end(timeout=SECONDS) for run in (first, second))
    ]


def drill(
    name: str, given: Path, tmp_path: Path, rounds: int, prepare: Callable[[Path], object]
) -> None:
    case, draw = PAIRS[name], random.Random(name)
    whole = copied(given, tmp_path / "whole")
    prepare(whole)
    seconds, expected = undisturbed(case, whole)
    refused = 0
    for number in range(rounds):
        folder = copied(given, tmp_path / "pair")
        prepare(folder)
        later = draw.uniform(0, 1.2) * seconds * number / rounds
        ends = pair(case, folder, later)
        what = f"{name} {number}, {later:.2f} of {seconds:.2f} s: {ends}"
        statuses = sorted(status for status, _ in ends)
        assert statuses in ([0, 0], [0, 2]), what
        for status, err in ends:
            assert "Traceback" not in err, what
            if status == 2:
                refused += 1
                (line,) = [line for line in err.splitlines() if line.startswith("srkit: ")][-1:]
                assert re.search(REFUSED, line), what
        assert name not in SHARED or statuses == [0, 0], what
        assert case.whole(folder) == expected, what
        assert not list(folder.rglob("*.part")), what
        assert not list(folder.rglob("*.lock")), what
    print(f"{name}: {refused} of {rounds} seconds refused, of {seconds:.1f} s each")
    assert name in SHARED | BRIEF or refused, "the runs never met"


def unchanged(folder: Path) -> None: ...


def half_trained(folder: Path) -> None:
    run = begun(folder, (*TRAIN, "--checkpoint-every", "3", "--steps", "6"))
    status, _, err = run.end(timeout=SECONDS)
    assert status == 0, err


PREPARED = {"train --resume": half_trained}


@pytest.mark.drill
@pytest.mark.parametrize("name", PAIRS)
def test_two_runs_share_a_folder_or_one_is_refused(name: str, given: Path, tmp_path: Path) -> None:
    rounds = MINUTES.get(name, ROUNDS)
    drill(name, given, tmp_path, rounds, PREPARED.get(name, unchanged))


def test_every_verb_that_writes_is_here() -> None:
    commands = {command.name for command in entry_points(group="srkit.commands")}
    reading = {"compare", "doctor", "info", "list", "models", "plugins", "ui"}
    drilled = {case.words[0] for case in PAIRS.values()}
    assert drilled == commands - reading
