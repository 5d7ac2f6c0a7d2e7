"""The same code on a CUDA device: ``nox -s cuda``."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import srkit
from srkit import build, checkpoint, data, processes, registry, seeds
from srkit.plan import plan
from srkit.state import State
from srkit.steps import step
from srkit.train import train

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def test_uniform_noise_is_the_same_to_the_bit() -> None:
    keys = torch.arange(64)
    ours = seeds.uniform(keys.cuda(), (3, 16, 16)).cpu()
    assert torch.equal(ours, seeds.uniform(keys, (3, 16, 16)))


def test_degraded_pictures_differ_by_one_level_at_most() -> None:
    hr, keys = torch.rand(8, 3, 64, 64), torch.arange(8)
    degrade = registry.build("degradations", "faces-x4")
    levels = (degrade(hr.cuda(), seeds=keys.cuda()).cpu() - degrade(hr, seeds=keys)) * 255
    assert levels.abs().max() <= 1.001
    assert (levels.abs() > 0.5).float().mean() < 0.001


def test_models_agree_with_the_cpu() -> None:
    lr = torch.rand(2, 3, 40, 56)
    on_cpu, on_gpu = (srkit.load(device=device).enlarge(lr) for device in ("cpu", "cuda"))
    torch.testing.assert_close(on_gpu, on_cpu, atol=2e-3, rtol=0)


@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
def test_a_step_never_waits_for_the_device() -> None:
    """torch raises at the first call that makes the host wait."""
    recipe = registry.build("recipes", "inception-gan").changed(
        {"generator.width": 0.1, "discriminator.width": 0.1, "data.flips": True, "ema": 0.9}
    )
    joined = processes.start(torch.device("cuda"))
    parts = build.parts(recipe, joined.device)
    state = State.of(recipe, parts, joined)
    feed, _ = data.open_feed("samples", None, recipe, device=joined.device)
    batches = feed.batches(0)
    for _ in range(3):  # kernels are chosen and memory is found
        step(state, parts, next(batches))
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            step(state, parts, next(batches))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert state.window.skipped().count == 0


@pytest.mark.parametrize("keep", ["device", "disk", "files"])
def test_batches_are_those_of_the_cpu(
    tmp_path: Path, crops: Callable[[Path, int, int], list[Path]], keep: Any
) -> None:
    crops(tmp_path / "photos", 24, 32)
    recipe = registry.build("recipes", "faces-tiny").changed({"data.size": 32, "batch_size": 8})
    feeds = [
        data.open_feed(
            tmp_path / "photos", None, recipe, device=torch.device(name), keep=how, cache=tmp_path
        )[0]
        for name, how in (("cpu", "device"), ("cuda", keep))
    ]
    both = zip(*(feed.batches(3) for feed in feeds), strict=True)
    for one, other in itertools.islice(both, 5):
        assert torch.equal(one.hr, other.hr.cpu())
        assert torch.equal(one.noise, other.noise.cpu())
    for feed in feeds:
        feed.close()


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_trains_and_resumes(tmp_path: Path, precision: str) -> None:
    recipe = registry.build("recipes", "inception-gan").changed(
        {
            "generator.width": 0.1,
            "discriminator.width": 0.1,
            "steps": 40,
            "validate_every": 20,
            "precision": precision,
            "optimizer.patience": 40,  # fp16 starts with steps that overflow, to find its scale
        }
    )
    out = tmp_path / "run"
    train(recipe, data="samples", out=out, device="cuda", log_every=10)
    longer = recipe.changed({"steps": 60})
    result = train(longer, data="samples", out=out, device="cuda", resume=True)
    assert result.step == 60
    found = checkpoint.read(result.checkpoint)
    assert all(value.isfinite().all() for value in found.part("generator").values())


def test_batches_that_are_not_finite_are_skipped() -> None:
    recipe = registry.build("recipes", "faces-tiny")
    joined = processes.start(torch.device("cuda"))
    parts = build.parts(recipe, joined.device)
    state = State.of(recipe, parts, joined)
    before = state.snapshot()
    hr = torch.full((4, 3, 64, 64), float("nan"), device="cuda")
    step(state, parts, data.Batch(hr, torch.arange(4, device="cuda")))
    after = state.snapshot()
    assert all(
        torch.equal(v, after.part("generator")[k]) for k, v in before.part("generator").items()
    )
    assert state.window.skipped().count == 1


def test_memory_is_measured() -> None:
    found = plan(registry.build("recipes", "faces-tiny"), device="cuda")
    assert found.memory_measured
    assert found.memory > 2**20


def test_training_runs_and_resumes(tmp_path: Path) -> None:
    recipe = registry.build("recipes", "inception-gan").changed(
        {"generator.width": 0.1, "discriminator.width": 0.1, "steps": 10, "validate_every": 5}
    )
    out = tmp_path / "run"
    train(recipe, data="samples", out=out, device="cuda", log_every=5)
    longer = recipe.changed({"steps": 20})
    result = train(longer, data="samples", out=out, device="cuda", log_every=5, resume=True)
    assert result.step == 20
    assert srkit.load(out, device="cuda").device.type == "cuda"
