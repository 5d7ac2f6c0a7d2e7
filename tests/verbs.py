"""Verbs in folders of their own, to be disturbed: by signals, full disks and other runs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import skimage.data
from forks import Fork
from PIL import Image
from training import tiny

from srkit.cli import main
from srkit.models import checkpoint
from srkit.recipe import Recipe


@dataclass(frozen=True)
class Case:
    """A verb in a folder.

    Attributes:
        words: Arguments.
        again: Those of a run that goes on.
        whole: What files hold whenever they are there, by name; it raises at half a file.
    """

    words: tuple[str, ...]
    again: tuple[str, ...]
    whole: Callable[[Path], dict[str, object]]


def contents(pattern: str) -> Callable[[Path], dict[str, object]]:
    return lambda folder: {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob(pattern))
        if file.is_file()
    }


def scores(pattern: str) -> Callable[[Path], dict[str, object]]:
    """Return what reports say that doesn't depend on the time and the machine."""
    return lambda folder: {
        file.name: json.loads(file.read_text())["quality"]["scores"]
        for file in folder.glob(pattern)
    }


def weights(folder: Path) -> dict[str, object]:
    """Return a run's weights, if it is done; its checkpoints and its recipe have to be readable."""
    for file in checkpoint.checkpoints(folder / "out"):
        checkpoint.read(file)
    for file in (folder / "out").glob("recipe.toml"):
        Recipe.from_file(file)
    return {
        file.name: {key: value.tolist() for key, value in checkpoint.read(file).tensors.items()}
        for file in (folder / "out").glob(checkpoint.MODEL)
    }


UPSCALE = ("upscale", "in", "-o", "out", "--model", "bicubic", "--device", "cpu")
DEGRADE = ("degrade", "in", "out", "--samples", "3")
BENCH = ("bench", "bicubic", "--data", "in", "--device", "cpu", "--report", "out")
TRAIN = ("train", "r.toml", "--data", "in", "--out", "out", "--device", "cpu")
PREPARE = ("prepare", "portraits", "out", "--device", "cpu", "--workers", "1", "--width", "64")
EXPORT = ("export", "model.safetensors", "--out", "out/x.onnx")
RESUMED = (*TRAIN, "--checkpoint-every", "3", "--resume")
CASES = {
    "upscale": Case(UPSCALE, (*UPSCALE, "--skip-existing"), contents("out/*.png")),
    "degrade": Case(DEGRADE, DEGRADE, contents("out/*.png")),
    "bench": Case(BENCH, BENCH, scores("out/report.json")),
    "train": Case((*TRAIN, "--checkpoint-every", "3"), RESUMED, weights),
    "prepare": Case(PREPARE, PREPARE, contents("out/*.png")),
    "export": Case(EXPORT, (*EXPORT, "--force"), contents("out/x.onnx")),
    "demo": Case(("demo",), ("demo",), contents("srkit-demo.png")),
}


def same(files: dict[str, object], expected: dict[str, object]) -> bool:
    """Return whether all files are what they should be; some may not be there yet."""
    return all(file in expected and expected[file] == files[file] for file in files)


def undisturbed(case: Case, folder: Path) -> tuple[float, dict[str, object]]:
    """Run a verb to its end; return the seconds that it took, and what its files hold."""
    began = time.monotonic()
    status, _, err = begun(folder, case.words).end(timeout=300)
    seconds = time.monotonic() - began
    assert status == 0, err
    files = case.whole(folder)
    assert files
    return seconds, files


def given(folder: Path) -> Path:
    """Write what verbs read: photos, portraits, a recipe and a model."""
    astronaut = np.ascontiguousarray(skimage.data.astronaut()[:300, 80:380])
    for name, count, side in (("in", 12, 64), ("portraits", 5, 200)):
        (folder / name).mkdir()
        for number in range(count):
            image = Image.fromarray(np.roll(astronaut, 3 * number, 1))
            image.resize((side, side)).save(folder / name / f"{number:02d}.png")
    recipe = tiny(steps=12, ema=0.9)
    (folder / "r.toml").write_text(recipe.to_toml())
    state = checkpoint.prefixed("generator", recipe.build("generator").state_dict())
    checkpoint.write(folder / "model.safetensors", state, recipe, 1)
    return folder


def begun(
    folder: Path,
    words: tuple[str, ...],
    kind: str = "",
    after: float = 0.0,
    before: Callable[[], object] = lambda: None,
) -> Fork:
    """Start a verb in a folder.

    Args:
        folder: It becomes the current one.
        words: Arguments.
        kind: ``closed`` or ``full``, which its stdout becomes by itself.
        after: Seconds until then.
        before: Called first, in the verb's process.
    """
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
        before()
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
