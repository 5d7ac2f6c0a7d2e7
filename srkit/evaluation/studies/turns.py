"""What steps of several recipes cost on this machine, measured in turns.

A machine that others use as well is faster in one minute than in the next. Recipes measured one
after another would get unequal shares of it; in turns, each is measured in every minute.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch

from srkit.data.loader import Images, Loader, open_loader
from srkit.data.sampler import Batch
from srkit.errors import InputError
from srkit.models import checkpoint
from srkit.recipe import Recipe
from srkit.training import distributed as machines
from srkit.training import parts
from srkit.training import step as steps
from srkit.training.distributed import Processes
from srkit.training.state import State
from srkit.training.validation import Validation

WARM_UP = 2  # batches: the first pays for allocation and the choice of kernels
TURN = 1.0  # seconds of one recipe before the next has its turn
ROUNDS = (5, 15)  # fewest and most
SCRATCH = ".measuring-"


@dataclass(frozen=True)
class Pace:
    """What training a recipe costs here.

    Attributes:
        step: Seconds of a step; see `level`.
        rounds: The same in each round.
        validation: Seconds of a validation, its picture grid and the best weights included.
        checkpoint: Seconds of a checkpoint.
        start: Seconds until the first step.
    """

    step: float
    rounds: tuple[float, ...]
    validation: float
    checkpoint: float
    start: float


class _Runner:
    """One recipe, ready to take steps."""

    def __init__(
        self, recipe: Recipe, feed: Loader, held_out: Images, processes: Processes
    ) -> None:
        began = time.perf_counter()
        torch.manual_seed(recipe.seed)
        self.parts = parts.parts(recipe, processes.device)
        parts.rehearse(recipe, self.parts, processes.device)
        self.state = State.of(recipe, self.parts, processes)
        self.held_out, self.recipe = held_out, recipe
        self.validation = Validation.of(held_out, self.parts.degrade, recipe.scale)
        self.validation.baseline()
        self.parts.generator.train()
        self.batches: Iterator[Batch] = feed.batches(0)
        self.start = time.perf_counter() - began
        self.warm = 0.0

    def warm_up(self) -> None:
        """Take the first steps, and learn what one costs, about."""
        self.turn(WARM_UP)
        self.warm = self.turn(1)

    def turn(self, count: int) -> float:
        """Return the seconds of a step, over so many."""
        began = time.perf_counter()
        for _ in range(count):
            steps.step(self.state, self.parts, next(self.batches))
        # The host learns a loss only when the device is done.
        self.state.window.means()
        return (time.perf_counter() - began) / count

    def validate(self, folder: Path) -> float:
        """Return the seconds of a validation."""
        began = time.perf_counter()
        sr = self.validation.upscale(self.state.shipped(), self.recipe.batch_size)
        self.validation.scores(sr)
        self.validation.draw_grid(sr, folder / "grid.png")
        tensors = checkpoint.prefixed("generator", self.state.shipped().state_dict())
        checkpoint.write(folder / "model", tensors, self.recipe, 0, {})
        return time.perf_counter() - began

    def save(self, folder: Path) -> float:
        """Return the seconds of a checkpoint."""
        began = time.perf_counter()
        tensors, metadata = self.state.capture()
        checkpoint.write(folder / "checkpoint", tensors, self.recipe, 0, metadata)
        return time.perf_counter() - began


def processes_for(recipe: Recipe, device: str) -> Processes:
    """Return this process, on its device.

    Raises:
        InputError: There is no such device, or several processes were launched together.
    """
    alone = machines.start(device, recipe.precision)
    if alone.count > 1:
        raise InputError("a study is trained by one process; start it without a launcher")
    return alone


def measure(
    recipes: Mapping[str, Recipe],
    source: str | Path,
    folder: Path,
    *,
    device: str = "auto",
    workers: int | None = None,
    seconds: float = 60,
    decoded: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[dict[str, Pace], str]:
    """Measure recipes in turns, on the real data and by the real step; nothing of it is kept.

    Args:
        recipes: By name; on the same photos.
        source: As `srkit.train`'s ``data``.
        folder: Where the runs will lie; checkpoints are tried there.
        device: Where.
        workers: As in `srkit.train`.
        seconds: How long it may take at most, `ROUNDS` and `TURN` permitting.
        decoded: Told how many photos are decoded, and of how many.

    Returns:
        (what each costs, fingerprint of the training photos, one for each way they are framed).

    Raises:
        SrkitError: A recipe's parts don't fit, or the data can't be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"{SCRATCH}*"):  # of a measuring that was killed
        shutil.rmtree(left, ignore_errors=True)
    with ExitStack() as at_end:
        runners: dict[str, _Runner] = {}
        feeds: dict[str, tuple[Loader, Images]] = {}
        for name, recipe in recipes.items():
            alone = processes_for(recipe, device)
            key = f"{recipe.data} {recipe.batch_size} {recipe.seed} {recipe.scale}"
            if key not in feeds:
                feed, held_out = open_loader(
                    source,
                    None,
                    recipe,
                    device=alone.device,
                    workers=workers,
                    progress=decoded,
                )
                at_end.callback(feed.close)
                feeds[key] = feed, held_out.to(alone.device)
            if not runners:  # the first one also pays for what is imported on the way
                _Runner(recipe, *feeds[key], alone)
            runners[name] = _Runner(recipe, *feeds[key], alone)
        scratch = Path(
            at_end.enter_context(tempfile.TemporaryDirectory(prefix=SCRATCH, dir=folder))
        )
        for runner in runners.values():
            runner.warm_up()
        next(iter(runners.values())).validate(scratch)
        rounds = _in_turns(runners, seconds)
        steps_take = level(rounds)
        paces = {
            name: Pace(
                steps_take[name],
                tuple(rounds[name]),
                runner.validate(scratch),
                runner.save(scratch),
                runner.start,
            )
            for name, runner in runners.items()
        }
        fingerprints = dict.fromkeys(feed.fingerprint for feed, _ in feeds.values())
    return paces, " ".join(fingerprints)


def level(rounds: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Return the seconds of a step of each recipe, as if the machine were always as fast.

    A recipe's time is taken as a multiple of its round's mean; the median of these multiples,
    times the median round. So a slow minute, in which all are slow, makes nobody's share smaller.

    Args:
        rounds: Seconds of a step, one a round, by recipe; all of the same rounds.
    """
    means = [statistics.fmean(each) for each in zip(*rounds.values(), strict=True)]
    usual = statistics.median(means)
    return {
        name: usual * statistics.median(a / b for a, b in zip(its, means, strict=True))
        for name, its in rounds.items()
    }


def _in_turns(runners: Mapping[str, _Runner], seconds: float) -> dict[str, list[float]]:
    counts = {name: max(1, round(TURN / runner.warm)) for name, runner in runners.items()}
    a_round = sum(counts[name] * runner.warm for name, runner in runners.items())
    fewest, most = ROUNDS
    found: dict[str, list[float]] = {name: [] for name in runners}
    for number in range(max(fewest, min(most, int(seconds / a_round)))):
        # Every other round backwards, so that nobody always follows the same one.
        names = list(runners) if number % 2 == 0 else list(runners)[::-1]
        for name in names:
            found[name].append(runners[name].turn(counts[name]))
    return found
