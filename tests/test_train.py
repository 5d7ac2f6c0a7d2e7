"""Training: what a run leaves behind, what it refuses, and that resuming is exact."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from forks import Fork
from PIL import Image
from torch import nn
from training import batch_norm_gan, lines, same_tensors, tiny

from srkit import InputError, Optimizer, Recipe, SrkitError, files
from srkit.errors import RecipeError
from srkit.models import checkpoint
from srkit.training import run_folder
from srkit.training.loop import Interrupted
from srkit.training.optimizers import learning_rate
from srkit.training.parts import build_parts, rehearse

Crops = Callable[[Path, int, int], list[Path]]
CPU = torch.device("cpu")


def losses(folder: Path) -> list[Mapping[str, float]]:
    return [line["losses"] for line in lines(folder) if "losses" in line]


# --- stored values ------------------------------------------------------------------------------

# Mean, standard deviation and first three values after 40 steps. Between AVX-512 and SSE 4.1 they
# differ by 3e-6 at most; other noise or another order of images changes some by 3e-5 at least.
WEIGHTS = {
    "generator.tail.4.weight": (-0.0001930, 0.1907613, 0.2985455, 0.2314273, -0.0018171),
    "discriminator.head.0.weight": (-0.0011380, 0.1642204, 0.0922120, 0.0416424, 0.0656387),
}
# Means over the 40 steps; they differ by 2e-4 of their values at most, and by 7e-4 at least.
LOSSES = {"psnr": -14.947694, "feature": 1.330913}
PSNR = 17.2245  # dB; differs by .002, and by .017


def test_a_seeded_run_ends_where_it_always_did(tmp_path: Path, run: Callable[..., Any]) -> None:
    weights: dict[str, Any] = {"adversarial": 2.0, "losses.pixel": 1.0}
    weights |= {"losses.feature": 0.1, "losses.psnr": 0.2}  # those that were stored with
    settings = {f"{name}.weight": weight for name, weight in weights.items()}
    result = run(batch_norm_gan(steps=40, ema=0.0, **settings), log_every=40)
    tensors = checkpoint.read(result.checkpoint).tensors
    for name, stored in WEIGHTS.items():
        weight = tensors[name].double()
        ends = torch.stack([weight.mean(), weight.std(), *weight.flatten()[:3]])
        assert ends.tolist() == pytest.approx(stored, abs=1e-5), name
    (means,) = losses(tmp_path / "run")
    assert {name: means[name] for name in LOSSES} == pytest.approx(LOSSES, rel=3e-4)
    assert result.scores["psnr"] == pytest.approx(PSNR, abs=5e-3)


# --- what a run leaves behind -------------------------------------------------------------------


def test_the_loss_falls_and_the_run_leaves_its_files(
    tmp_path: Path, photos: Path, run: Callable[..., Any]
) -> None:
    records: list[Mapping[str, Any]] = []
    recipe = tiny(steps=60, validate_every=30, ema=0.5, **{"optimizer.learning_rate": 5e-3})
    result = run(recipe, log_every=10, checkpoint_every=10, report=records.append)
    out = tmp_path / "run"

    log = lines(out)
    assert [line["step"] for line in log] == [10, 20, 30, 40, 50, 60]
    records = [record for record in records if "decoded" not in record]
    # On a slow machine a bare step is reported once a second as well.
    assert log == [record for record in records[1:] if record.keys() != {"step"}]
    assert records[0]["start"] == 0
    assert (records[0]["photos"], records[0]["held_out"]) == (22, 2)
    assert log[-1]["losses"]["loss"] < log[0]["losses"]["loss"]
    assert all(line["images_per_second"] > 0 for line in log)

    validated = [line for line in log if "validation" in line]
    assert [line["step"] for line in validated] == [30, 60]
    assert validated[-1]["validation"].keys() == {"psnr", "ssim", "bicubic_psnr", "bicubic_ssim"}
    assert validated[-1]["validation"]["psnr"] > validated[-1]["validation"]["bicubic_psnr"]
    assert result.scores == validated[-1]["validation"]

    grids = sorted(out.glob("grid-*.png"))
    assert [grid.name for grid in grids] == ["grid-00000030.png", "grid-00000060.png"]
    with Image.open(grids[0]) as grid:
        assert grid.size == (4 * 32, 2 * 32)  # LR, bicubic, SR, HR; two held out
    assert [file.name for file in checkpoint.checkpoints(out)] == [
        f"checkpoint-{step:08d}.safetensors" for step in (40, 50, 60)
    ]
    assert Recipe.from_file(out / run_folder.RECIPE) == recipe
    assert not list(out.glob(".*"))  # nothing half written

    assert (result.model, result.step) == (out / "model.safetensors", 60)
    model = checkpoint.read(result.model)
    assert {name.partition(".")[0] for name in model.tensors} == {"generator", "trained_on"}
    checkpoint.load_weights(model.recipe.build("generator"), model.part("generator"), "model")
    last = checkpoint.read(result.checkpoint)
    for name, value in model.part("generator").items():  # what ships is the average
        assert torch.equal(value, last.part("ema.module")[name])


def test_every_term_of_a_gan_has_a_gradient_at_sr_and_it_is_logged(
    tmp_path: Path, run: Callable[..., Any]
) -> None:
    run(batch_norm_gan(steps=4, validate_every=2))
    terms = {"adversarial", "pixel", "feature", "psnr"}
    norms = {line["step"]: line["gradient_norms"] for line in lines(tmp_path / "run")[1::2]}
    assert norms.keys() == {2, 4}
    for each in norms.values():
        assert each.keys() == terms
        assert all(0 < norm < float("inf") for norm in each.values())
    for line in lines(tmp_path / "run"):
        assert line["losses"].keys() == terms | {
            "loss",
            "discriminator",
            "d_real",
            "d_fake",
            "d_accuracy",
        }
        weighed = sum(line["losses"][name] * weight_of(name) for name in terms)
        assert line["losses"]["loss"] == pytest.approx(weighed, rel=1e-4)


def weight_of(term: str) -> float:
    recipe = batch_norm_gan()
    assert recipe.adversarial
    return recipe.adversarial.weight if term == "adversarial" else recipe.losses[term].weight


def test_a_runs_outcome_follows_from_its_seed(tmp_path: Path, run: Callable[..., Any]) -> None:
    results = []
    for number, (seed, name) in enumerate(((1, "a"), (1, "b"), (2, "c"))):
        torch.manual_seed(number)  # whatever state the process is in
        np.random.seed(number)
        random.seed(number)
        results.append(run(batch_norm_gan(seed=seed, steps=2), out=tmp_path / name))
    same_tensors(results[0].checkpoint, results[1].checkpoint)
    assert losses(tmp_path / "a") == losses(tmp_path / "b") != losses(tmp_path / "c")


def test_logged_losses_are_means_since_the_last_line(
    tmp_path: Path, run: Callable[..., Any]
) -> None:
    run(tiny(steps=7), out=tmp_path / "each")
    run(tiny(steps=7), out=tmp_path / "some", log_every=3)
    each = [line["l1"] for line in losses(tmp_path / "each")]
    some = [line["l1"] for line in losses(tmp_path / "some")]
    assert some == pytest.approx([sum(each[:3]) / 3, sum(each[3:6]) / 3, each[6]])


@pytest.mark.parametrize(
    ("objective", "updates"),
    [
        ("minimax", "alternating"),
        ("non-saturating", "simultaneous"),
        ("hinge", "alternating"),
        ("relativistic", "simultaneous"),
        ("relativistic", "alternating"),
        *(
            pytest.param(*each, marks=pytest.mark.long)
            for each in (
                ("minimax", "simultaneous"),
                ("non-saturating", "alternating"),
                ("hinge", "simultaneous"),
            )
        ),
    ],
)
def test_both_networks_move_under_every_scheme(
    run: Callable[..., Any], updates: str, objective: str
) -> None:
    recipe = batch_norm_gan(
        steps=1, **{"adversarial.updates": updates, "adversarial.objective": objective}
    )
    torch.manual_seed(recipe.seed)
    start = build_parts(recipe, CPU)
    stored = checkpoint.read(run(recipe).checkpoint)
    networks = {"generator": start.generator, "discriminator": start.discriminator}
    for name, network in networks.items():
        assert isinstance(network, nn.Module)
        after = stored.part(name)
        assert all(torch.isfinite(value).all() for value in after.values())
        # Not the biases: a relativistic discriminator's last one has no gradient, ever.
        weights = {key: p for key, p in network.named_parameters() if key.endswith("weight")}
        assert not [key for key, p in weights.items() if torch.equal(p, after[key])]


def test_a_simultaneous_step_takes_both_gradients_before_either_network_moves(
    run: Callable[..., Any], photos: Path
) -> None:
    """One step of the loop against the same step written out with plain optimisers."""
    from srkit.data.loader import open_loader

    recipe = batch_norm_gan(steps=1, **{"data.flips": True})
    torch.manual_seed(recipe.seed)
    parts = build_parts(recipe, CPU)
    generator, discriminator, game = parts.generator, parts.discriminator, parts.objective
    assert discriminator
    assert game
    assert recipe.adversarial
    loader, _ = open_loader(photos, None, recipe, device=CPU)
    first = next(loader.batches(0))
    hr, lr = first.hr, parts.degrade(first.hr, seeds=first.seeds)

    optimizers = [
        torch.optim.Adam(network.parameters(), lr=2e-4, betas=(0.5, 0.999))
        for network in (generator, discriminator)
    ]
    sr = generator(lr)
    real, fake = discriminator(hr), discriminator(sr)
    tensors = {"sr": sr, "hr": hr, "lr": lr, "real": real, "fake": fake}
    loss = recipe.adversarial.weight * game.generator(real.logits, fake.logits)
    losses = recipe.losses
    loss = loss + sum(losses[n].weight * term(tensors) for n, term in parts.terms.items())
    hers = torch.autograd.grad(loss, list(generator.parameters()), retain_graph=True)
    his = torch.autograd.grad(
        game.discriminator(real.logits, fake.logits), list(discriminator.parameters())
    )
    for network, gradients in ((generator, hers), (discriminator, his)):
        for parameter, gradient in zip(network.parameters(), gradients, strict=True):
            parameter.grad = gradient
    for optimizer in optimizers:
        optimizer.step()

    stored = checkpoint.read(run(recipe).checkpoint)
    for name, network in (("generator", generator), ("discriminator", discriminator)):
        for key, value in network.state_dict().items():
            # Adam's first step is a sign: where a gradient is all but zero it may turn.
            close = torch.isclose(value, stored.part(name)[key], rtol=1e-3, atol=1e-6)
            assert close.float().mean() > 0.99, (name, key)


# --- what it refuses ----------------------------------------------------------------------------


def test_an_existing_run_is_not_written_over(tmp_path: Path, run: Callable[..., Any]) -> None:
    run(tiny(steps=2))
    before = {file: file.read_bytes() for file in (tmp_path / "run").iterdir()}
    with pytest.raises(InputError, match=r"already holds a run: use resume=True"):
        run(tiny(steps=2))
    assert {file: file.read_bytes() for file in (tmp_path / "run").iterdir()} == before


def test_a_run_whose_last_step_breaks_the_weights_fails(
    tmp_path: Path, run: Callable[..., Any]
) -> None:
    with pytest.raises(SrkitError, match=r"not finite after step 1, its last; start anew with"):
        run(tiny(steps=1, **{"optimizer.learning_rate": 1e38}))
    (begun,) = (tmp_path / "run").glob("*.safetensors")
    assert checkpoint.read(begun).step == 0


@pytest.mark.parametrize("place", ["", "runs/a"])
def test_a_run_among_its_photos_is_refused(
    tmp_path: Path, photos: Path, run: Callable[..., Any], place: str
) -> None:
    data = tmp_path / "data"
    shutil.copytree(photos, data)
    files = sorted(data.rglob("*"))
    with pytest.raises(InputError, match="lies among the photos of"):
        run(tiny(steps=1), data=data, out=data / place)
    assert sorted(data.rglob("*")) == files
    (data / "train").mkdir()
    for file in files:
        file.rename(data / "train" / file.name)
    run(tiny(steps=1), data=data, out=data / "runs" / "a")  # photos are in data/train alone


def test_another_recipe_does_not_resume_but_more_steps_do(
    tmp_path: Path, run: Callable[..., Any]
) -> None:
    run(tiny(steps=2))
    with pytest.raises(RecipeError, match=r"another recipe: batch_size: 4 -> 5; seed: 0 -> 1"):
        run(tiny(steps=2, seed=1, batch_size=5), resume=True)
    with pytest.raises(RecipeError, match="at step 2 already, past 1"):
        run(tiny(steps=1), resume=True)
    assert run(tiny(steps=4), resume=True).step == 4
    assert [line["step"] for line in lines(tmp_path / "run")] == [1, 2, 3, 4]
    assert Recipe.from_file(tmp_path / "run" / run_folder.RECIPE).steps == 4


def test_a_checkpoint_that_lacks_something_is_refused(run: Callable[..., Any]) -> None:
    result = run(tiny(steps=2))
    whole = checkpoint.read(result.checkpoint)
    for missing in ("scores", "optimizer_g", "window", "recovered"):
        rest = {key: value for key, value in whole.metadata.items() if key != missing}
        checkpoint.write(result.checkpoint, whole.tensors, whole.recipe, whole.step, rest)
        with pytest.raises(InputError, match=rf"a damaged checkpoint .*{missing}"):
            run(tiny(steps=3), resume=True)
    result.checkpoint.write_bytes(result.checkpoint.read_bytes()[:-10])
    with pytest.raises(InputError, match="not a readable checkpoint"):
        run(tiny(steps=4), resume=True)


FEATURELESS = """
import srkit, torch
from torch import nn

class Featureless(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 1, 3)

    def forward(self, image):
        return srkit.DiscriminatorOutput(self.layer(image).mean(dim=(1, 2, 3)))

class Strange(nn.Module):
    def forward(self, sr, depth):
        return sr.mean()

class PerImage(nn.Module):
    def forward(self, sr, hr):
        return (sr - hr).abs().mean(dim=(1, 2, 3))

class Double(nn.Module):
    def __init__(self):
        super().__init__()
        self.receptive_radius = 0

    def forward(self, lr):
        return nn.functional.interpolate(lr, scale_factor=2)

@srkit.hookimpl
def srkit_discriminators():
    return {"featureless": Featureless}

@srkit.hookimpl
def srkit_losses():
    return {"strange": Strange, "per-image": PerImage}

@srkit.hookimpl
def srkit_generators():
    return {"double": Double}
"""


@pytest.mark.parametrize(
    ("recipe", "settings", "message"),
    [
        (
            batch_norm_gan,
            {"discriminator.name": "featureless"},
            "loss 'feature' needs a discriminator that gives features",
        ),
        (tiny, {"losses.strange.weight": 1}, "loss 'strange' asks for depth; there are sr, hr"),
        (tiny, {"losses.per-image.weight": 1}, r"loss 'per-image' gives \(2,\), not a scalar"),
        (tiny, {"generator.name": "double"}, r"'double' gives \(2, 3, 16, 16\), and scale 4 needs"),
        (tiny, {"degradation.name": "faces-x2"}, "makes 16x16 of 32x32, and scale 4 needs 8x8"),
    ],
    ids=["no-features", "strange-argument", "no-scalar", "wrong-scale", "wrong-degradation"],
)
def test_parts_that_do_not_fit_fail_before_the_run_starts(
    tmp_path: Path,
    fake_distribution: Callable[..., Path],
    run: Callable[..., Any],
    recipe: Callable[..., Recipe],
    settings: dict[str, Any],
    message: str,
) -> None:
    fake_distribution("srkit-odd", {"odd_plugin": FEATURELESS})
    # Not even the photos are looked for.
    with pytest.raises(RecipeError, match=message):
        run(recipe().changed(settings), data=tmp_path / "nowhere")
    assert not (tmp_path / "run").exists()


def test_a_rehearsal_leaves_weights_buffers_and_random_states_alone() -> None:
    recipe = batch_norm_gan()
    parts = build_parts(recipe, CPU)
    before = {key: value.clone() for key, value in parts.generator.state_dict().items()}
    state = torch.get_rng_state()
    parts.generator.train()
    rehearse(recipe, parts, CPU)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(v, before[k]) for k, v in parts.generator.state_dict().items())
    assert parts.generator.training


# --- stopping and going on ----------------------------------------------------------------------


def test_a_killed_run_resumes_to_the_very_same_bits(
    tmp_path: Path, photos: Path, run: Callable[..., Any]
) -> None:
    # log_every and validate_every don't divide checkpoint_every: sums in flight must survive.
    recipe = batch_norm_gan(
        steps=16, validate_every=8, **{"data.flips": True, "optimizer.step_size": 7}
    )
    whole = run(recipe, out=tmp_path / "whole", checkpoint_every=5, log_every=3)

    torn = tmp_path / "torn"
    log = torn / run_folder.LOG

    def report(record: Mapping[str, Any]) -> None:
        if record.get("step", 0) >= 12:
            time.sleep(600)  # hold still, to be killed after a line that no checkpoint has

    fork = Fork(
        tmp_path, lambda: run(recipe, out=torn, checkpoint_every=5, log_every=3, report=report)
    )
    fork.wait_until(lambda: log.is_file() and '{"step": 12,' in log.read_text())
    assert fork.end(signal.SIGKILL)[0] == -signal.SIGKILL
    assert checkpoint.checkpoints(torn)[-1].name == "checkpoint-00000010.safetensors"
    assert not (torn / checkpoint.MODEL).exists()

    torch.manual_seed(12345)  # whatever state this process is in
    np.random.seed(12345)
    random.seed(12345)
    records: list[Mapping[str, Any]] = []
    rest = run(
        recipe, out=torn, checkpoint_every=5, log_every=3, resume=True, report=records.append
    )
    records = [record for record in records if "decoded" not in record]
    assert (records[0]["start"], rest.step) == (10, 16)
    reported = [record["step"] for record in records[1:] if record.keys() != {"step"}]
    assert reported[:2] == [12, 15]
    same_tensors(whole.checkpoint, rest.checkpoint)
    same_tensors(whole.model, rest.model)
    assert rest.scores == whole.scores
    # Nothing twice and nothing missing in the log, and its figures are the same too.
    speed = {"images_per_second": None}
    assert [{**line, **speed} for line in lines(torn)] == [
        {**line, **speed} for line in lines(tmp_path / "whole")
    ]


def test_a_run_killed_before_its_first_checkpoint_starts_over(
    tmp_path: Path, run: Callable[..., Any]
) -> None:
    whole = run(tiny(steps=3), out=tmp_path / "whole")
    torn = tmp_path / "torn"
    torn.mkdir()
    shutil.copy(tmp_path / "whole" / run_folder.RECIPE, torn)
    (torn / run_folder.LOG).write_text('{"step": 1, "losses": {}}\n{"step": 2, "lo')
    same_tensors(whole.checkpoint, run(tiny(steps=3), out=torn, resume=True).checkpoint)
    assert [line["step"] for line in lines(torn)] == [1, 2, 3]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_after_the_batch_with_a_checkpoint(
    tmp_path: Path, run: Callable[..., Any], number: signal.Signals
) -> None:
    before = signal.getsignal(number)

    def report(record: Mapping[str, Any]) -> None:
        if record.get("step") == 3:
            os.kill(os.getpid(), number)

    with pytest.raises(
        Interrupted, match=r"stopped at step 3, saved .*00000003[^;]*; go on with resume=True$"
    ):
        run(tiny(steps=6), report=report)
    assert signal.getsignal(number) is before
    assert checkpoint.checkpoints(tmp_path / "run")[-1].name == "checkpoint-00000003.safetensors"

    whole = run(tiny(steps=6), out=tmp_path / "whole")
    rest = run(tiny(steps=6), resume=True)
    same_tensors(whole.checkpoint, rest.checkpoint)
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")


def test_a_finished_run_resumes_to_itself(tmp_path: Path, run: Callable[..., Any]) -> None:
    first = run(tiny(steps=3))
    kept = shutil.copy(first.model, tmp_path / "kept.safetensors")
    again = run(tiny(steps=3), resume=True)
    same_tensors(kept, again.model)
    assert again.scores == first.scores
    assert [line["step"] for line in lines(tmp_path / "run")] == [1, 2, 3]


def test_losses_stay_means_when_a_finished_run_is_given_more_steps(
    tmp_path: Path, run: Callable[..., Any]
) -> None:
    run(tiny(steps=10), out=tmp_path / "each")
    each = [line["l1"] for line in losses(tmp_path / "each")]
    run(tiny(steps=4), log_every=5)  # writes a line at its end, step 4
    run(tiny(steps=10), log_every=5, resume=True)
    steps = [line["step"] for line in lines(tmp_path / "run")]
    assert steps == [4, 5, 10]
    means = [sum(each[:4]) / 4, each[4], sum(each[5:]) / 5]
    assert [line["l1"] for line in losses(tmp_path / "run")] == pytest.approx(means)


def test_losses_stay_means_when_a_run_goes_on_with_other_lines(
    tmp_path: Path, run: Callable[..., Any]
) -> None:
    def stop(record: Mapping[str, Any]) -> None:
        if record.get("step") == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    run(tiny(steps=6), out=tmp_path / "each")
    each = [line["l1"] for line in losses(tmp_path / "each")]
    with pytest.raises(Interrupted):
        # Validation writes a line at 3; the losses' own comes at 5 only.
        run(tiny(steps=6, validate_every=3), log_every=5, report=stop)
    run(tiny(steps=6, validate_every=3), log_every=2, resume=True)
    means = [sum(each[:4]) / 4, sum(each[4:]) / 2]
    assert [line["l1"] for line in losses(tmp_path / "run")] == pytest.approx(means)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ('{"step": 1}\n{"step": 2}\n{"step": 3}\n', 2),
        ('{"step": 1}\n{"st', 1),
        ('{"step": 1}\n\n', 1),
        ("[1]\n", 0),
        ("", 0),
    ],
)
def test_a_log_is_cut_back_to_its_checkpoint(tmp_path: Path, text: str, kept: int) -> None:
    log = tmp_path / run_folder.LOG
    log.write_text(text)
    run_folder.cut_log(log, 2)
    assert log.read_text() == "".join(f"{line}\n" for line in text.splitlines()[:kept])


# --- learning rates -----------------------------------------------------------------------------


def rates(steps: int, **settings: Any) -> list[float]:
    optimizer = Optimizer(learning_rate=1.0, **settings)
    return [learning_rate(optimizer, step, steps) for step in range(steps)]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [1, 1, 1, 1, 1, 1, 1]),
        ({"schedule": "step", "step_size": 3, "gamma": 0.1}, [1, 1, 1, 0.1, 0.1, 0.1, 0.01]),
        ({"warmup": 4}, [0.2, 0.4, 0.6, 0.8, 1, 1, 1]),
    ],
)
def test_constant_and_step_schedules_and_warmup(
    settings: dict[str, Any], expected: list[float]
) -> None:
    assert rates(7, **settings) == pytest.approx(expected)


def test_a_cosine_schedule_falls_from_the_rate_to_its_floor() -> None:
    schedule = rates(100, schedule="cosine", min_lr_ratio=0.2)
    assert schedule[0] == 1
    assert schedule[50] == pytest.approx(0.6)
    assert schedule[25] == pytest.approx(0.2 + 0.8 * (1 + 2**-0.5) / 2)
    assert schedule[-1] == pytest.approx(0.2, abs=1e-3)
    assert schedule == sorted(schedule, reverse=True)
    assert rates(100, schedule="cosine", min_lr_ratio=0.2, warmup=9)[20:] == schedule[20:]


def test_the_logged_learning_rate_is_the_schedules(tmp_path: Path, run: Callable[..., Any]) -> None:
    recipe = tiny(steps=5, **{"optimizer.schedule": "step", "optimizer.step_size": 2})
    run(recipe)
    logged = [line["learning_rate"] for line in lines(tmp_path / "run")]
    assert logged == pytest.approx([1e-3, 1e-3, 5e-4, 5e-4, 2.5e-4])


def test_resuming_to_a_step_that_was_not_validated_still_scores(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    run(tiny(steps=6), checkpoint_every=2)
    folder = tmp_path / "run"
    for file in checkpoint.checkpoints(folder)[1:]:
        file.unlink()
    ended = Fork(tmp_path, lambda: 0)
    ended.end()
    owner = f"srkit-{files.host()}-{ended.pid}"
    torn = folder / f".checkpoint-00000004.safetensors.{owner}.abcd_123.part"
    torn.write_bytes(b"torn")
    result = run(tiny(steps=2), resume=True, out=str(folder))
    assert result.step == 2
    assert result.scores.keys() == {"psnr", "ssim", "bicubic_psnr", "bicubic_ssim"}
    assert not torn.exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"generator.scale": 2}, "scale is the recipe's"),
        ({"degradation.kernel": "gaussian-bicubic", "data.size": 4}, "too small for a blur"),
        ({"data.size": 8}, "sides of 11 or more"),
    ],
)
def test_values_that_cannot_work_fail_before_the_run_has_a_folder(
    run: Callable[..., Any], tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(SrkitError, match=message):
        run(tiny(**settings))
    assert not (tmp_path / "run").exists()


def test_a_diverged_run_leaves_no_checkpoint_of_it(run: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(SrkitError, match=r"again after one restart .* lower optimizer\.learn"):
        run(
            tiny(steps=40, **{"optimizer.learning_rate": 1e30}),
            log_every=50,
            checkpoint_every=1,
        )
    for file in checkpoint.checkpoints(tmp_path / "run"):
        weights = checkpoint.read(file).part("window")
        assert all(value.isfinite().all() for value in weights.values())
    for line in lines(tmp_path / "run"):
        assert "NaN" not in json.dumps(line)
