"""The folder of one training run: recipe, log, checkpoints, image grids, best and final weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydantic
from typing_extensions import TypedDict

from srkit import foreign
from srkit.errors import InputError, RecipeError, option, refused
from srkit.files import lock, sweep, write_text
from srkit.models import checkpoint
from srkit.models.checkpoint import Checkpoint
from srkit.recipe import Recipe
from srkit.training.distributed import Processes
from srkit.training.state import State

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

Report = Callable[[Mapping[str, Any]], None]

BEST = "best.safetensors"
LOCK = "run.lock"
LOG = "log.jsonl"
RECIPE = "recipe.toml"
KEPT = 3  # checkpoints


class RunFolder:
    """Where a run writes.

    The main process alone claims and begins it; all call the other methods together, and one reads
    and writes. ``report`` is called with each record of the log, on the main process; ``newest``
    is the newest checkpoint.
    """

    def __init__(
        self, path: Path, processes: Processes, report: Report, *, tensorboard: bool = False
    ) -> None:
        self.path, self.processes, self.report = path, processes, report
        self.newest: Path | None = None
        self._locked = ExitStack()
        self._board = _summary_writer() if tensorboard else None  # says early if it isn't there
        self._writer: SummaryWriter | None = None

    def claim(self, recipe: Recipe, *, resume: bool) -> Path | None:
        """Make and lock the folder; return the newest checkpoint of the run to go on with, if any.

        Of a run that goes on, only the number of steps may differ.

        Raises:
            InputError: Another process trains here, the folder can't be written, it holds a run
                already, or none to resume.
            RecipeError: The run to resume has another recipe.
        """
        if resume and not (self.path / RECIPE).is_file():
            raise InputError(f"{self.path} holds no run to resume")
        self._locked.enter_context(lock(self.path, LOCK))
        files = checkpoint.checkpoints(self.path)
        if not resume:
            if (self.path / LOG).exists() or files:
                how = f"use {option('resume', True)}, or another {option('out')}"
                raise InputError(f"{self.path} already holds a run: {how}")
            return None
        newest = _newest(files)
        before = newest.recipe if newest else Recipe.from_file(self.path / RECIPE)
        if changed := differences(before, recipe):
            raise RecipeError(f"can't resume {self.path} with another recipe: {'; '.join(changed)}")
        if newest and newest.step > recipe.steps:
            raise RecipeError(f"{self.path} is at step {newest.step} already, past {recipe.steps}")
        sweep(self.path)
        return files[-1] if newest else None

    def begin(self, recipe: Recipe, first: Mapping[str, Any] | None) -> None:
        """Write the recipe, and of a new run the first line of the log; InputError if it can't."""
        write_text(self.path / RECIPE, recipe.to_toml())
        if first is not None:
            write_text(self.path / LOG, json.dumps(first) + "\n")

    def close(self) -> None:
        """Write what TensorBoard still holds, and let other processes have the folder."""
        if self._writer is not None:
            self._writer.close()
        self._locked.close()

    def log(self, record: Mapping[str, Any]) -> None:
        """Add a line to the log, on the disk at once, and report it."""
        self._write(lambda: self._append(record))
        if self.processes.main:
            if self._board is not None:
                self._writer = self._writer or self._board(str(self.path / "tensorboard"))
                for name, value in flat(record).items():
                    if name != "step" and isinstance(value, int | float):
                        self._writer.add_scalar(name, value, record["step"])
            self.report(record)

    def _append(self, record: Mapping[str, Any]) -> None:
        file = self.path / LOG
        with refused(f"can't write {file}"), file.open("a", encoding="utf-8") as log:
            log.write(json.dumps(record) + "\n")

    def save(self, state: State) -> None:
        """Write a checkpoint, and delete all but the newest."""
        tensors, metadata = state.capture()
        file = self.path / f"checkpoint-{state.step:08d}.safetensors"

        def write() -> None:
            checkpoint.write(file, tensors, state.recipe, state.step, metadata)
            for old in checkpoint.checkpoints(self.path)[:-KEPT]:
                old.unlink(missing_ok=True)

        self._write(write)
        self.newest = file

    def save_weights(self, name: str, state: State) -> Path:
        """Write the generator's weights alone."""
        file, recipe, tensors = self.path / name, state.recipe, state.weights()
        self._write(lambda: checkpoint.write(file, tensors, recipe, state.step, state.describe()))
        return file

    def save_grid(self, step: int, draw: Callable[[Path], None]) -> None:
        """Let an image grid be drawn into its file."""
        self._write(lambda: draw(self.path / f"grid-{step:08d}.png"))

    def last(self, fingerprint: str) -> Checkpoint:
        """Return the newest checkpoint; InputError if it was trained on other photos."""
        assert self.newest is not None
        saved = checkpoint.read(self.newest)
        if saved.metadata.get("data") != fingerprint:
            raise InputError(f"{self.path} was trained on other photos than these")
        return saved

    def checkpoint_before(self, step: int) -> Checkpoint:
        """Return the newest checkpoint from before a step, or else the oldest there is."""
        files = self.processes.by_main(lambda: checkpoint.checkpoints(self.path))
        earlier = [file for file in files if step_of(file) < step]
        return checkpoint.read((earlier or files[:1])[-1])

    def cut_back(self, step: int) -> None:
        """Drop the checkpoints and the log's lines after a step."""

        def cut() -> None:
            for file in checkpoint.checkpoints(self.path):
                if step_of(file) > step:
                    file.unlink(missing_ok=True)
            cut_log(self.path / LOG, step)

        self._write(cut)

    def _write(self, work: Callable[[], None]) -> None:
        """Let the main process write; if it can't, say how the run goes on."""
        try:
            self.processes.by_main(work)
        except InputError as error:
            how = f"goes on from {self.newest}" if self.newest else "starts it"
            error.args = (f"{error}; make room, then {option('resume', True)} {how}",)
            raise


def _summary_writer() -> type[SummaryWriter]:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError("TensorBoard is not installed: pip install tensorboard") from error
    return SummaryWriter


def step_of(file: Path) -> int:
    """Return after how many steps a checkpoint was written, by its name."""
    return int(file.stem.rpartition("-")[2])


def _newest(files: list[Path]) -> Checkpoint | None:
    try:
        return checkpoint.read(files[-1], only=("rng",)) if files else None
    except InputError as error:
        before = f"; delete it to go on from {files[-2].name}" if files[1:] else ""
        raise InputError(f"{error}{before}") from error


def flat(values: Mapping[str, Any] | Recipe, prefix: str = "") -> dict[str, Any]:
    """Return nested values by dotted path; lists become text."""
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


class _Record(TypedDict):
    """A line of a log, with whatever else a step has."""

    __pydantic_config__ = pydantic.ConfigDict(extra="allow")  # type: ignore[misc]
    step: int


def cut_log(log: Path, step: int) -> None:
    """Drop the lines of a log that are later than a checkpoint, and a torn last one."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
    kept: list[str] = []
    for line in lines:
        try:
            record = foreign.parse(line, _Record, "JSON", str(log))
        except InputError:
            break
        if record["step"] > step:
            break
        kept.append(line)
    write_text(log, "".join(f"{line}\n" for line in kept))
