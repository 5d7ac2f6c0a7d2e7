"""The folder of one training run: recipe, log, checkpoints, picture grids, final weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from srkit.errors import InputError, RecipeError
from srkit.files import write_text
from srkit.models import checkpoint
from srkit.recipe import Recipe

BEST = "best.safetensors"
LOG = "log.jsonl"
RECIPE = "recipe.toml"
KEEP = 3


def checkpoint_file(folder: Path, step: int) -> Path:
    """Return the name of the checkpoint after ``step`` batches."""
    return folder / f"checkpoint-{step:08d}.safetensors"


def step_of(file: Path) -> int:
    """Return after how many batches a checkpoint was written, by its name."""
    return int(file.stem.rpartition("-")[2])


def require_free(folder: Path) -> None:
    """See that a folder holds no run yet.

    Raises:
        InputError: It does.
    """
    if (folder / LOG).exists() or checkpoint.checkpoints(folder):
        raise InputError(f"{folder} already holds a run; --resume goes on, --out starts elsewhere")


def begin(folder: Path, recipe: Recipe) -> None:
    """Make a run's folder and write its recipe.

    Raises:
        InputError: The folder already holds a run, or can't be written.
    """
    require_free(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / RECIPE, recipe.to_toml())
        (folder / LOG).touch()
    except OSError as error:
        raise InputError(f"can't write to {folder}: {error}") from error


def resume(folder: Path, recipe: Recipe, fingerprint: str) -> Path | None:
    """Find the newest checkpoint of a run and cut its log back to there.

    Args:
        folder: The run's.
        recipe: That of the run, but for the number of steps.
        fingerprint: Of the photos there are now.

    Returns:
        None where the run was ended before its first checkpoint.

    Raises:
        InputError: There is no run here, or it was trained on other photos.
        RecipeError: The recipe is another one, but for the number of steps.
    """
    if not (folder / RECIPE).is_file():
        raise InputError(f"{folder} holds no run to resume")
    files = checkpoint.checkpoints(folder)
    found = _newest(files)
    before = found.recipe if found else Recipe.from_file(folder / RECIPE)
    if changed := differences(before, recipe):
        raise RecipeError(f"can't resume {folder} with another recipe: {'; '.join(changed)}")
    if found and found.step > recipe.steps:
        raise RecipeError(f"{folder} is at step {found.step} already, past {recipe.steps}")
    if found and found.metadata["data"] != fingerprint:
        raise InputError(f"{folder} was trained on other photos than these")
    for torn in folder.glob(".*.part"):  # of a run that was killed while it wrote
        torn.unlink(missing_ok=True)
    cut_log(folder / LOG, found.step if found else 0)
    write_text(folder / RECIPE, recipe.to_toml())
    return files[-1] if files else None


def _newest(files: list[Path]) -> checkpoint.Checkpoint | None:
    try:
        return checkpoint.read(files[-1], only=("rng",)) if files else None
    except InputError as error:
        before = f"; delete it to go on from {files[-2].name}" if files[1:] else ""
        raise InputError(f"{error}{before}") from error


def flat(values: Mapping[str, Any] | Recipe, prefix: str = "") -> dict[str, Any]:
    """Return nested values by dotted path; lists become text, as trackers of experiments want."""
    if isinstance(values, Recipe):
        values = values.model_dump(mode="json", exclude_none=True)
    result: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            result |= flat(value, f"{prefix}{key}.")
        else:
            result[prefix + key] = str(value) if isinstance(value, list | tuple) else value
    return result


def differences(before: Recipe, after: Recipe) -> list[str]:
    """Return which values of two recipes differ, ``steps`` aside, as ``"seed: 0 -> 1"``."""
    old, new = flat(before), flat(after)
    keys = sorted((old.keys() | new.keys()) - {"steps"})
    return [f"{k}: {old.get(k)!r} -> {new.get(k)!r}" for k in keys if old.get(k) != new.get(k)]


class Log:
    """The run's log, a line a record, on the disk as soon as it is written.

    Args:
        folder: The run's.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / LOG

    def write(self, record: Mapping[str, Any]) -> None:
        """Add a line.

        Raises:
            InputError: The disk is full.
        """
        try:
            with self.file.open("a", encoding="utf-8") as log:
                log.write(json.dumps(record) + "\n")
        except OSError as error:
            raise InputError(f"can't write {self.file}: {error}") from error


def cut_log(log: Path, step: int) -> None:
    """Drop the lines of a log that are later than a checkpoint, and a torn last one."""
    kept: list[str] = []
    if log.is_file():
        for line in log.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line)["step"] > step:
                    break
            except (ValueError, KeyError, TypeError):
                break
            kept.append(line)
    write_text(log, "".join(f"{line}\n" for line in kept))


def forget_old(folder: Path, keep: int = KEEP) -> None:
    """Delete all but the newest checkpoints."""
    for file in checkpoint.checkpoints(folder)[:-keep]:
        file.unlink(missing_ok=True)


def cut_back(folder: Path, step: int) -> None:
    """Drop the checkpoints and the log's lines after a step, which the run has gone back to.

    Raises:
        InputError: The disk is full.
    """
    for file in checkpoint.checkpoints(folder):
        if step_of(file) > step:
            file.unlink(missing_ok=True)
    cut_log(folder / LOG, step)
