"""The engine of training: parts of a batch, skipped batches, budgets, processes, full disks."""

from __future__ import annotations

import gc
import importlib
import io
import itertools
import json
import math
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from forks import Fork
from rich.console import Console
from srkit_curves import plot
from srkit_inspect import card
from training import batch_norm_gan, lines, same_tensors, same_within_rounding, tiny, tiny_gan

from srkit import InputError, Recipe, SrkitError, load, progress, registry
from srkit.cli import main
from srkit.cli.train import parse_time
from srkit.data.datasets import TooManyBrokenError
from srkit.data.loader import open_loader
from srkit.data.sampler import Batch
from srkit.errors import ElsewhereError, Interrupted, RecipeError
from srkit.files import lock
from srkit.inference import device
from srkit.models import checkpoint
from srkit.training import cost, display, distributed, loop, run_folder
from srkit.training.cost import plan
from srkit.training.objectives import Objective
from srkit.training.parts import build_parts, rehearse
from srkit.training.run_folder import RunFolder
from srkit.training.state import State, Window
from srkit.training.step import lr_of, step
from srkit.training.validation import Validation, better

CPU = torch.device("cpu")


def close_weights(a: Path, b: Path, part: str, tolerance: float) -> None:
    one, other = checkpoint.read(a).part(part), checkpoint.read(b).part(part)
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], atol=tolerance, rtol=0, msg=name)


# --- one batch in parts -------------------------------------------------------------------------


def stepped(recipe: Recipe, batch: Batch) -> tuple[State, dict[str, float]]:
    """Take one step from the recipe's first weights; return the state and the gradient norms."""
    torch.manual_seed(recipe.seed)
    joined = distributed.start("cpu", recipe.precision)
    parts = build_parts(recipe, CPU)
    state = State.of(recipe, parts, joined)
    parts.generator.train()
    norms = step(state, parts, batch, norms=True)
    return state, {name: float(norm) for name, norm in norms.items()}


def batch_of(count: int, side: int = 32) -> Batch:
    generator = torch.Generator().manual_seed(0)
    hr = torch.rand(count, 3, side, side, generator=generator)
    return Batch(hr, torch.arange(count))


@pytest.mark.parametrize("updates", ["simultaneous", "alternating"])
def test_a_batch_in_parts_takes_the_step_of_the_whole_batch(updates: str) -> None:
    recipe = tiny_gan(**{"adversarial.updates": updates})
    whole, norms = stepped(recipe, batch_of(4))
    assert norms.keys() == {"adversarial", "l1", "feature"}
    for parts in (2, 4):
        pieces, piece_norms = stepped(recipe.changed({"accumulate": parts}), batch_of(4))
        for name, network in whole.networks.items():
            for key, value in pieces.networks[name].state_dict().items():
                torch.testing.assert_close(value, network.state_dict()[key], atol=2e-5, rtol=0)
        assert piece_norms == pytest.approx(norms, rel=1e-4)
        assert pieces.window.means() == pytest.approx(whole.window.means(), rel=1e-4)


def test_gradient_norms_are_those_of_the_unweighted_terms() -> None:
    """L1's gradient at sr is one over the number of values, or its negative: the norm follows."""
    for weight in (1.0, 7.0):
        _, norms = stepped(tiny(**{"losses.l1.weight": weight}), batch_of(4))
        assert norms == pytest.approx({"l1": 1 / math.sqrt(4 * 3 * 32 * 32)}, rel=1e-3)


def test_a_batch_that_cannot_be_divided_is_refused(run: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match="batch_size 4 can't be divided equally"):
        run(tiny(accumulate=3))


# --- precision ----------------------------------------------------------------------------------


def test_bf16_learns_and_keeps_its_weights_in_float32(
    tmp_path: Path, run: Callable[..., Any]
) -> None:
    network = {"generator.name": "inception-residual", "generator.width": 0.05}
    recipe = tiny(steps=20, precision="bf16", **network, **{"optimizer.learning_rate": 2e-3})
    result = run(recipe)
    stored = checkpoint.read(result.checkpoint)
    assert {v.dtype for v in stored.part("generator").values() if v.ndim} == {torch.float32}
    seen = [line["losses"]["l1"] for line in lines(tmp_path / "run")]
    assert sum(seen[-5:]) < 0.9 * sum(seen[:5])
    full = run(tiny_gan(steps=1), out=tmp_path / "full")
    half = run(tiny_gan(steps=1, precision="bf16"), out=tmp_path / "half")
    close_weights(
        full.checkpoint, half.checkpoint, "generator", 2.5e-3
    )  # Adam's first step: a sign
    with pytest.raises(AssertionError):
        same_tensors(full.checkpoint, half.checkpoint)


def test_fp16_wants_another_device_than_a_cpu(run: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a cpu can't train in fp16"):
        run(tiny(precision="fp16"))
    assert not (tmp_path / "run").exists()


def test_bf16_is_taken_where_the_hardware_has_it_and_stays_the_runs(
    tmp_path: Path, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The arithmetic is real: without the hardware, torch computes the same in software."""
    taken = "bf16" if distributed.has_bf16(CPU) else "fp32"
    records: list[Mapping[str, Any]] = []
    result = run(tiny(steps=2, precision="auto"), out=tmp_path / "here", report=records.append)
    (start,) = [record for record in records if "start" in record]
    assert (start["device"], start["precision"]) == ("cpu", taken)
    assert checkpoint.read(result.checkpoint).recipe.precision == taken
    log = (tmp_path / "here" / run_folder.LOG).read_text().splitlines()
    assert json.loads(log[0]) == {"step": 0, "device": "cpu", "precision": taken}
    model = load(tmp_path / "here", device="cpu")
    assert ("recipe", f"tiny, 2 steps, in {taken}") in card.rows(model)

    with monkeypatch.context() as patch:
        patch.setattr(distributed, "has_bf16", lambda device: True)
        run(tiny(steps=2, precision="auto"))
    before = checkpoint.checkpoints(tmp_path / "run")[-1]
    assert checkpoint.read(before).recipe.precision == "bf16"
    monkeypatch.setattr(distributed, "has_bf16", lambda device: False)
    records.clear()
    result = run(tiny(steps=3, precision="auto"), resume=True, report=records.append)
    assert checkpoint.read(result.checkpoint).recipe.precision == "bf16"
    (start,) = [record for record in records if "start" in record]
    assert start["precision"] == "bf16"
    assert "no bfloat16 in hardware" in start["notes"][-1]
    with pytest.raises(RecipeError, match="with another recipe: precision: 'bf16' -> 'fp32'"):
        run(tiny(steps=4, precision="fp32"), resume=True)


def test_torch_and_linux_agree_about_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    if platform.machine() not in ("x86_64", "AMD64") or not Path("/proc/cpuinfo").is_file():
        pytest.skip("needs Linux on x86")
    by_torch = device.cpu_flags()
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    by_linux = device.cpu_flags()
    for flag in ("avx2", *device.BF16_FLAGS):
        assert (flag in by_torch) == (flag in by_linux)


def test_a_torch_that_another_thread_still_imports_is_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    asks = "assert (device.threads(), device.is_tensor(1)) == (3, False)"
    (tmp_path / "torch.py").write_text(f"from srkit.inference import device\n{asks}\n")
    importlib.import_module("torch")


def test_float32_is_never_tf32() -> None:
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    device.device_named("cpu")
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize("updates", ["simultaneous", "alternating"])
def test_scaled_gradients_take_the_same_step_and_an_overflow_none(updates: str) -> None:
    """What fp16 does, on a CPU: its scaler in a run of float32."""
    recipe = tiny_gan(**{"adversarial.updates": updates})

    def taken(scale: float | None) -> tuple[State, dict[str, float], State]:
        torch.manual_seed(0)
        joined = distributed.start("cpu")
        if scale is not None:
            joined = replace(joined, scaler=torch.amp.GradScaler("cpu", init_scale=scale))
        parts = build_parts(recipe, CPU)
        state = State.of(recipe, parts, joined)
        norms: dict[str, float] = {}
        for _ in range(2):
            gradients = step(state, parts, batch_of(4), norms=True)
            norms = {name: float(norm) for name, norm in gradients.items()}
        return state, norms, State.of(recipe, build_parts(recipe, CPU), joined)

    plain, norms, _ = taken(None)
    scaled, scaled_norms, other = taken(1024.0)
    for name, network in plain.networks.items():
        for key, value in scaled.networks[name].state_dict().items():
            torch.testing.assert_close(value, network.state_dict()[key], atol=1e-6, rtol=0)
    assert scaled_norms == pytest.approx(norms, rel=1e-4)
    assert scaled.window.skipped().count == 0

    over, _, _ = taken(math.inf)
    assert over.window.skipped().count == 2
    assert scaled.processes.scaler
    before = scaled.snapshot()
    scaled.processes.scaler.update(8.0)
    other.restore(before, "a test")
    assert scaled.processes.scaler.get_scale() == 1024.0


def test_a_bad_gradient_of_the_discriminator_moves_neither_network() -> None:
    recipe = tiny_gan(**{"adversarial.updates": "alternating"})
    joined = distributed.start("cpu")
    parts = build_parts(recipe, CPU)
    state = State.of(recipe, parts, joined)
    before = state.snapshot()
    # Its loss is finite; only the gradient isn't.
    game = Objective(lambda real, fake: (real * 0).sum().sqrt(), lambda real, fake: fake.mean())
    step(state, replace(parts, objective=game), batch_of(4))
    after = state.snapshot()
    for name in ("generator", "discriminator"):
        assert all(torch.equal(v, after.part(name)[k]) for k, v in before.part(name).items())
    assert state.window.skipped().count == 1


# --- batches that are not finite ----------------------------------------------------------------

FAULTY = """
import srkit, torch
from torch import nn

CALLS = [0]

class Faulty(nn.Module):
    # Not finite at the given calls, counted from 1; the rehearsal before a run is number 0.
    def __init__(self, *, at: list[int], gradient: bool = False, value: str = "nan"):
        super().__init__()
        self.at, self.gradient, self.value = at, gradient, float(value)
        CALLS[0] = -1

    def forward(self, sr, hr):
        CALLS[0] += 1
        loss = (sr - hr).abs().mean()
        if CALLS[0] not in self.at:
            return loss
        if self.gradient:  # a finite value whose gradient isn't
            return loss + (sr * 0).sum().sqrt()
        return loss * self.value

class Normed(nn.Module):
    def __init__(self, *, scale: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.layer = nn.Conv2d(3, 3 * scale * scale, 3, padding=1)
        self.shuffle = nn.PixelShuffle(scale)
        self.receptive_radius = 1

    def forward(self, lr):
        return self.shuffle(self.layer(self.norm(lr)))

@srkit.hookimpl
def srkit_losses():
    return {"faulty": Faulty}

@srkit.hookimpl
def srkit_generators():
    return {"normed": Normed}
"""


def faulty(at: list[int], **settings: Any) -> Recipe:
    recipe = tiny(**{"losses.l1.weight": 0.0, "losses.faulty.at": at, **settings})
    return recipe


@pytest.mark.parametrize("how", [{}, {"value": "inf"}, {"gradient": True}])
@pytest.mark.parametrize("generator", ["face-residual", "normed"])
def test_a_batch_that_is_not_finite_moves_nothing_and_is_counted(
    tmp_path: Path,
    run: Callable[..., Any],
    fake_distribution: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    how: dict[str, Any],
    generator: str,
) -> None:
    fake_distribution("srkit-faulty", {"faulty_plugin": FAULTY})
    monkeypatch.setattr(run_folder, "KEPT", 9)
    options = {f"losses.faulty.{key}": value for key, value in how.items()}
    if generator != "face-residual":
        options["generator.name"] = generator
    result = run(faulty([3, 4], steps=6, **options), checkpoint_every=1)
    folder = tmp_path / "run"
    stored = {file.name[-14:-12]: checkpoint.read(file) for file in checkpoint.checkpoints(folder)}
    # Batches 3 and 4 left no trace, and no checkpoint: the weights might have been to blame.
    assert sorted(stored) == ["00", "01", "02", "05", "06"]
    assert all(value.isfinite().all() for value in stored["06"].tensors.values())
    log = {line["step"]: line for line in lines(folder)}
    assert (log[3].get("skipped"), log[4].get("skipped"), log[5].get("skipped")) == (1, 1, None)
    assert log[3]["losses"] == {}
    assert "faulty" in log[5]["losses"]
    assert result.step == 6


def test_skipping_restores_running_statistics_and_optimisers(
    fake_distribution: Callable[..., Path],
) -> None:
    fake_distribution("srkit-faulty", {"faulty_plugin": FAULTY})
    recipe = faulty([2], **{"generator.name": "normed"})
    joined = distributed.start("cpu")
    parts = build_parts(recipe, CPU)
    rehearse(recipe, parts, CPU)
    state = State.of(recipe, parts, joined)
    parts.generator.train()
    step(state, parts, batch_of(4))
    before = state.snapshot()
    step(state, parts, batch_of(4))
    after = state.snapshot()
    kept = [k for k in before.tensors if not k.startswith(("window.", "rng."))]
    assert any("running_mean" in name for name in kept)
    assert any(name.endswith(".step") for name in kept)
    assert not [k for k in kept if not torch.equal(before.tensors[k], after.tensors[k])]
    assert state.window.skipped().count == 1


def test_means_leave_skipped_batches_out() -> None:
    window = Window(CPU)
    for number, (value, bad) in enumerate([(1.0, 0), (math.nan, 1), (3.0, 0)], start=1):
        window.add({"loss": torch.tensor(value)}, torch.tensor(bool(bad)), number)
    assert window.means() == {"loss": 2.0}
    assert (window.skipped().count, window.skipped().streak) == (1, 0)
    window.begin_line(3)
    assert window.means() == {}


def test_a_window_knows_its_longest_streak_and_where_it_began() -> None:
    window = Window(CPU)
    pattern = [0, 1, 1, 0, 1, 1, 1, 0, 1]
    for number, bad in enumerate(pattern, start=1):
        window.add({"loss": torch.tensor(0.0)}, torch.tensor(bool(bad)), number)
    skipped = window.skipped()
    assert (skipped.count, skipped.streak, skipped.longest, skipped.since) == (6, 1, 3, 5)
    window.begin_line(9)
    for number in (10, 11):
        window.add({"loss": torch.tensor(0.0)}, torch.tensor(True), number)
    skipped = window.skipped()  # the streak goes on over the line
    assert (skipped.count, skipped.streak, skipped.longest, skipped.since) == (2, 3, 3, 9)


@pytest.mark.parametrize("log_every", [1, 4, 7])
def test_after_many_in_a_row_the_run_goes_back_once_and_learns_more_slowly(
    tmp_path: Path,
    run: Callable[..., Any],
    fake_distribution: Callable[..., Path],
    log_every: int,
) -> None:
    fake_distribution("srkit-faulty", {"faulty_plugin": FAULTY})
    recipe = faulty(
        list(range(10, 14)),
        steps=20,
        **{"recovery.max_nonfinite_steps": 4, "recovery.lr_factor": 0.5},
    )
    records: list[Mapping[str, Any]] = []
    saved: list[checkpoint.Checkpoint] = []

    def report(record: Mapping[str, Any]) -> None:
        records.append(record)
        if "event" in record:  # a run that is killed here goes on slowly
            saved.append(checkpoint.read(checkpoint.checkpoints(tmp_path / "run")[-1]))

    result = run(recipe, checkpoint_every=3, log_every=log_every, report=report)
    assert [(stored.step, stored.metadata["recovered"]) for stored in saved] == [(6, True)]
    assert result.step == 20
    events = [record for record in records if "event" in record]
    assert len(events) == 1
    # Batch 10 was the first bad one: the weights after 9 are suspect, those after 6 are not.
    assert "4 steps in a row were not finite, from 10 on; back to 6" in events[0]["event"]
    rates = {
        line["step"]: line["learning_rate"]
        for line in lines(tmp_path / "run")[:-1]
        if "learning_rate" in line
    }
    assert all(rate == (1e-3 if number <= 6 else 5e-4) for number, rate in rates.items())
    stored = checkpoint.read(result.checkpoint)
    assert stored.metadata["recovered"] is True
    numbers = [line["step"] for line in lines(tmp_path / "run")]
    assert numbers == sorted(numbers)  # the abandoned lines are gone

    # A run that goes on afterwards stays slow, and isn't given a second chance.
    rest = faulty(
        list(range(2, 40)),
        steps=30,
        **{"recovery.max_nonfinite_steps": 4, "recovery.lr_factor": 0.5},
    )
    registry.offers.cache_clear()
    with pytest.raises(RecipeError, match="another recipe"):
        run(rest, resume=True)


def test_a_second_time_stops_the_run(
    tmp_path: Path, run: Callable[..., Any], fake_distribution: Callable[..., Path]
) -> None:
    fake_distribution("srkit-faulty", {"faulty_plugin": FAULTY})
    recipe = faulty(list(range(5, 100)), steps=40, **{"recovery.max_nonfinite_steps": 3})
    with pytest.raises(SrkitError, match=r"3 steps in a row were not finite.*again.*lower opti"):
        run(recipe, checkpoint_every=2)
    for file in checkpoint.checkpoints(tmp_path / "run"):
        stored = checkpoint.read(file)
        assert all(value.isfinite().all() for value in stored.tensors.values())
    assert "NaN" not in (tmp_path / "run" / run_folder.LOG).read_text()


# --- the best, the start, the log ---------------------------------------------------------------


def test_the_best_validation_is_kept_by_the_metric_asked_for(
    tmp_path: Path, run: Callable[..., Any]
) -> None:
    # Falls apart on the way: a rate that is far too high from the start of the second half on.
    recipe = tiny(steps=30, validate_every=5, **{"optimizer.learning_rate": 3e-2})
    result = run(recipe, best="ssim")
    scores = {
        line["step"]: line["validation"]["ssim"]
        for line in lines(tmp_path / "run")
        if "validation" in line
    }
    best = max(scores, key=lambda number: scores[number])
    stored = checkpoint.read(result.best)
    assert (stored.step, stored.metadata["scores"]["ssim"]) == (best, scores[best])
    assert {name.split(".")[0] for name in stored.tensors} == {"generator", "trained_on"}
    assert load(result.best, device="cpu").scale == 4
    with pytest.raises(SrkitError, match=r"unknown metric 'psnrr'.*did you mean 'psnr'"):
        run(recipe, out=tmp_path / "other", best="psnrr")
    with pytest.raises(InputError, match=r"sr and hr alone; 'lr-consistency' asks for"):
        run(recipe, out=tmp_path / "other", best="lr-consistency")


LOWER = """
import srkit
from torch import nn

class Far(nn.Module):
    unit, higher_is_better = "", False

    def forward(self, sr, hr):
        return (sr - hr).abs().mean(dim=(1, 2, 3))

@srkit.hookimpl
def srkit_metrics():
    return {"far": Far}
"""


def test_the_best_may_be_the_lowest(
    tmp_path: Path,
    photos: Path,
    fake_distribution: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    fake_distribution("srkit-lower", {"lower_plugin": LOWER})
    out = tmp_path / "run"
    file = tmp_path / "recipe.toml"
    file.write_text(tiny(steps=12, validate_every=3).to_toml())
    words = ["train", str(file), "--data", str(photos), "--out", str(out), "--device", "cpu"]
    assert main([*words, "--best", "far"]) == 0
    scores = {
        line["step"]: line["validation"]["far"] for line in lines(out) if "validation" in line
    }
    assert checkpoint.read(out / run_folder.BEST).step == min(
        scores, key=lambda number: scores[number]
    )
    assert f"far {scores[12]:.4g} (" in " ".join(capsys.readouterr().err.split())
    assert "Validation: FAR" in plot.panels(lines(out))


@pytest.mark.parametrize(
    ("score", "best", "upward", "expected"),
    [
        (1.0, None, True, True),
        (2.0, 1.0, True, True),
        (2.0, 1.0, False, False),
        (1.0, 2.0, False, True),
        (math.nan, None, True, False),
        (math.nan, 1.0, False, False),
    ],
)
def test_which_score_is_better(
    score: float, best: float | None, upward: bool, expected: bool
) -> None:
    assert better(score, best, upward=upward) is expected


def test_a_run_starts_from_another_models_weights(tmp_path: Path, run: Callable[..., Any]) -> None:
    first = run(tiny(steps=5), out=tmp_path / "pixel")
    gan = tiny_gan(steps=1, init=str(tmp_path / "pixel"), **{"optimizer.learning_rate": 1e-9})
    second = run(gan, out=tmp_path / "gan")
    close_weights(first.model, second.model, "generator", 1e-6)
    assert Recipe.from_file(tmp_path / "gan" / run_folder.RECIPE).init == str(tmp_path / "pixel")
    with pytest.raises(InputError, match="weights don't fit this generator"):
        run(
            tiny(init=str(tmp_path / "pixel"), **{"generator.width": 9}),
            out=tmp_path / "wider",
        )
    with pytest.raises(
        InputError, match=r"faces: weights don't fit this generator: .{,156} \.\.\.$"
    ):
        run(tiny(init="faces"), out=tmp_path / "other")  # a hundred names differ
    with pytest.raises(SrkitError, match="no model 'nowhere'"):
        run(tiny(init="nowhere"), out=tmp_path / "lost")
    # A run that goes on needs the first model no more.
    shutil.rmtree(tmp_path / "pixel")
    longer = gan.changed({"steps": 2})
    assert run(longer, out=tmp_path / "gan", resume=True).step == 2


def test_a_run_is_logged_to_tensorboard_too(tmp_path: Path, run: Callable[..., Any]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run(tiny(validate_every=3), tensorboard=True)
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    logged = [(event.step, event.value) for event in events.Scalars("losses.l1")]
    ours = [(line["step"], line["losses"]["l1"]) for line in lines(tmp_path / "run")]
    assert [number for number, _ in logged] == [number for number, _ in ours]
    assert [v for _, v in logged] == pytest.approx([v for _, v in ours])
    assert len(events.Scalars("validation.psnr")) == 2


def test_without_tensorboard_installed_there_is_no_folder(
    tmp_path: Path, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(InputError, match="pip install tensorboard"):
        run(tiny(), tensorboard=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("curves")
def test_an_image_that_cannot_be_drawn_fails_no_run(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: Path) -> Path:
        raise InputError("no room")

    monkeypatch.setattr(plot, "draw", fail)
    records: list[Mapping[str, Any]] = []
    assert run(tiny(), report=records.append).model.is_file()
    assert records[-1] == {"step": 6, "event": "no curves: no room"}


@pytest.mark.parametrize("how", ["stopped", "failed"])
def test_however_a_run_ends_nothing_is_left_working(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    ended: list[str] = []

    def opening(*args: Any, **options: Any) -> Any:
        feed, held_out = opened(*args, **options)
        monkeypatch.setattr(feed, "close", lambda: ended.append("feed"))
        return feed, held_out

    def report(record: Mapping[str, Any]) -> None:
        if record.get("step") == 3 and how == "failed":
            raise ValueError(how)
        if record.get("step") == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    opened = loop.open_loader
    monkeypatch.setattr(loop, "open_loader", opening)
    monkeypatch.setattr(RunFolder, "close", lambda self: ended.append("folder"))
    with pytest.raises((ValueError, Interrupted), match=how):
        run(tiny(), report=report, tensorboard=True)
    assert sorted(ended) == ["feed", "folder"]


def test_a_signal_that_ends_the_decoding_processes_too_still_saves(
    tmp_path: Path, run: Callable[..., Any]
) -> None:
    def report(record: Mapping[str, Any]) -> None:
        if record.get("step") == 3:
            os.kill(os.getpid(), signal.SIGTERM)
            for child in psutil.Process().children():
                child.terminate()
            time.sleep(0.3)  # until their death is noticed

    handler = signal.getsignal(signal.SIGCHLD)
    with pytest.raises(Interrupted, match="stopped at step 3"):
        run(tiny(steps=40), storage="stream", workers=1, report=report)
    assert run_folder.step_of(checkpoint.checkpoints(tmp_path / "run")[-1]) == 3
    signal.signal(signal.SIGCHLD, handler)


def test_a_photo_that_is_lost_on_the_way_costs_no_step(
    tmp_path: Path, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def opening(*args: Any, **options: Any) -> Any:
        feed, held_out = opened(*args, **options)

        def batches(start: int) -> Iterator[Batch]:
            for number, batch in enumerate(whole(start)):
                if number == 4:
                    raise InputError("an image has changed")
                yield batch

        whole = feed.batches
        monkeypatch.setattr(feed, "batches", batches)
        return feed, held_out

    opened = loop.open_loader
    monkeypatch.setattr(loop, "open_loader", opening)
    with pytest.raises(InputError, match=r"an image has changed; saved .*00000004"):
        run(tiny())
    assert run_folder.step_of(checkpoint.checkpoints(tmp_path / "run")[-1]) == 4


@pytest.mark.usefixtures("curves")
def test_a_run_ends_with_an_image_of_itself(tmp_path: Path, run: Callable[..., Any]) -> None:
    run(tiny())
    assert (tmp_path / "run" / "training.png").stat().st_size > 10_000


# --- budgets and plans --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2h", 7200), ("1h30m", 5400), ("90m", 5400), ("45s", 45), ("45", 45), ("1.5h", 5400)],
)
def test_times_are_read_as_people_write_them(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "soon", "2d", "h", "1.2.3s", "-5s", "1h30", "9" * 400])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is not a time"):
        parse_time(text)


@pytest.mark.usefixtures("short_measurements")
def test_a_budget_fixes_the_steps_and_leaves_the_run_as_if_they_had_been_given(
    tmp_path: Path, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = cost.seconds_per_step

    def slower(*parts: Any, **options: Any) -> float:
        return max(35.0, measured(*parts, **options))  # few steps seem to fit

    monkeypatch.setattr(cost, "seconds_per_step", slower)
    gan = tiny_gan(**{"optimizer.schedule": "cosine", "validate_every": 1000})
    result = run(gan, time_budget=300.0, log_every=50)
    stored = Recipe.from_file(tmp_path / "run" / run_folder.RECIPE)
    assert stored.steps == result.step > 5
    whole = run(stored, out=tmp_path / "whole", log_every=50)
    same_tensors(result.checkpoint, whole.checkpoint)


@pytest.mark.usefixtures("short_measurements")
def test_a_budget_too_short_for_a_step_takes_no_folder(
    tmp_path: Path, run: Callable[..., Any]
) -> None:
    with pytest.raises(InputError, match=r"time budget is too short: .* s are left of it"):
        run(tiny(), time_budget=1e-3)
    assert not (tmp_path / "run").exists()


def test_resuming_keeps_the_steps_that_a_budget_came_to(
    tmp_path: Path, run: Callable[..., Any]
) -> None:
    run(tiny(steps=3))  # as if a budget had come to 3
    assert run(tiny(steps=6), time_budget=60, resume=True).step == 3
    assert run(tiny(steps=6), resume=True).step == 6


@pytest.mark.usefixtures("short_measurements")
def test_a_plan_of_pairs_needs_no_degradation_and_one_of_odd_parts_is_refused() -> None:
    assert plan(tiny(**{"data.pairs": True}), device="cpu").seconds_per_step > 0
    with pytest.raises(InputError, match="can't be divided equally"):
        plan(tiny(accumulate=3), device="cpu")
    with pytest.raises(RecipeError, match="'bicubic' has no weights to train"):
        plan(tiny(**{"generator.name": "bicubic"}), device="cpu")


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory."), None])
def test_a_batch_that_does_not_fit_is_one_line(
    error: Exception | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: Any, **__: Any) -> None:
        if error:
            raise error
        torch.empty(1 << 55)  # the processor's own

    monkeypatch.setattr("srkit.training.cost.plan", full)
    assert main(["train", "faces-tiny", "--plan"]) == 2
    error = capsys.readouterr().err
    assert "a smaller --batch-size, or --set accumulate=2" in error
    assert error.count("\n") == 1


@pytest.mark.usefixtures("short_measurements")
def test_a_plan_shows_size_and_speed_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = tiny_gan()
    planned = plan(recipe, device="cpu")
    torch.manual_seed(0)
    parts = build_parts(recipe, CPU)
    assert parts.discriminator is not None
    for name, network in (
        ("generator", parts.generator),
        ("discriminator", parts.discriminator),
    ):
        assert planned.parameters[name] == sum(p.numel() for p in network.parameters())
    assert planned.memory > 16 * sum(planned.parameters.values())  # weights, gradients, moments
    assert planned.seconds_per_step > 0
    assert main(["train", "faces-tiny", "--plan", "--device", "cpu"]) == 0
    output = capsys.readouterr().out
    assert "16,923" in output
    assert "ms" in output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("short_measurements")
def test_one_convolutions_flops_are_counted_right(
    fake_distribution: Callable[..., Path],
) -> None:
    fake_distribution("srkit-faulty", {"faulty_plugin": FAULTY})
    assert plan(tiny(**{"generator.name": "normed"}), device="cpu").flops == 2 * 8 * 8 * 27 * 48


# --- full disks ---------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 400 kB: a tmpfs where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("may not mount a tmpfs here")
    yield folder
    gc.collect()  # checkpoints that are still mapped into memory keep it busy
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_leaves_the_previous_checkpoint_whole(
    tmp_path: Path, run: Callable[..., Any], small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_folder, "KEPT", 50)
    out = small_disk / "run"
    recipe = tiny(steps=30)
    with pytest.raises(
        InputError, match=r"can't write .*make room, then resume=True goes on from .*0"
    ):
        run(recipe, out=out, checkpoint_every=2)
    files = checkpoint.checkpoints(out)
    assert len(files) > 1
    for file in files:
        checkpoint.read(file)  # every one that has its name is whole
    assert not list(out.glob(".*"))
    for file in files[:-1]:
        file.unlink()
    monkeypatch.setattr(run_folder, "KEPT", 1)
    rest = run(recipe, out=out, checkpoint_every=100, resume=True)
    whole = run(recipe, out=tmp_path / "whole")
    same_tensors(rest.checkpoint, whole.checkpoint)


def test_a_full_disk_at_the_first_checkpoint_says_how_to_start(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: Path, *_: Any) -> None:
        raise InputError(f"can't write {file}: full")

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "write", full)
        with pytest.raises(InputError, match=r"full; make room, then resume=True starts it$"):
            run(tiny())
    assert run(tiny(), resume=True).step == 6


def test_a_full_disk_ends_the_command_with_one_line(
    photos: Path, small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (small_disk / "rest").write_bytes(b"0" * 300_000)
    words = ["train", "faces-tiny", "--data", str(photos), "--out", str(small_disk / "run")]
    assert main([*words, "--device", "cpu", "--set", "data.size=32", "--steps", "2"]) == 2
    error = capsys.readouterr().err
    assert "srkit: can't write" in error
    assert "No space left" in error
    assert "Traceback" not in error


# --- several processes --------------------------------------------------------------------------


# How two processes are started on this machine's CPU.
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


def torchrun(*words: str) -> subprocess.CompletedProcess[str]:
    """Run ``srkit`` in two processes."""
    command = [*TORCHRUN, "-m", "srkit", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=240)


def two_forks(folder: Path, *words: str) -> tuple[set[int], str, str]:
    """Do the same in copies of this process; return their exit statuses and what they write."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    forks = [
        Fork(folder, lambda: main(list(words)), **common, RANK=rank, LOCAL_RANK=rank)
        for rank in ("0", "1")
    ]
    statuses, out, err = zip(*(fork.end() for fork in forks), strict=True)
    return set(statuses), "".join(out), "".join(err)


def test_two_processes_train_what_one_trains_and_resume_exactly(
    tmp_path: Path, photos: Path, run: Callable[..., Any]
) -> None:
    recipe = tiny_gan(
        steps=10, batch_size=32, validate_every=5, **{"optimizer.learning_rate": 1e-4}
    )
    file = tmp_path / "recipe.toml"
    file.write_text(recipe.to_toml())
    together = tmp_path / "together"
    words = [str(file), "--data", str(photos), "--device", "cpu", "--checkpoint-every", "5"]
    statuses, out, err = two_forks(tmp_path, "train", *words, "--out", str(together))
    assert statuses == {0}, err
    assert out.count("PSNR") == 1  # one process speaks
    assert "2 processes" in " ".join(err.split())

    alone = run(recipe, out=tmp_path / "alone", log_every=50, checkpoint_every=5)
    last = checkpoint.checkpoints(together)[-1]
    same_within_rounding(checkpoint.checkpoints(together)[0], alone.checkpoint, last)
    ours, theirs = lines(tmp_path / "alone"), lines(together)
    assert [line["step"] for line in theirs] == [line["step"] for line in ours]
    for one, other in zip(ours, theirs, strict=True):
        for key in one.keys() & {"losses", "gradient_norms", "validation"}:
            # A share of images moves by whole images: the floor is one of a line's 320.
            close = pytest.approx(one[key], rel=1e-2, abs=0.004 if key == "losses" else 0)
            assert other[key] == close, (one["step"], key)

    torn = tmp_path / "torn"
    shutil.copytree(together, torn)
    for later in (*checkpoint.checkpoints(torn)[2:], torn / checkpoint.MODEL):
        later.unlink()
    assert run_folder.step_of(checkpoint.checkpoints(torn)[-1]) == 5
    statuses, _, err = two_forks(tmp_path, "train", *words, "--out", str(torn), "--resume")
    assert statuses == {0}, err
    same_tensors(last, checkpoint.checkpoints(torn)[-1])
    same_tensors(together / checkpoint.MODEL, torn / checkpoint.MODEL)


LEAVING = """
import os, socket, torch
from srkit.training import distributed

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
rank = 0 if os.fork() else 1
os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
processes = distributed.start("cpu")
if processes.main:
    torch.optim.Adam([torch.zeros(1, requires_grad=True)])  # imports what would hold the group
processes.collect(None)
distributed.leave()
threads = os.listdir("/proc/self/task")
names = [open(f"/proc/self/task/{thread}/comm").read() for thread in threads]
if processes.main:
    os.wait()
    print([name for name in names if "gloo" in name])
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux")
@pytest.mark.long
def test_no_thread_of_the_group_outlives_it() -> None:
    command = [sys.executable, "-c", LEAVING]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.stdout == "[]\n", done.stdout + done.stderr


def test_an_error_of_several_processes_is_said_and_none_hangs(tmp_path: Path, photos: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / run_folder.LOG).touch()
    words = ["train", "faces-tiny", "--data", str(photos), "--out", str(out)]
    statuses, _, err = two_forks(tmp_path, *words)
    assert statuses == {2}
    assert err.count("already holds a run") == 1  # one process says it


def test_an_error_of_one_process_reaches_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []

    def gather(values: list[Any], value: Any) -> None:
        sent.append(value)
        values[:] = [(130, "interrupted"), None]

    def fail() -> None:
        raise failures.pop()

    monkeypatch.setattr(distributed.dist, "all_gather_object", gather)
    main, other = (distributed.Processes(CPU, rank=rank, count=2) for rank in (0, 1))
    with pytest.raises(ElsewhereError, match="interrupted") as raised:
        other.by_main(lambda: None)
    assert raised.value.status == 130
    failures = [ValueError("b"), TooManyBrokenError(["a.png: torn"], 3)]
    for kind in (TooManyBrokenError, ValueError):
        with pytest.raises(kind):
            main.by_main(fail)
    assert [error and error[0] for error in sent] == [None, 2, 2]


UNEQUAL = """
import os, srkit, torch
from torch import nn

class Unequal(nn.Module):
    # A network whose first weights are others in each process.
    def __init__(self, *, scale: int):
        super().__init__()
        self.up = nn.ConvTranspose2d(3, 3, scale, stride=scale)
        nn.init.constant_(self.up.weight, 0.1 + int(os.environ.get("RANK", "0")))
        self.norm = nn.BatchNorm2d(3)

    def forward(self, lr):
        return self.norm(self.up(lr))

@srkit.hookimpl
def srkit_generators():
    return {"unequal": Unequal}
"""


def test_all_processes_start_from_the_weights_of_the_first(
    tmp_path: Path, photos: Path, run: Callable[..., Any], fake_distribution: Callable[..., Path]
) -> None:
    fake_distribution("srkit-unequal", {"unequal_plugin": UNEQUAL})
    # No batch norm statistics at the first step's loss: they are those of a process.
    recipe = tiny(steps=1, batch_size=8, **{"generator.name": "unequal", "validate_every": 1})
    file = tmp_path / "recipe.toml"
    file.write_text(recipe.to_toml())
    out = tmp_path / "together"
    words = ["train", str(file), "--data", str(photos), "--device", "cpu", "--out", str(out)]
    statuses, _, err = two_forks(tmp_path, *words)
    assert statuses == {0}, err
    run(recipe, out=tmp_path / "alone")
    (alone,), (together,) = lines(tmp_path / "alone"), lines(out)
    assert together["losses"]["l1"] == pytest.approx(alone["losses"]["l1"], rel=0.02)


def test_a_process_without_a_gpu_of_its_own_takes_no_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    local = torch.cuda.device_count()
    for name, value in (("RANK", local), ("LOCAL_RANK", local), ("WORLD_SIZE", local + 1)):
        monkeypatch.setenv(name, str(max(value, 2) if name == "WORLD_SIZE" else value))
    with pytest.raises(InputError, match=f"process {local} of this machine has no CUDA device"):
        distributed.start("cuda")


@pytest.mark.long
def test_photos_that_one_process_cannot_read_end_all(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(4):
        (photos / f"{number}.png").write_bytes(b"no image")
    began = time.monotonic()
    out = tmp_path / "run"
    done = torchrun("train", "faces-tiny", "--data", str(photos), "--out", str(out))
    assert done.returncode != 0
    assert done.stderr.count("4 of 4 images are broken") == 1
    assert time.monotonic() - began < 60


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_launchers_signal_saves_and_ends_all(
    tmp_path: Path, photos: Path, number: signal.Signals
) -> None:
    out = tmp_path / "run"
    words = ["train", "faces-tiny", "--data", str(photos), "--out", str(out), "--device", "cpu"]
    words += ["--set", "data.size=32", "--steps", "100000", "--checkpoint-every", "100000"]
    words += ["--storage", "stream", "--workers", "1", "--set", "validate_every=5"]
    process = subprocess.Popen(
        [*TORCHRUN, "-m", "srkit", *words],
        stderr=subprocess.PIPE,
        text=True,
    )
    log = out / run_folder.LOG
    while not (log.is_file() and log.stat().st_size):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.1)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert error.count("; go on with --resume\n") == 1, error
    assert run_folder.step_of(checkpoint.checkpoints(out)[-1]) > 0


@pytest.mark.long
def test_compiled_networks_train_the_same(tmp_path: Path, run: Callable[..., Any]) -> None:
    recipe = tiny(steps=4)
    plain = run(recipe, out=tmp_path / "plain")
    compiled = run(recipe, out=tmp_path / "compiled", compiled=True)
    close_weights(plain.model, compiled.model, "generator", 1e-4)


# --- what used to go wrong ------------------------------------------------------------------------


def test_two_processes_update_in_turn_with_batch_normalisation(
    tmp_path: Path, photos: Path
) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text(batch_norm_gan(steps=2, **{"adversarial.updates": "alternating"}).to_toml())
    out = tmp_path / "run"
    words = ["train", str(file), "--data", str(photos), "--device", "cpu", "--out", str(out)]
    statuses, _, err = two_forks(tmp_path, *words)
    assert statuses == {0}, err
    assert (out / checkpoint.MODEL).is_file()


@pytest.mark.long
@pytest.mark.parametrize("updates", ["simultaneous", "alternating"])
def test_a_compiled_gan_trains_the_same(
    tmp_path: Path, run: Callable[..., Any], updates: str
) -> None:
    recipe = tiny_gan(steps=4, validate_every=2, **{"adversarial.updates": updates})
    plain = run(recipe, out=tmp_path / "plain")
    compiled = run(recipe, out=tmp_path / "compiled", compiled=True)
    close_weights(plain.model, compiled.model, "generator", 1e-4)
    norms = [line.get("gradient_norms") for line in lines(tmp_path / "compiled")]
    assert [bool(each) for each in norms] == [False, True, False, True]


def test_the_average_has_batch_norm_statistics_of_its_own(
    tmp_path: Path, photos: Path, run: Callable[..., Any]
) -> None:
    recipe = batch_norm_gan(steps=8, ema=0.9, **{"optimizer.learning_rate": 2e-3})
    result = run(recipe)
    stored = checkpoint.read(result.checkpoint)
    average = recipe.build("generator").to(memory_format=torch.channels_last)
    checkpoint.load_weights(average, stored.part("ema.module"), "average")
    loader, _ = open_loader(photos, None, recipe, device=CPU)
    parts = build_parts(recipe, CPU)
    batches = itertools.islice(loader.batches(0), loop.STATISTICS_OVER)
    lr = [lr_of(parts, batch) for batch in batches]
    torch.optim.swa_utils.update_bn(lr, average)
    shipped = checkpoint.read(result.model).part("generator")
    means = [name for name in shipped if name.endswith("running_mean")]
    assert means
    for name in means:
        torch.testing.assert_close(shipped[name], average.state_dict()[name])
    raw = stored.part("generator")
    assert any((shipped[name] - raw[name]).abs().max() > 1e-3 for name in means)


def test_a_run_whose_every_step_was_skipped_fails(
    tmp_path: Path, run: Callable[..., Any], fake_distribution: Callable[..., Path]
) -> None:
    fake_distribution("srkit-faulty", {"faulty_plugin": FAULTY})
    with pytest.raises(SrkitError, match=r"none of the 5 steps was finite.*lower optimizer"):
        run(faulty(list(range(1, 6)), steps=5))
    assert not list((tmp_path / "run").glob("*est.safetensors"))
    assert not (tmp_path / "run" / checkpoint.MODEL).exists()


def test_a_run_is_trained_by_one_process(tmp_path: Path, run: Callable[..., Any]) -> None:
    run(tiny(steps=2))
    before = (tmp_path / "run" / run_folder.LOG).read_bytes()
    nowhere = {"data": tmp_path / "nowhere"}  # the folder is looked at before the photos are
    with lock(tmp_path / "run", run_folder.LOCK):
        with pytest.raises(InputError, match="run is being written by another process"):
            run(tiny(steps=4), resume=True, **nowhere)
        with (
            pytest.raises(InputError, match="fresh is being written by another process"),
            lock(tmp_path / "fresh", run_folder.LOCK),
        ):
            run(tiny(steps=4), out=tmp_path / "fresh", **nowhere)
    with pytest.raises(InputError, match="nowhere"):
        run(tiny(steps=4), out=tmp_path / "fresh", **nowhere)
    assert not (tmp_path / "fresh").exists()
    assert (tmp_path / "run" / run_folder.LOG).read_bytes() == before
    assert run(tiny(steps=4), resume=True).step == 4


def test_larger_images_of_a_batch_in_parts_are_fewer(run: Callable[..., Any]) -> None:
    jitter = {"data.framing": "jitter", "data.photo_size": 64, "data.extra_sizes": [64]}
    assert run(tiny(steps=3, accumulate=4, **jitter)).step == 3


def test_without_a_terminal_a_line_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.0)
    output = io.StringIO()
    start = {"photos": 8, "storage": "memory", "held_out": 1, "device": "cpu", "processes": 1}
    start |= {"bicubic_psnr": 20.0, "out": "runs/mine", "notes": [], "broken": []}
    start |= {"precision": "bf16"}
    start["forecast"] = {"seconds": 7800.0, "memory": 1.25 * 2**30}
    with display.Display(Console(file=output, width=200), lines=True) as shown:
        shown.record({"decoded": 4, "of": 9})
        shown.record({"start": 100, "steps": 2000, **start})
        terms = {"losses": {"loss": 0.5, "l1": 0.03, "psnr": -20.0, "d_real": 0.9}}
        losses = {**terms, "images_per_second": 77.0, "broken": ["a\nb"]}
        shown.record({"step": 150, **losses})
    decoded, first, zero, second, third = output.getvalue().splitlines()
    assert zero.startswith("step 100 of 2,000")
    assert first.startswith("about 2 h and 1.2 GiB for 1,900 steps; 8 photos")
    assert decoded.startswith("decoded 4 of 9")
    assert "on cpu in bf16; " in first
    assert "writing to runs/mine" in first
    assert third == "left out a\\nb"
    assert second.startswith("step 150 of 2,000  loss 0.5, 77 images/s, l1 0.03, psnr -20  ")
    assert second.endswith(" left")


def test_a_bar_in_a_terminal_is_one_line_without_markup() -> None:
    output = io.StringIO()
    console = Console(file=output, width=80, force_terminal=True, color_system="standard")
    with progress.Bars(console) as bars:
        bars("decoded", 400, 400)
        bars("step", 30000, 41410, "loss 1.2345, 77 images/s, " + "pixel 0.03, " * 9)
        bars.bars.refresh()
    text = re.sub(r"\x1b\[[^A-Za-z]*[A-Za-z]", "", output.getvalue())
    (line,) = {line for line in re.split(r"[\r\n]", text) if "30000/41410" in line}
    assert len(line) <= 80
    assert line.startswith("step ")
    assert "-:--:-- loss 1.2345, 77 images/s" in line
    assert "[" not in text
    assert "\x1b[1m" in output.getvalue()  # bold


def test_a_flat_image_leaves_the_mean_of_a_validation_finite() -> None:
    hr = torch.stack([torch.zeros(3, 16, 16), torch.rand(3, 16, 16)])
    sr = torch.stack([hr[0], hr[1] / 2])
    validation = Validation(torch.zeros(2, 3, 4, 4), hr, 4, ("psnr",))
    alone = Validation(torch.zeros(1, 3, 4, 4), hr[1:], 4, ("psnr",))
    assert validation.scores(sr)["psnr"] == pytest.approx(alone.scores(sr[1:])["psnr"])
    assert math.isinf(Validation(torch.zeros(1, 3, 4, 4), hr[:1], 4).scores(sr[:1])["psnr"])
