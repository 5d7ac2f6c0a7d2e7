"""60 interrupts a verb: INT, TERM, a closed and a full stdout, at random moments."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from forks import Fork
from PIL import Image
from training import tiny

from srkit.cli import main
from srkit.models import checkpoint

COUNT = 60
EACH = 10  # after so many the verb is run to its end
SECONDS = 30.0  # to end in
KINDS = ("INT", "TERM", "closed", "full")
ENDINGS = ("interrupted", "stopped", "can't write the output")


@dataclass(frozen=True)
class Case:
    """A verb in a folder.

    Attributes:
        words: Arguments.
        again: Those of a run that goes on.
        whole: Files that are the same whenever they are there, by a pattern.
        result: What the end of an undisturbed run is compared by.
    """

    words: tuple[str, ...]
    again: tuple[str, ...]
    whole: str
    result: Callable[[Path], object]


def contents(pattern: str) -> Callable[[Path], object]:
    return lambda folder: {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob(pattern))
        if file.is_file()
    }


def scores(folder: Path) -> object:
    return json.loads((folder / "out" / "report.json").read_text())["quality"]["scores"]


def weights(folder: Path) -> object:
    stored = checkpoint.read(folder / "out" / checkpoint.MODEL)
    return {key: value.tolist() for key, value in stored.tensors.items()}


def faces(folder: Path) -> object:
    return contents("*.png")(folder / "out")


UPSCALE = ("upscale", "in", "-o", "out", "--model", "bicubic", "--device", "cpu")
DEGRADE = ("degrade", "in", "out", "--samples", "3")
BENCH = ("bench", "bicubic", "--data", "in", "--device", "cpu", "--report", "out")
TRAIN = ("train", "r.toml", "--data", "in", "--out", "out", "--device", "cpu")
PREPARE = ("prepare", "portraits", "out", "--device", "cpu", "--workers", "1")
EXPORT = ("export", "model.safetensors", "--out", "out/x.onnx")
CASES = {
    "upscale": Case(UPSCALE, (*UPSCALE, "--skip-existing"), "out/*.png", contents("out/*.png")),
    "degrade": Case(DEGRADE, DEGRADE, "out/*.png", contents("out/*.png")),
    "bench": Case(BENCH, BENCH, "out/*.html.none", scores),
    "train": Case(
        (*TRAIN, "--checkpoint-every", "3"),
        (*TRAIN, "--checkpoint-every", "3", "--resume"),
        "out/none",
        weights,
    ),
    "prepare": Case(PREPARE, PREPARE, "out/*.png", faces),
    "export": Case(EXPORT, (*EXPORT, "--force"), "out/none", contents("out/none")),
    "demo": Case(("demo",), ("demo",), "srkit-demo.png", contents("srkit-demo.png")),
}


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What verbs read: photos, portraits, a recipe and a model."""
    folder = tmp_path_factory.mktemp("given")
    astronaut = np.ascontiguousarray(skimage.data.astronaut()[:300, 80:380])
    for name, count, side in (("in", 12, 64), ("portraits", 5, 200)):
        (folder / name).mkdir()
        for number in range(count):
            image = Image.fromarray(np.roll(astronaut, 3 * number, 1))
            image.resize((side, side)).save(folder / name / f"{number:02d}.png")
    recipe = tiny(steps=12, ema=0.9)
    (folder / "r.toml").write_text(recipe.to_toml())
    state = checkpoint.prefixed("generator", checkpoint.generator(recipe).state_dict())
    checkpoint.write(folder / "model.safetensors", state, recipe, 1)
    return folder


def begun(folder: Path, words: tuple[str, ...], kind: str = "", after: float = 0.0) -> Fork:
    """Start a verb in a folder; its stdout ends by itself after some seconds, by kind."""
    ready = folder / "ready"
    ready.unlink(missing_ok=True)

    def end_stdout(*_: object) -> None:
        if kind == "full":
            os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
        else:
            reader, writer = os.pipe()
            os.dup2(writer, 1)
            os.close(reader)

    def call() -> int:
        os.chdir(folder)
        if kind in ("closed", "full"):
            signal.signal(signal.SIGALRM, end_stdout)
            signal.setitimer(signal.ITIMER_REAL, max(after, 1e-3))
        ready.touch()
        status = main(words)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
            signal.signal(number, signal.SIG_IGN)
        return status

    fork = Fork(folder, call, NO_COLOR="1")
    fork.wait_until(ready.exists)
    return fork


def copied(given: Path, folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(given, folder)
    return folder


def drill(name: str, given: Path, tmp_path: Path, count: int) -> None:
    case, draw = CASES[name], random.Random(name)
    undisturbed = copied(given, tmp_path / "undisturbed")
    began = time.monotonic()
    status, _, err = begun(undisturbed, case.words).end(timeout=600)
    seconds = time.monotonic() - began
    assert status == 0, err
    expected, files = case.result(undisturbed), contents(case.whole)(undisturbed)
    inside = 0
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        folder, moment = copied(given, tmp_path / "disturbed"), draw.uniform(0, seconds)
        fork = begun(folder, case.words, kind, moment)
        if kind in ("INT", "TERM"):
            time.sleep(moment)
            began = time.monotonic()
            status, out, err = fork.end(getattr(signal, f"SIG{kind}"), timeout=SECONDS)
            allowed = {0, 130}
        else:
            status, out, err = fork.end(timeout=seconds * 10 + SECONDS)
            allowed = {0, 1}
        what = f"{name} {number}: {kind} after {moment:.3f} s: {status}\n{out}\n{err}"
        assert status in allowed, what
        assert "Traceback" not in err, what
        ends = [line for line in err.splitlines() if any(word in line for word in ENDINGS)]
        assert len(ends) == (status != 0 and kind != "closed"), what  # nobody reads on
        assert not ends or ends[0].startswith("srkit: "), what
        inside += status != 0
        assert not list(folder.rglob("*.part")), what
        there = contents(case.whole)(folder)
        assert isinstance(there, dict)
        assert isinstance(files, dict)
        assert there.items() <= files.items(), what
        if (number + 1) % EACH == 0:
            started = (folder / "out").is_dir() and any((folder / "out").iterdir())
            status, _, err = begun(folder, case.again if started else case.words).end(timeout=600)
            assert status == 0, f"{what}\nagain: {err}"
            assert case.result(folder) == expected, what
    print(f"{name}: {inside} of {count} ended early, of {seconds:.1f} s")


@pytest.mark.drill
@pytest.mark.parametrize("name", CASES)
def test_a_verb_ends_cleanly_at_any_moment(name: str, given: Path, tmp_path: Path) -> None:
    drill(name, given, tmp_path, COUNT)


@pytest.mark.parametrize("name", ["degrade"])
def test_some_interrupts_end_cleanly(name: str, given: Path, tmp_path: Path) -> None:
    drill(name, given, tmp_path, 8)
