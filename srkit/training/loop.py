"""The training loop, read from top to bottom."""

from __future__ import annotations

import contextlib
import itertools
import math
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Literal, TypeVar

import numpy as np
import torch

from srkit import registry
from srkit.data.loader import open_loader
from srkit.errors import InputError, Interrupted, SrkitError
from srkit.inference.device import device_named
from srkit.models import checkpoint
from srkit.models.load import load
from srkit.recipe import Optimizer, Recipe
from srkit.training import cost, plot, run_folder
from srkit.training import distributed as machines
from srkit.training import parts as build
from srkit.training import step as steps
from srkit.training.distributed import Processes
from srkit.training.state import State
from srkit.training.validation import METRICS, Validation

T = TypeVar("T")

# Besides every validation: an early step, when all terms still have a long way to go.
GRADIENTS_AT = 100


@dataclass(frozen=True)
class Result:
    """What a run left behind.

    Attributes:
        model: The weights alone, averaged where the recipe has ``ema``.
        best: The weights of the best validation.
        checkpoint: The last training checkpoint.
        step: Batches done.
        scores: The last validation: ``psnr``, ``ssim`` and their ``bicubic_`` twins.
    """

    model: Path
    best: Path
    checkpoint: Path
    step: int
    scores: Mapping[str, float]


@dataclass
class Stop:
    """Turns the first SIGINT or SIGTERM into a request, so that no batch is torn."""

    asked: bool = False
    _old: dict[int, Any] = field(default_factory=dict)
    _batches: int = 0  # since several processes last asked each other
    _next: int = 1  # after so many they ask again
    _then: float = 0.0  # when they last did

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._old[number] = signal.signal(number, self._ask)
        return self

    def _ask(self, number: int, _frame: FrameType | None) -> None:
        self.asked = True
        signal.signal(number, self._old[number])  # a second one ends it at once

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def agreed(self, processes: Processes) -> bool:
        """Return whether to stop after this batch: whether any process was asked to.

        All must stop at the same batch. Asking each other costs a wait, so several processes do
        it about once a second; a launcher that ends them gives them half a minute.
        """
        if processes.count == 1:
            return self.asked
        self._batches += 1
        if self._batches < self._next:
            return False
        now = time.perf_counter()
        answers = processes.collect((self.asked, (now - self._then) / self._batches))
        slowest = max(seconds for _, seconds in answers)
        self._batches, self._next, self._then = 0, max(1, min(1000, int(1 / slowest))), now
        return any(asked for asked, _ in answers)


class Clock:
    """Time spent on batches alone, since the last line of the log."""

    def __init__(self) -> None:
        self.began, self.elsewhere = time.perf_counter(), 0.0

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Don't count what is done within."""
        began = time.perf_counter()
        yield
        self.elsewhere += time.perf_counter() - began

    def lap(self) -> float:
        """Return the seconds since the last lap, pauses left out."""
        now = time.perf_counter()
        seconds = now - self.began - self.elsewhere
        self.began, self.elsewhere = now, 0.0
        return seconds


def learning_rate(settings: Optimizer, step: int, steps: int) -> float:
    """Return the learning rate of batch ``step``, counted from 0, of ``steps``."""
    rate = settings.learning_rate
    if settings.schedule == "step":
        rate *= settings.factor ** (step // settings.every)
    elif settings.schedule == "cosine":
        half = 0.5 * (1 + math.cos(math.pi * step / steps))
        rate *= settings.floor + (1 - settings.floor) * half
    return rate * min(1.0, (step + 1) / (settings.warmup + 1))


def better(score: float, best: float | None, *, upward: bool) -> bool:
    """Return whether a score beats the best so far; one that is no number never does."""
    if math.isnan(score):
        return False
    if best is None:
        return True
    return score > best if upward else score < best


def train(
    recipe: Recipe | str,
    *,
    data: str | Path = "celeba",
    val: str | Path | None = None,
    out: str | Path | None = None,
    device: str = "auto",
    storage: Literal["auto", "memory", "stream"] = "auto",
    workers: int | None = None,
    cache: Path | Literal[False] | None = None,
    time_budget: float | None = None,
    checkpoint_every: int = 1000,
    checkpoints: int = run_folder.KEEP,
    best: str = "psnr",
    log_every: int = 50,
    log_with: Sequence[str] = (),
    compiled: bool = False,
    resume: bool = False,
    report: Callable[[Mapping[str, Any]], None] = lambda record: None,
) -> Result:
    """Train a recipe.

    Under ``torchrun`` or ``accelerate launch`` the processes share every batch; the main one
    alone writes and reports.

    Args:
        recipe: A `Recipe`, or the name of a registered one.
        data: Folder of HR photos, a data set's name, ``samples``, ``hf:OWNER/NAME``, tar shards.
        val: The same for held-out photos; without it the data set's own ``val`` split, or a
            twentieth of the photos.
        out: Folder of the run; ``runs/NAME`` unless given.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        storage: ``memory``: photos are decoded once. ``stream``: they are decoded anew for every
            batch. The batches are the same. ``auto``: ``memory`` where there is room.
        workers: Processes that decode a stream.
        cache: Folder for decoded pictures; False for none.
        time_budget: Seconds from now in which to be done. The speed is measured once, the number
            of steps follows and is stored in the run's recipe. With ``resume`` the stored number
            is kept, and the time is not.
        checkpoint_every: Batches between checkpoints.
        checkpoints: How many of the newest are kept.
        best: The metric by which the best validation's weights are kept.
        log_every: Batches between lines of ``log.jsonl``; losses are their means over these.
        log_with: Experiment trackers to write to as well: ``tensorboard``, ``wandb``,
            ``trackio``, and what else accelerate knows.
        compiled: Compile the networks (`torch.compile`): minutes at the start, faster steps.
        resume: Go on from the newest checkpoint in ``out``; bitwise the same on CPU.
        report: Called with ``{"decoded": …, "of": …}`` while photos are decoded, with
            ``{"start": …}`` before the loop, with every record of the log, and about once a
            second with ``{"step": …}`` alone.

    Returns:
        Where the weights are, and how good.

    Raises:
        SrkitError: The recipe's parts don't fit, the data can't be read, the folder holds a run
            already, the disk is full, the time budget is too short for a step, batches are no
            longer finite, or the run was interrupted.
    """
    began = time.perf_counter()
    # --- what to train, on what, and where it goes -------------------------------------------
    if isinstance(recipe, str):
        named = registry.build("recipes", recipe)
        assert isinstance(named, Recipe)
        recipe = named
    out = Path(out) if out else checkpoint.default_folder(recipe.name)
    if resume and time_budget is not None and (out / run_folder.RECIPE).is_file():
        recipe = recipe.changed({"steps": Recipe.from_file(out / run_folder.RECIPE).steps})
    where = None if device == "auto" else device_named(device)
    processes = machines.start(
        where, recipe.precision, recipe.accumulate, trackers=log_with, folder=out
    )
    where = processes.device
    processes.require_shares(recipe.batch_size, recipe.accumulate)
    _seed(recipe.seed)
    parts = build.parts(recipe, where)
    pleased = {}
    if recipe.init and not (resume and checkpoint.checkpoints(out)):
        first = load(recipe.init, device="cpu")
        checkpoint.load_weights(parts.generator, first.generator.state_dict(), recipe.init)
        pleased = {f"init.{k}": v for k, v in first.metadata.get("embedders", {}).items()}
    build.rehearse(recipe, parts, where)
    if compiled:
        build.compile_networks(parts, where)
    if processes.rank:  # equal weights to start from, but draws of its own
        _seed(recipe.seed + processes.rank)
    metrics = tuple(dict.fromkeys((*METRICS, best)))
    chosen = registry.build("metrics", best)
    if more := build.wants(chosen) - {"sr", "hr"}:
        raise InputError(f"--best is a metric of sr and hr alone; '{best}' asks for {sorted(more)}")
    upward = bool(chosen.higher_is_better)
    told = report if processes.main else lambda record: None
    if not resume:
        processes.by_main(lambda: run_folder.require_free(out))

    with contextlib.ExitStack() as at_end:  # ends what works in the background, come what may
        # --- data on the device ------------------------------------------------------------------
        opening = partial(
            open_loader,
            data,
            val,
            recipe,
            device=where,
            rank=processes.rank,
            world_size=processes.count,
            storage=storage,
            workers=workers,
            cache=cache,
            progress=lambda done, total: told({"decoded": done, "of": total}),
        )
        loader, held_out = processes.main_first(opening)  # the others find the cache
        at_end.callback(loader.close)
        held_out = held_out.at_size(recipe.data.size)
        validation = Validation.of(held_out.to(where), parts.degrade, recipe.scale)
        baseline = {f"bicubic_{k}": v for k, v in validation.baseline(metrics).items()}

        # --- where it starts ---------------------------------------------------------------------
        state = State.of(recipe, parts, processes)
        state.embedders |= pleased
        log = run_folder.Log(out)
        last: Path | None = None
        if resume:
            last = processes.by_main(
                lambda: run_folder.resume(out, state.recipe, loader.fingerprint)
            )
            if last is not None:
                state.restore(checkpoint.read(last), str(out))
        elif time_budget is not None:
            left = time_budget - (time.perf_counter() - began)
            count = cost.steps_within(
                left, state, parts, loader.batches(0), validation, checkpoint_every, metrics
            )
            recipe = state.recipe = recipe.changed({"steps": count})
        if log_with:  # before the folder is taken: a tracker may want a login
            at_end.callback(processes.end_trackers)
            processes.by_main(
                lambda: processes.start_trackers(recipe.name, run_folder.flat(recipe))
            )
        stop = at_end.enter_context(Stop())
        if not resume:
            processes.by_main(lambda: run_folder.begin(out, state.recipe))

        def written(work: Callable[[], T]) -> T:
            """Let the main process write; if it can't, say how the run goes on."""
            try:
                return processes.by_main(work)
            except InputError as error:
                where_from = f"goes on from {last}" if last else "starts it"
                error.args = (f"{error}; make room, then --resume {where_from}",)
                raise

        def save() -> None:
            nonlocal last
            tensors, metadata = state.capture()
            file = run_folder.checkpoint_file(out, state.step)

            def write() -> None:
                about = {**metadata, "data": loader.fingerprint}
                checkpoint.write(file, tensors, state.recipe, state.step, about)
                run_folder.forget_old(out, checkpoints)

            written(write)
            last = file

        def write_model(name: str) -> Path:
            tensors = checkpoint.prefixed("generator", state.shipped.state_dict())
            about = {"scores": state.scores, "data": loader.fingerprint, **state.origin()}
            file = out / name
            written(lambda: checkpoint.write(file, tensors, state.recipe, state.step, about))
            return file

        def validate(*, drawn: bool) -> None:
            at_once = recipe.batch_size // (processes.count * recipe.accumulate)  # as in training
            sr = validation.enlarge(state.shipped, at_once, processes)
            scores = processes.by_main(lambda: validation.scores(sr, metrics))
            state.scores = {**scores, **baseline}
            if drawn:
                grid = out / f"grid-{state.step:08d}.png"
                written(lambda: validation.draw_grid(sr, grid))
            if better(scores[best], state.best.get(best), upward=upward):
                state.best = {"step": state.step, best: scores[best]}
                write_model(run_folder.BEST)

        def go_back(since: int) -> str:
            """Return to the newest checkpoint whose weights the next batch has proved good."""
            rate = f"optimizer.learning_rate ({recipe.optimizer.learning_rate:g})"
            skipped = (
                f"{recipe.optimizer.patience} batches in a row were not finite, from {since} on"
            )
            if state.gone_back:
                raise SrkitError(
                    f"{skipped}, again after going back and learning more slowly; "
                    f"start anew with a lower {rate} and another --out"
                )
            # Batch `since` was computed with the weights after `since - 1`: those are suspect.
            files = processes.by_main(lambda: checkpoint.checkpoints(out))
            good = [file for file in files if run_folder.step_of(file) < since - 1] or files[:1]
            state.go_back(checkpoint.read(good[-1]), str(out))
            written(lambda: run_folder.cut_back(out, state.step))
            save()  # so that a run that is killed now goes on slowly too
            return (
                f"{skipped}; back to {state.step}, learning rate times {recipe.optimizer.backoff:g}"
            )

        def write(record: Mapping[str, Any]) -> None:
            written(lambda: log.write(record))
            if log_with:
                values = run_folder.flat(record)
                processes.accelerator.log(
                    {k: v for k, v in values.items() if k != "step"}, state.step
                )
            told(record)

        unreadable = [*loader.broken, *held_out.broken]
        told(
            {
                "start": state.step,
                "steps": recipe.steps,
                "photos": loader.count,
                "held_out": len(held_out),
                "storage": loader.storage,
                "notes": list(loader.notes),
                "broken": unreadable,
                "device": str(where),
                "processes": processes.count,
                "out": str(out),
                **baseline,
            }
        )
        if last is None:
            if unreadable:
                written(lambda: log.write({"step": 0, "broken": unreadable}))
            save()

        # --- the loop ----------------------------------------------------------------------------
        parts.generator.train()
        batches = loader.batches(state.step)
        broken = len(loader.broken)
        clock, shown, line = Clock(), time.perf_counter(), state.step
        start = state.step
        while state.step < recipe.steps:
            done = state.step + 1
            rate = learning_rate(recipe.optimizer, state.step, recipe.steps)
            rate *= recipe.optimizer.backoff if state.gone_back else 1
            state.set_learning_rate(rate)
            final = done == recipe.steps
            writing = final or done % log_every == 0
            validating = final or done % recipe.validate_every == 0
            saving = final or done % checkpoint_every == 0

            try:
                batch = next(batches)
            except Exception as error:
                if stop.asked:  # launchers signal the processes that decode as well: begin new ones
                    batches = loader.batches(state.step)
                    batch = next(batches)
                elif isinstance(error, SrkitError) and processes.count == 1:
                    save()  # a photo can no longer be read, say; the steps are good
                    error.args = (f"{error}; saved {last}",)
                    raise
                else:
                    raise
            norms = steps.step(state, parts, batch, norms=validating or done == GRADIENTS_AT)

            record: dict[str, Any] = {"step": done}
            if writing or validating or saving:  # here the host waits for the device
                skipped = state.window.skipped()
                if skipped.longest >= recipe.optimizer.patience:
                    event = go_back(skipped.since)
                    write({"step": state.step, "event": event})
                    batches, line = loader.batches(state.step), state.step
                    clock.lap()
                    continue
                # Weights within a streak may be why there is one: not worth a checkpoint.
                saving = saving and (final or not skipped.streak)
                if writing and skipped.count:
                    record["skipped"] = skipped.count
            finite = {name: float(norm) for name, norm in norms.items() if norm.isfinite()}
            if finite:
                record["gradient_norms"] = finite
            if writing:
                record |= {"losses": state.window.means(), "learning_rate": rate}
                state.window.begin_line(done)
                record["pictures_per_second"] = (done - line) * recipe.batch_size / clock.lap()
                line = done
                found = processes.collect(list(loader.broken[broken:]))
                broken = len(loader.broken)
                if any(found):
                    record["broken"] = list(itertools.chain(*found))
            if validating:
                with clock.paused():
                    validate(drawn=True)
                record["validation"] = state.scores
            if len(record) > 1:
                write(record)
            if len(record) > 1 or time.perf_counter() - shown > 1:
                shown = time.perf_counter()
                if len(record) == 1:
                    told(record)
            stopping = stop.agreed(processes) and not final
            if saving or stopping:
                with clock.paused():
                    save()
            if stopping:
                raise Interrupted(f"stopped at step {done}, saved {last}; go on with --resume")

        # --- the weights alone -------------------------------------------------------------------
        if state.step == start:  # nothing was left to do; stored scores may be of an earlier step
            validate(drawn=False)
        model = write_model(checkpoint.MODEL)
        if processes.main:
            try:
                plot.draw(out)
            except SrkitError as error:  # the weights are there; a picture is no reason to fail
                told({"step": state.step, "event": f"no {plot.PICTURE}: {error}"})
        processes.accelerator.wait_for_everyone()
        assert last is not None
        return Result(model, out / run_folder.BEST, last, state.step, state.scores)


def _seed(seed: int) -> None:
    """Seed every generator that a part could draw from."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
