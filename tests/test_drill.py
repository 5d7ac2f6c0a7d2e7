"""The fault drill: runs that are killed at random moments end as if nothing had happened."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from training import same_tensors

from srkit import registry
from srkit.models import checkpoint
from srkit.training import run_folder

pytestmark = pytest.mark.drill

KILLS = 30
STEPS = 600


def start(recipe: Path, photos: Path, out: Path) -> subprocess.Popen[str]:
    """Begin a run, or go on with it."""
    words = [sys.executable, "-m", "srkit", "train", str(recipe), "--data", str(photos)]
    words += ["--out", str(out), "--device", "cpu", "--checkpoint-every", "4"]
    if (out / run_folder.RECIPE).is_file():
        words.append("--resume")
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> None:
    """Let a run end by itself."""
    _, error = process.communicate()
    assert process.returncode == 0, error


def wait(process: subprocess.Popen[str], until: Callable[[], bool]) -> bool:
    """Return whether something happened before the process ended."""
    while process.poll() is None:
        if until():
            return True
        time.sleep(0.0005)
    return False


def size(file: Path) -> int:
    return file.stat().st_size if file.is_file() else 0


def test_runs_killed_at_random_moments_end_like_the_undisturbed_one(
    tmp_path: Path, crops: Callable[[Path, int, int], list[Path]]
) -> None:
    photos = tmp_path / "photos"
    crops(photos, 24, 32)
    recipe = registry.build("recipes", "inception-gan").changed(
        {
            "steps": STEPS,
            "batch_size": 4,
            "validate_every": 25,
            "generator.width": 0.1,
            "discriminator.width": 0.1,
            "data.size": 32,
            "data.flips": True,
            "ema": 0.9,
        }
    )
    file = tmp_path / "recipe.toml"
    file.write_text(recipe.to_toml())
    whole = tmp_path / "whole"
    finish(start(file, photos, whole))

    draw = random.Random(0)
    number, kills, inside, finished = 0, 0, 0, 0
    out = tmp_path / "run-0"
    while kills < KILLS:
        process = start(file, photos, out)
        before = size(out / run_folder.LOG)
        in_write = kills % 3 == 0
        if in_write:  # as soon as a checkpoint is being written, after some that weren't
            skip = draw.randrange(6)
            seen: set[str] = set()

            def writing(seen: set[str] = seen, skip: int = skip, out: Path = out) -> bool:
                seen.update(part.name for part in out.glob(".checkpoint-*.part"))
                return len(seen) > skip

            alive = wait(process, writing)
        elif kills % 3 == 1:  # at any time after the first line, startup left out
            alive = wait(
                process, lambda before=before, out=out: size(out / run_folder.LOG) != before
            )
            time.sleep(draw.uniform(0, 1.5))
        else:  # at any time at all, startup included
            time.sleep(draw.uniform(0, 8))
            alive = process.poll() is None
        process.send_signal(signal.SIGKILL)
        _, error = process.communicate()
        if process.returncode == -signal.SIGKILL:
            kills += 1
            inside += alive and in_write and bool(list(out.glob(".checkpoint-*.part")))
            continue
        assert process.returncode == 0, error
        finished += 1
        same_tensors(whole / checkpoint.MODEL, out / checkpoint.MODEL)
        same_tensors(checkpoint.checkpoints(whole)[-1], checkpoint.checkpoints(out)[-1])
        number += 1
        out = tmp_path / f"run-{number}"
    finish(start(file, photos, out))
    same_tensors(whole / checkpoint.MODEL, out / checkpoint.MODEL)
    same_tensors(checkpoint.checkpoints(whole)[-1], checkpoint.checkpoints(out)[-1])
    assert not list(out.glob(".*"))  # nothing torn is left
    assert inside >= 3, "too few kills fell inside a checkpoint's write"
    print(f"{kills} kills, {inside} of them inside a write; {finished + 1} runs ended the same")
