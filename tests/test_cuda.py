"""The same code on a CUDA device: ``nox -s cuda``."""

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import srkit
from srkit import registry, seeds
from srkit.data import loader
from srkit.data.loader import open_loader
from srkit.data.sampler import Batch
from srkit.models import checkpoint
from srkit.training import distributed
from srkit.training.cost import plan
from srkit.training.loop import train
from srkit.training.parts import build_parts
from srkit.training.state import State
from srkit.training.step import step

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def test_uniform_noise_is_the_same_to_the_bit() -> None:
    keys = torch.arange(64)
    ours = seeds.uniform(keys.cuda(), (3, 16, 16)).cpu()
    assert torch.equal(ours, seeds.uniform(keys, (3, 16, 16)))


def test_degraded_images_differ_by_one_level_at_most() -> None:
    hr, keys = torch.rand(8, 3, 64, 64), torch.arange(8)
    degrade = registry.build("degradations", "faces-x4")
    levels = (degrade(hr.cuda(), seeds=keys.cuda()).cpu() - degrade(hr, seeds=keys)) * 255
    assert levels.abs().max() <= 1.001
    assert (levels.abs() > 0.5).float().mean() < 0.001


def test_float32_is_not_tf32() -> None:
    """Sums of 576 products agree to six digits; TF32 keeps three of each factor."""
    distributed.start("cuda")
    convolution = torch.nn.Conv2d(64, 64, 3)
    images = torch.rand(4, 64, 32, 32)
    on_cpu = convolution(images)
    on_gpu = convolution.cuda()(images.cuda()).cpu()
    torch.testing.assert_close(on_gpu, on_cpu, atol=2e-6, rtol=1e-5)


def test_auto_is_bf16_and_kernels_are_timed_where_shapes_are_fixed() -> None:
    if not torch.cuda.is_bf16_supported(including_emulation=False):
        pytest.skip("needs a GPU with bfloat16")
    device = distributed.start("cuda")
    assert device.precision == "bf16"
    for name, fixed in (("faces-clean", True), ("faces", False)):
        recipe = registry.build("recipes", name)
        build_parts(recipe, device.device)
        assert torch.backends.cudnn.benchmark == fixed == (not recipe.data.extra_sizes)


OWN = """
import torch
from srkit import registry
from srkit.training import distributed
from srkit.training.cost import plan

recipe = registry.build("recipes", "inception-gan")
small = {"generator.width": 0.1, "discriminator.width": 0.1}
print(plan(recipe.changed(small), device="%s").device)
print(torch._C._cuda_hasPrimaryContext(0))
distributed.leave()
"""


@pytest.mark.parametrize("processes", [1, 2])
def test_a_process_touches_its_own_gpu_only(processes: int) -> None:
    """The second of two processes, or one on the second GPU, makes no context on the first."""
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two CUDA devices")
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29533", "WORLD_SIZE": str(processes)}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", OWN % ("cuda" if processes > 1 else "cuda:1")],
            env={**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(processes)
    ]
    outputs = [process.communicate(timeout=300)[0].split() for process in started]
    assert outputs[-1] == ["cuda:1", "False"]
    if processes > 1:
        assert outputs[0][0] == "cuda:0"


def test_models_agree_with_the_cpu() -> None:
    lr = torch.rand(2, 3, 40, 56)
    on_cpu, on_gpu = (srkit.load(device=device).upscale(lr) for device in ("cpu", "cuda"))
    torch.testing.assert_close(on_gpu, on_cpu, atol=2e-3, rtol=0)


@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
def test_a_step_never_waits_for_the_device() -> None:
    """torch raises at the first call that makes the host wait."""
    joined = distributed.start("cuda")
    small = {"generator.width": 0.1, "discriminator.width": 0.1, "data.flips": True, "ema": 0.9}
    recipe = registry.build("recipes", "inception-gan").changed(
        {**small, "precision": joined.precision}
    )
    parts = build_parts(recipe, joined.device)
    state = State.of(recipe, parts, joined)
    batches_of, _ = open_loader("samples", None, recipe, device=joined.device)
    batches = batches_of.batches(0)
    for _ in range(3):  # kernels are chosen and memory is found
        step(state, parts, next(batches))
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            step(state, parts, next(batches))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert state.window.skipped().count == 0


@pytest.mark.parametrize("storage", ["memory", "host", "stream"])
def test_batches_are_those_of_the_cpu(
    tmp_path: Path,
    crops: Callable[[Path, int, int], list[Path]],
    storage: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if storage == "host":  # the device has no room
        storage = "memory"
        monkeypatch.setattr(loader, "device_room", lambda device, host: 0)
    crops(tmp_path / "photos", 24, 32)
    recipe = registry.build("recipes", "faces-tiny").changed({"data.size": 32, "batch_size": 8})
    loaders = [
        open_loader(
            tmp_path / "photos",
            None,
            recipe,
            device=torch.device(name),
            storage=how,
            cache=tmp_path,
        )[0]
        for name, how in (("cpu", "memory"), ("cuda", storage))
    ]
    both = zip(*(each.batches(3) for each in loaders), strict=True)
    for one, other in itertools.islice(both, 5):
        assert torch.equal(one.hr, other.hr.cpu())
        assert torch.equal(one.seeds, other.seeds.cpu())
    for each in loaders:
        each.close()


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_trains_and_resumes(tmp_path: Path, precision: str) -> None:
    recipe = registry.build("recipes", "inception-gan").changed(
        {
            "generator.width": 0.1,
            "discriminator.width": 0.1,
            "steps": 40,
            "validate_every": 20,
            "precision": precision,
            "recovery.max_nonfinite_steps": 40,  # fp16 finds its scale by steps that overflow
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
    joined = distributed.start("cuda")
    parts = build_parts(recipe, joined.device)
    state = State.of(recipe, parts, joined)
    before = state.snapshot()
    hr = torch.full((4, 3, 64, 64), float("nan"), device="cuda")
    step(state, parts, Batch(hr, torch.arange(4, device="cuda")))
    after = state.snapshot()
    assert all(
        torch.equal(v, after.part("generator")[k]) for k, v in before.part("generator").items()
    )
    assert state.window.skipped().count == 1


def test_memory_is_measured() -> None:
    found = plan(registry.build("recipes", "faces-tiny"), device="cuda")
    assert 2**20 < found.memory < 2**33


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


# --- enlarging ----------------------------------------------------------------------------------


def test_eight_bits_in_half_precision_are_within_two_levels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    model = srkit.load(device="cuda")
    assert model.limits.precision == "fp16"
    half, single = model.upscale(pixels), srkit.load(device="cpu").upscale(pixels)
    difference = np.abs(half.astype(int) - single)
    assert difference.max() <= 2
    assert difference.mean() < 0.1
    assert model.limits.notes == []


def test_sixteen_bits_are_computed_in_single_precision() -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (40, 50, 3), np.uint16)
    ours, theirs = (srkit.load(device=device).upscale(pixels) for device in ("cuda", "cpu"))
    assert np.abs(ours.astype(int) - theirs).max() < 200


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Leave this process some 300 MiB of the device."""
    torch.cuda.empty_cache()
    whole = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((300 << 20) / whole)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


def test_a_device_without_much_memory_gets_smaller_tiles(little_memory: None) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (700, 700, 3), np.uint8)
    model = srkit.load(device="cuda")
    sr = model.upscale(pixels, tile=700)
    assert model.limits.tile < 700
    assert "out of memory on cuda" in model.limits.notes[0]
    assert np.abs(sr.astype(int) - srkit.load(device="cpu").upscale(pixels)).max() <= 2


def test_a_device_without_any_memory_is_one_clear_line() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    model = srkit.load(device="cuda")
    torch.cuda.empty_cache()
    whole = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((8 << 20) / whole)
    try:
        with pytest.raises(srkit.InputError, match="not enough memory on cuda"):
            model.upscale(pixels)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
