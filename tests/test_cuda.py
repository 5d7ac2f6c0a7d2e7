"""The same code on a CUDA device: ``nox -s cuda``."""

from pathlib import Path

import pytest
import torch

import srkit
from srkit import registry, seeds
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
