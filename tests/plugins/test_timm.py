"""timm backbones as discriminators and perceptual features."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from srkit_timm.backbones import PerceptualLoss, TimmDiscriminator
from torch import Tensor

from srkit import DiscriminatorOutput, InputError, OptionError, registry, testing


@pytest.fixture(scope="module")
def images() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    hr = torch.rand(2, 3, 64, 64, generator=generator)
    return hr, (hr + 0.1 * torch.randn(hr.shape, generator=generator)).clamp(0, 1)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Weights for two levels; as good as trained ones here."""
    file = tmp_path_factory.mktemp("weights") / "resnet18.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = TimmDiscriminator(levels=2).backbone.state_dict()
    save_file({key: value.contiguous() for key, value in state.items()}, file)
    return str(file)


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_as_many_feature_maps_as_asked_for(levels: int, images: tuple[Tensor, Tensor]) -> None:
    seen = TimmDiscriminator(backbone="resnet18", levels=levels)(images[0])
    assert isinstance(seen, DiscriminatorOutput)
    assert len(seen.features) == levels
    sides = [feature.shape[-1] for feature in seen.features]
    assert sides == [32, 16, 8][:levels]
    assert seen.logits.shape == (2, 1, sides[-1], sides[-1])


def test_another_backbone_judges_too(images: tuple[Tensor, Tensor]) -> None:
    discriminator = registry.build(
        "discriminators", "timm", backbone="mobilenetv3_small_050", levels=2
    )
    assert discriminator(images[0]).logits.shape == (2, 1, 16, 16)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"backbone": "resnet1"}, "timm has no model 'resnet1'"),
        ({"levels": 9}, "gives no 9 feature maps"),
        ({"levels": 0}, "0"),
        ({"levels": "many"}, "'levels' can't be 'many'"),
    ],
)
@pytest.mark.parametrize(("kind", "name"), [("discriminators", "timm"), ("losses", "perceptual")])
def test_what_timm_has_not_is_the_callers_mistake(
    kind: str, name: str, options: dict[str, object], said: str
) -> None:
    needed = {"weights": "any"} if name == "perceptual" else {}
    with pytest.raises(OptionError) as raised:
        registry.build(kind, name, **needed, **options)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_missing_and_unfit_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.safetensors: no such file"):
        TimmDiscriminator(weights=str(tmp_path / "none.safetensors"))
    save_file({"other": torch.ones(1)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match=r"other\.safetensors lack conv1"):
        TimmDiscriminator(weights=str(tmp_path / "other.safetensors"))
    (tmp_path / "text.safetensors").write_text("weights, honestly\n")
    state = TimmDiscriminator(levels=1).backbone.state_dict()
    save_file({key: torch.ones(2, 2) for key in state}, tmp_path / "wrong.safetensors")
    for name in ("text", "wrong"):
        with pytest.raises(InputError, match=rf"{name}\.safetensors"):
            TimmDiscriminator(levels=1, weights=str(tmp_path / f"{name}.safetensors"))


def test_weights_from_a_file_are_used(tmp_path: Path, images: tuple[Tensor, Tensor]) -> None:
    torch.manual_seed(7)
    backbone = TimmDiscriminator(levels=1).backbone
    file = tmp_path / "weights.safetensors"
    save_file({key: value.contiguous() for key, value in backbone.state_dict().items()}, file)
    fresh = TimmDiscriminator(levels=1, weights=str(file)).backbone.eval()
    with torch.no_grad():
        (theirs,), (ours,) = backbone.eval()(images[0]), fresh(images[0])
    assert torch.equal(ours, theirs)


def test_the_perceptual_loss_is_zero_at_equal_images_and_grows(
    images: tuple[Tensor, Tensor], weights: str
) -> None:
    hr, near = images
    loss = registry.build("losses", "perceptual", levels=2, weights=weights)
    testing.check_loss(loss)
    assert loss(sr=hr, hr=hr).item() == 0
    further = (hr + 3 * (near - hr)).clamp(0, 1)
    assert 0 < loss(sr=near, hr=hr) < loss(sr=further, hr=hr)


@pytest.mark.parametrize(
    ("options", "reason"),
    [({}, "'weights' is missing"), ({"weights": ""}, "name a file of trained ones")],
)
def test_the_perceptual_loss_needs_weights(options: dict[str, str], reason: str) -> None:
    with pytest.raises(OptionError, match=reason):
        registry.build("losses", "perceptual", **options)


def test_building_the_perceptual_loss_draws_nothing_from_the_runs_seed(weights: str) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    PerceptualLoss(levels=1, weights=weights)
    assert torch.equal(torch.rand(3), expected)


def test_the_perceptual_loss_does_not_learn(images: tuple[Tensor, Tensor], weights: str) -> None:
    loss = PerceptualLoss(levels=2, weights=weights).train()
    assert not any(module.training for module in loss.modules())
    assert not any(weight.requires_grad for weight in loss.parameters())
    before = {key: value.clone() for key, value in loss.state_dict().items()}
    sr = images[1].clone().requires_grad_()
    loss(sr, images[0]).backward()
    assert sr.grad is not None
    assert sr.grad.abs().sum() > 0
    assert all(torch.equal(loss.state_dict()[key], value) for key, value in before.items())
