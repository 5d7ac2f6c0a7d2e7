"""The training loop, read from top to bottom."""

from __future__ import annotations

import contextlib
import itertools
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from srkit import notebook, registry
from srkit.data.loader import Loader, open_loader
from srkit.data.sampler import Batch
from srkit.data.sources import require_outside
from srkit.errors import Interrupted, SrkitError, is_in_shell, option
from srkit.inference.model import Model
from srkit.models import checkpoint
from srkit.models.load import load
from srkit.recipe import Recipe
from srkit.training import cost, distributed, run_folder
from srkit.training.display import Display
from srkit.training.distributed import Processes
from srkit.training.optimizers import learning_rate
from srkit.training.parts import METRICS, Parts, build_parts, compile_networks, rehearse
from srkit.training.recovery import advice, recover
from srkit.training.run_folder import RunFolder
from srkit.training.state import State
from srkit.training.step import lr_of, step
from srkit.training.validation import Validation, better, higher_is_better

# Besides every validation: an early step, when all terms still have a long way to go.
GRADIENTS_AT = 100
# Batches over which batch normalisation of the moving average takes its statistics.
STATISTICS_OVER = 32


@dataclass(frozen=True)
class Result:
    """What a run left behind.

    Attributes:
        model: The weights alone, averaged where the recipe has ``ema``.
        best: The weights of the best validation.
        checkpoint: The last training checkpoint.
        step: Steps done.
        scores: The last validation: ``psnr``, ``ssim`` and their ``bicubic_`` twins.
    """

    model: Path
    best: Path
    checkpoint: Path
    step: int
    scores: Mapping[str, float]

    def _repr_html_(self) -> str:
        facts = [[name, f"{score:.4g}"] for name, score in self.scores.items()]
        facts = [["weights", str(self.model)], ["step", f"{self.step:,}"], *facts]
        folder = self.model.parent
        grids = sorted(folder.glob("grid-*.png"))
        drawn = [*grids[-1:], *sorted({*folder.glob("*.png")} - {*grids})]
        return notebook.table((), facts) + "".join(map(notebook.picture, drawn))


@dataclass
class Stop:
    """Turns the first SIGINT or SIGTERM into a request, so that no batch is torn."""

    requested: bool = False
    _old: dict[int, Any] = field(default_factory=dict)
    _batches: int = 0  # since several processes last agreed
    _next: int = 1  # after this many they do again
    _then: float = 0.0  # when they last did

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._old[number] = signal.signal(number, self._request)
        return self

    def _request(self, number: int, _frame: FrameType | None) -> None:
        self.requested = True
        signal.signal(number, self._old[number])  # a second one ends it at once

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def agreed(self, processes: Processes) -> bool:
        """Return whether to stop after this batch: whether any process was signalled.

        All must stop at the same batch. Asking each other costs a wait, so several processes do
        it about once a second; a launcher that ends them gives them half a minute.
        """
        if processes.count == 1:
            return self.requested
        self._batches += 1
        if self._batches < self._next:
            return False
        now = time.perf_counter()
        answers = processes.collect((self.requested, (now - self._then) / self._batches))
        slowest = max(seconds for _, seconds in answers)
        self._batches, self._next, self._then = 0, max(1, min(1000, int(1 / slowest))), now
        return any(requested for requested, _ in answers)


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
    best: str = "psnr",
    log_every: int = 50,
    tensorboard: bool = False,
    compiled: bool = False,
    resume: bool = False,
    report: run_folder.Report | None = None,
) -> Result:
    """Train a recipe.

    Under ``torchrun`` the processes share every batch; the main one alone writes and reports.

    Args:
        recipe: A `Recipe`, the name of a registered one, or a TOML file.
        data: Folder of HR photos, a data set's name, ``samples``, ``hf:OWNER/NAME``, tar shards.
        val: The same for held-out photos; without it the data set's own ``val`` split, or a
            twentieth of the photos.
        out: Folder of the run; ``runs/NAME`` unless given.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        storage: ``memory``: photos are decoded once. ``stream``: they are decoded anew for every
            batch. The batches are the same. ``auto``: ``memory`` where there is room.
        workers: Processes that decode a stream.
        cache: Folder for decoded images; False for none.
        time_budget: Seconds from now in which to be done. The speed is measured once, the number
            of steps follows and is stored in the run's recipe. With ``resume`` the stored number
            is kept, and the time is not.
        checkpoint_every: Steps between checkpoints.
        best: The metric by which the best validation's weights are kept.
        log_every: Steps between lines of ``log.jsonl``; losses are their means over these.
        tensorboard: Write the log for TensorBoard as well, into a folder of ``out``.
        compiled: Compile the networks (`torch.compile`): minutes at the start, faster steps.
        resume: Go on from the newest checkpoint in ``out``; bitwise the same on CPU.
        report: Called with ``{"decoded": …, "of": …}`` while photos are decoded, with
            ``{"start": …}`` before the loop, with every record of the log, and about once a
            second with ``{"step": …}`` alone. None: bars on a terminal or in a notebook.

    Returns:
        Where the weights are, and how good.

    Raises:
        SrkitError: The recipe's parts don't fit, the data can't be read, the folder holds a run
            already or another process trains it, the disk is full, the time budget is too short
            for a step, steps are no longer finite, or the run was interrupted.
    """
    began = time.perf_counter()
    # --- what to train, and where it goes ---------------------------------------------------------
    recipe = Recipe.named(recipe) if isinstance(recipe, str) else recipe
    path = Path(out) if out else checkpoint.default_folder(recipe.name)
    if resume and (path / run_folder.RECIPE).is_file():
        begun = Recipe.from_file(path / run_folder.RECIPE)
        kept = {"steps": time_budget is not None, "precision": recipe.precision == "auto"}
        recipe = recipe.changed({key: getattr(begun, key) for key in kept if kept[key]})
    if not recipe.data.pairs:  # whose folders have names of their own
        for source in (data, val or data):
            require_outside(path, source)
    higher_is_better(best)  # refuses what can't choose
    processes = distributed.start(device, recipe.precision)
    recipe = recipe.changed({"precision": processes.precision})
    processes.images_at_once(recipe.batch_size, recipe.accumulate)
    display = Display(lines=is_in_shell())
    say = (report or display.record) if processes.main else lambda record: None
    folder = RunFolder(path, processes, say, tensorboard=tensorboard)
    with contextlib.ExitStack() as at_end:  # ends what works in the background, come what may
        at_end.enter_context(display)
        at_end.callback(folder.close)
        folder.newest = processes.by_main(partial(folder.claim, recipe, resume=resume))
        start_from = None if folder.newest else recipe.init  # a run that goes on needs it no more
        parts, first = _parts(recipe, processes, start_from, compiled=compiled)

        # --- data on the device ------------------------------------------------------------------
        opening = partial(
            open_loader,
            data,
            val,
            recipe,
            device=processes.device,
            rank=processes.rank,
            world_size=processes.count,
            storage=storage,
            workers=workers,
            cache=cache,
            progress=lambda done, total: say({"decoded": done, "of": total}),
        )
        loader, held_out = processes.main_first(opening)  # the others find the cache
        at_end.callback(loader.close)
        metrics = tuple(dict.fromkeys((*METRICS, best)))
        validation = Validation.of(held_out, parts.degrade, recipe, processes.device, metrics)

        # --- where it starts ---------------------------------------------------------------------
        state = State.of(recipe, parts, processes)
        state.fingerprint = loader.fingerprint
        state.add_trained_on(loader.trained_on)
        if first is not None:
            state.start_from(first)
        state.lr_batches = _batches_for_statistics(state, parts, loader)
        if folder.newest is not None:
            last = processes.main_first(partial(folder.last, loader.fingerprint))
            state.restore(last, str(path))
        if resume:
            folder.cut_back(state.step)
        elif time_budget is not None:
            left = time_budget - (time.perf_counter() - began)
            steps = cost.steps_within(left, state, parts, loader.batches(0), validation)
            recipe = state.recipe = recipe.changed({"steps": steps})
        stop = at_end.enter_context(Stop())
        unreadable = [*loader.broken, *held_out.broken]
        opening_line = {"step": 0, **_arithmetic(processes)}
        opening_line |= {"broken": unreadable} if unreadable else {}
        processes.by_main(partial(folder.begin, recipe, None if resume else opening_line))
        baseline = validation.baseline()
        about = {"held_out": len(held_out), "broken": unreadable, "out": str(path), **baseline}
        visible = report is None and not display.silent
        far = state.recipe.steps - state.step >= cost.FORECAST_FROM
        if processes.by_main(lambda: visible and far):
            known = None if resume else time_budget
            about["forecast"] = cost.forecast(state, parts, len(held_out), known)
        say(_start_record(state, loader, about))
        if folder.newest is None:
            folder.save(state)

        # --- the loop ----------------------------------------------------------------------------
        batches = _batches(loader, state, folder, stop)
        line = start = state.step
        broken = len(loader.broken)
        clock = shown = time.perf_counter()  # the clock stands while a step's results are handled
        while state.step < recipe.steps:
            done = state.step + 1
            rate = learning_rate(recipe.optimizer, state.step, recipe.steps)
            rate *= recipe.recovery.lr_factor if state.recovered else 1.0
            state.set_learning_rate(rate)
            final = done == recipe.steps
            writing = final or done % log_every == 0
            validating = final or done % recipe.validate_every == 0
            saving = final or done % checkpoint_every == 0

            norms = step(state, parts, next(batches), norms=validating or done == GRADIENTS_AT)

            record: dict[str, Any] = {"step": done}
            if writing or validating or saving:  # here the host waits for the device
                skipped = state.window.skipped()
                if event := recover(state, folder, skipped):
                    folder.log({"step": state.step, "event": event})
                    batches = _batches(loader, state, folder, stop)
                    line, clock = state.step, time.perf_counter()
                    continue
                # Weights within a streak may be why there is one: not worth a checkpoint.
                saving = saving and (final or not skipped.streak)
                if writing and skipped.count:
                    record["skipped"] = skipped.count
            if finite := {name: float(norm) for name, norm in norms.items() if norm.isfinite()}:
                record["gradient_norms"] = finite
            if writing:
                record |= {"losses": state.window.means(), "learning_rate": rate}
                state.window.begin_line(done)
                seconds = time.perf_counter() - clock
                record["images_per_second"] = (done - line) * recipe.batch_size / seconds
                everywhere = processes.collect(loader.broken[broken:])
                if newly := [*itertools.chain(*everywhere)]:
                    record["broken"] = newly
                line, broken, clock = done, len(loader.broken), time.perf_counter()
            now = time.perf_counter()
            if validating:
                _validate(state, validation, folder, best, baseline)
                record["validation"] = state.scores
            if len(record) > 1:
                folder.log(record)
                shown = time.perf_counter()
            elif time.perf_counter() - shown > 1:
                say(record)
                shown = time.perf_counter()
            stopping = stop.agreed(processes) and not final
            if saving or stopping:
                folder.save(state)
            clock += time.perf_counter() - now
            if stopping:
                how = option("resume", True)
                saved = f"stopped at step {done}, saved {folder.newest}"
                raise Interrupted(f"{saved}; go on with {how}")

        # --- the weights alone -------------------------------------------------------------------
        if state.step == start:  # nothing was left to do; stored scores may be of an earlier step
            _validate(state, validation, folder, best, baseline)
        model = folder.save_weights(checkpoint.MODEL, state)
        if processes.main:
            _draw_reports(path, lambda event: say({"step": state.step, "event": event}))
        processes.collect(None)  # none leaves while another still works
        assert folder.newest is not None
        return Result(model, path / run_folder.BEST, folder.newest, state.step, state.scores)


def _draw_reports(path: Path, note: Callable[[str], None]) -> None:
    """Draw what plugins draw of a run; the weights are there, so a failure is only noted."""
    for name in registry.offers("run_reports"):
        try:
            registry.call("run_reports", name, path)
        except SrkitError as error:
            note(f"no {name}: {error}")


def _weights(network: nn.Module) -> dict[str, Tensor]:
    return {key: value.cpu() for key, value in network.state_dict().items()}


def _parts(
    recipe: Recipe, processes: Processes, init: str | None, *, compiled: bool
) -> tuple[Parts, Model | None]:
    """Build a run's parts from its seed; return them and the model ``init`` that it starts from."""
    _seed(recipe.seed)
    parts, first = build_parts(recipe, processes.device), None
    if init:
        first = load(init, device="cpu")
        checkpoint.load_weights(parts.generator, first.generator.state_dict(), init)
    for network in parts.networks if processes.count > 1 else ():
        network.load_state_dict(processes.by_main(partial(_weights, network)))
    rehearse(recipe, parts, processes.device)
    if compiled:
        compile_networks(parts, processes.device)
    if processes.rank:  # random numbers of its own
        _seed(recipe.seed + processes.rank)
    return parts, first


def _batches_for_statistics(state: State, parts: Parts, loader: Loader) -> list[Tensor]:
    """Return LR images of the run's first batches where its average has batch normalisation."""
    modules = state.ema.modules() if state.ema else ()
    if not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in modules):
        return []
    batches = itertools.islice(loader.batches(0), STATISTICS_OVER)
    with torch.no_grad():
        return [lr_of(parts, batch) for batch in batches]


def _start_record(state: State, loader: Loader, about: Mapping[str, Any]) -> dict[str, Any]:
    precision, device = state.processes.precision, state.processes.device
    slow = precision == "bf16" and not distributed.has_bf16(device)
    note = f"this {device.type} has no bfloat16 in hardware: fp32 may be faster"
    long = device.type == "cpu" and about.get("forecast", {}).get("seconds", 0) > cost.LONG
    return {
        "start": state.step,
        "steps": state.recipe.steps,
        "photos": loader.count,
        "storage": loader.storage,
        "notes": [*loader.notes, *[note] * slow, *([cost.shorter(state.recipe)] if long else [])],
        "processes": state.processes.count,
        **_arithmetic(state.processes),
        **about,
    }


def _arithmetic(processes: Processes) -> dict[str, Any]:
    """Return where and in what networks compute."""
    tf32 = {"tf32": False} if processes.device.type == "cuda" else {}
    return {"device": str(processes.device), "precision": processes.precision, **tf32}


def _batches(loader: Loader, state: State, folder: RunFolder, stop: Stop) -> Iterator[Batch]:
    """Yield the batches from the state's step on; where that fails, no step is lost."""
    try:
        yield from loader.batches(state.step)
    except Exception as error:
        if stop.requested:  # launchers signal the processes that decode as well: begin new ones
            yield from loader.batches(state.step)
        elif isinstance(error, SrkitError) and state.processes.count == 1:
            folder.save(state)  # a photo can no longer be read, say; the steps are good
            error.args = (f"{error}; saved {folder.newest}",)
        raise


def _validate(
    state: State,
    validation: Validation,
    folder: RunFolder,
    best: str,
    baseline: Mapping[str, float],
) -> None:
    """Score the generator that ships, draw it, and keep it if it is the best so far."""
    sr, scores = validation.measure(state)
    finite = bool(sr.isfinite().all())
    if not finite and state.step == state.recipe.steps:
        raise SrkitError(
            f"the network gives values that are not finite after step {state.step}, its last; "
            f"{advice(state.recipe)}"
        )
    state.scores = {**scores, **baseline}
    folder.save_grid(state.step, lambda file: validation.draw_grid(sr, file))
    if finite and better(scores[best], state.best.get(best), upward=higher_is_better(best)):
        state.best = {"step": state.step, best: scores[best]}
        folder.save_weights(run_folder.BEST, state)


def _seed(seed: int) -> None:
    """Seed every generator that a part could draw from."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
