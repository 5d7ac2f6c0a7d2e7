"""The paper's networks, losses and recipes, against its facts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from srkit_inception_gan import generator as parts
from srkit_inception_gan.discriminator import PlainDiscriminator
from srkit_inception_gan.generator import InceptionResidual
from srkit_inception_gan.losses import FeatureLoss, PixelLoss, PsnrLoss
from torch import Tensor, nn

from srkit import DiscriminatorOutput, OptionError, Recipe, SrkitError, registry
from srkit.training.optimizers import learning_rate

from .reach import reached

Array = NDArray[np.float64]
Shape = tuple[int, int, int]  # (inputs, outputs, kernel size)


@pytest.fixture(scope="module")
def full() -> InceptionResidual:
    torch.manual_seed(0)
    return InceptionResidual().eval()


def shapes(module: nn.Module) -> list[Shape]:
    layers = [m for m in module.modules() if isinstance(m, nn.Conv2d)]
    assert all(m.stride == (1, 1) and m.padding == (m.kernel_size[0] // 2,) * 2 for m in layers)
    assert all(m.kernel_size[0] == m.kernel_size[1] for m in layers)
    return [(m.in_channels, m.out_channels, m.kernel_size[0]) for m in layers]


# --- generator ----------------------------------------------------------------------------------


def test_the_stated_kernel_counts_are_exact_at_width_1(full: InceptionResidual) -> None:
    assert shapes(full.stem) == [(3, 128, 3), (3, 128, 5)]
    assert shapes(full.residual1) == [(256, 256, 3), (256, 256, 5), (512, 256, 1)]
    assert shapes(full.up1) == [(256, 128, 3), (256, 128, 5), (256, 128, 1)]
    assert shapes(full.residual2) == [(128, 128, 3), (128, 128, 5), (256, 128, 1)]
    assert shapes(full.up2) == [(128, 64, 3), (128, 64, 5), (128, 64, 1)]
    assert shapes(full.tail) == [(64, 64, 3), (64, 32, 3), (32, 3, 3)]
    assert len(shapes(full)) == 2 + 4 * 3 + 3


@pytest.mark.parametrize(
    ("options", "expected"), [({}, 4_455_427), ({"asymmetric": True}, 2_200_835)]
)
def test_the_parameter_count_is_as_documented(options: dict[str, bool], expected: int) -> None:
    count = sum(parameter.numel() for parameter in InceptionResidual(**options).parameters())
    assert count == expected
    assert f"{count:,}" in (InceptionResidual.__doc__ or "")


def test_asymmetric_kernels_are_a_row_and_then_a_column() -> None:
    network = InceptionResidual(asymmetric=True)
    three, five = network.residual1.branches.three, network.residual1.branches.five
    kinds = [nn.Conv2d, nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    for branch, size in ((three, 3), (five, 5)):
        assert [type(layer) for layer in branch] == kinds
        layers = [(m.in_channels, m.kernel_size) for m in branch if isinstance(m, nn.Conv2d)]
        assert layers == [(256, (1, size)), (256, (size, 1))]
    assert shapes(network.tail) == [(64, 64, 3), (64, 32, 3), (32, 3, 3)]


def test_the_chain_of_feature_maps_is_the_papers(full: InceptionResidual) -> None:
    seen: list[tuple[int, ...]] = []
    stages = [full.stem, full.residual1, full.up1, full.residual2, full.up2]
    handles = [
        stage.register_forward_hook(lambda _m, _i, out: seen.append(tuple(out.shape[1:])))
        for stage in stages
    ]
    with torch.no_grad():
        sr = full(torch.rand(1, 3, 16, 16))
    for handle in handles:
        handle.remove()
    assert seen == [(256, 16, 16), (256, 16, 16), (128, 32, 32), (128, 32, 32), (64, 64, 64)]
    assert sr.shape == (1, 3, 64, 64)


@pytest.mark.parametrize("size", [(16, 16), (5, 7), (1, 1), (23, 8)])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("options", [{}, {"rectify": True, "asymmetric": True}])
def test_any_input_size_works_and_the_output_stays_in_range(
    size: tuple[int, int], training: bool, options: dict[str, bool]
) -> None:
    network = InceptionResidual(width=0.1, **options).train(training)
    for factor in (1, 100):  # far beyond [0, 1], tanh still holds the output
        sr = network(torch.rand(2, 3, *size) * factor)
        assert sr.shape == (2, 3, 4 * size[0], 4 * size[1])
        assert 0 <= sr.min() <= sr.max() <= 1


@pytest.mark.parametrize(
    ("options", "radius"), [({}, 8), ({"upscale": "shuffle"}, 9), ({"asymmetric": True}, 8)]
)
def test_receptive_radius_is_true(options: dict[str, Any], radius: int) -> None:
    network = InceptionResidual(width=0.25, **options).double().eval()
    least, most = reached(network, scale=4, around=12)
    assert least <= most == network.receptive_radius == radius


@pytest.mark.parametrize("options", [{}, {"rectify": True}, {"upscale": "shuffle"}])
def test_training_computes_the_branches_of_a_block_as_they_are_written(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained() -> dict[str, Tensor]:
        torch.manual_seed(0)
        network = InceptionResidual(width=0.1, **options).double().train()
        sr = network(torch.rand(2, 3, 5, 6, dtype=torch.float64))
        sr.square().sum().backward()
        gradients = {f"{name}.grad": w.grad for name, w in network.named_parameters()}
        assert all(gradient is not None for gradient in gradients.values())
        return {"sr": sr.detach(), **gradients, **dict(network.named_buffers())}

    joined = trained()
    monkeypatch.setattr(parts.Branches, "joined", False)
    for name, value in trained().items():
        torch.testing.assert_close(joined[name], value, rtol=1e-9, atol=1e-9, msg=name)


def test_the_lighter_reading_convolves_before_it_upscales() -> None:
    light = InceptionResidual(upscale="shuffle")
    assert shapes(light.up1) == [(256, 128, 3), (256, 128, 5), (256, 512, 1)]
    assert shapes(light.up2) == [(128, 64, 3), (128, 64, 5), (128, 256, 1)]
    sizes: list[tuple[int, ...]] = []
    for network in (light, InceptionResidual()):
        network.up1.branches.register_forward_hook(lambda _m, _i, y: sizes.append(tuple(y.shape)))
        network.eval()(torch.rand(1, 3, 16, 16))
    assert sizes == [(1, 256, 16, 16), (1, 256, 32, 32)]


def test_batch_normalisation_is_in_the_blocks_alone_once_a_branch(full: InceptionResidual) -> None:
    branches = [m for m in full.modules() if isinstance(m, parts.Branches)]
    assert len(branches) == 5
    for branch in (b for pair in branches for b in (pair.three, pair.five)):
        assert [type(layer) for layer in branch] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    norms = [name for name, m in full.named_modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 10
    assert not any(name.startswith("tail") for name in norms)


def test_relu_is_everywhere_but_at_the_end_which_is_tanh(full: InceptionResidual) -> None:
    kinds = [type(layer) for layer in full.tail]
    assert kinds == [nn.Conv2d, nn.ReLU, nn.Conv2d, nn.ReLU, nn.Conv2d, nn.Tanh]
    assert sum(isinstance(m, nn.Tanh) for m in full.modules()) == 1
    allowed = (nn.ReLU, nn.Tanh, nn.Conv2d, nn.BatchNorm2d, nn.PixelShuffle)
    leaves = [m for m in full.modules() if not list(m.children())]
    assert all(isinstance(leaf, allowed) for leaf in leaves)


def test_an_inception_residual_block_adds_before_it_rectifies() -> None:
    block = parts.InceptionResidualBlock(8, 4).eval()
    block.apply(parts.glorot)
    x = torch.randn(2, 8, 5, 5)
    expected = torch.relu(x + block.project(block.branches(x)))
    assert torch.equal(block(x), expected)
    nn.init.zeros_(block.project.weight)  # the shortcut is an identity
    assert torch.equal(block(x), torch.relu(x))


def test_the_last_1x1_of_each_block_can_be_rectified() -> None:
    x = torch.randn(2, 8, 5, 5)
    block = parts.InceptionResidualBlock(8, 4).eval()
    change, block.rectify = torch.relu(block.project(block.branches(x))), True
    assert torch.equal(block(x), torch.relu(x + change))
    upscaling = parts.UpscalingBlock(8, 4)
    assert upscaling(x).min() < 0
    upscaling.rectify = True
    assert upscaling(x).min() == 0
    network = InceptionResidual(width=0.05, rectify=True)
    blocks = (parts.InceptionResidualBlock, parts.UpscalingBlock)
    assert [m.rectify for m in network.modules() if isinstance(m, blocks)] == [True] * 4


@pytest.mark.parametrize("network", [InceptionResidual(width=0.25), PlainDiscriminator(width=0.25)])
def test_initialisation_is_glorots(network: nn.Module) -> None:
    for convolution in (m for m in network.modules() if isinstance(m, nn.Conv2d)):
        size = math.prod(convolution.kernel_size)
        fans = size * (convolution.in_channels + convolution.out_channels)
        bound = math.sqrt(6 / fans)
        weight = convolution.weight
        assert weight.abs().max() <= bound
        if weight.numel() > 1000:
            assert weight.abs().max() > 0.98 * bound
            assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)
        if convolution.bias is not None:
            assert not convolution.bias.any()


def test_training_starts_without_a_checkerboard() -> None:
    network = InceptionResidual(width=0.1, upscale="shuffle").eval()
    for block in (network.up1, network.up2):
        y = block(torch.randn(1, block.branches.three[0].in_channels, 5, 6))
        assert y.shape[2:] == (10, 12)
        corner = y[..., ::2, ::2]
        for i, j in ((0, 1), (1, 0), (1, 1)):
            torch.testing.assert_close(y[..., i::2, j::2], corner)


def test_width_multiplies_the_kernel_counts() -> None:
    half = InceptionResidual(width=0.5)
    assert shapes(half.residual1)[0] == (128, 128, 3)
    assert shapes(half.tail) == [(32, 32, 3), (32, 16, 3), (16, 3, 3)]
    assert InceptionResidual(width=0.001)(torch.rand(1, 3, 4, 4)).shape == (1, 3, 16, 16)


@pytest.mark.parametrize("options", [{"width": 0}, {"width": -1}, {"scale": 2}, {"scale": 8}])
def test_what_the_generator_cannot_be_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=next(iter(options))):
        registry.build("generators", "inception-residual", **options)


# --- discriminator ------------------------------------------------------------------------------


def test_the_discriminators_layers_are_the_papers() -> None:
    network = PlainDiscriminator()
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    seen = [(m.out_channels, m.kernel_size[0], m.stride[0]) for m in convolutions]
    assert seen[:7] == [
        (64, 3, 1),
        (64, 3, 2),
        (128, 3, 1),
        (128, 3, 2),
        (256, 3, 1),
        (256, 3, 2),
        (512, 3, 1),
    ]
    assert [(size, stride) for _, size, stride in seen[7:]] == [(1, 1), (1, 1)]
    assert seen[-1][0] == 1
    leaves = [m for m in network.modules() if not list(m.children())]
    # ReLU after each convolution but the last, and nothing else: no batch normalisation.
    assert [type(leaf) for leaf in leaves] == [nn.Conv2d, nn.ReLU] * 8 + [nn.Conv2d]


def test_the_discriminator_can_be_normalised_as_srgans() -> None:
    network = PlainDiscriminator(normalise=True)
    leaves = [m for m in network.modules() if not list(m.children())]
    normalised = [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    head = [nn.Conv2d, nn.ReLU, nn.Conv2d]
    assert [type(leaf) for leaf in leaves] == [nn.Conv2d, nn.ReLU, *normalised * 6, *head]
    assert sum(p.numel() for p in network.parameters()) == 2_853_249


def test_the_feature_is_the_fifth_activation_and_the_logits_the_mean_of_the_map() -> None:
    network = PlainDiscriminator(width=0.1)
    seen: list[Tensor] = []
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    for convolution in convolutions:
        convolution.register_forward_hook(lambda _m, _i, out: seen.append(out.clone()))
    output = network(torch.rand(3, 3, 64, 64))
    assert isinstance(output, DiscriminatorOutput)
    (feature,) = output.features
    assert torch.equal(feature, torch.relu(seen[4]))
    assert feature.shape == (3, convolutions[4].out_channels, 16, 16)
    assert (feature > 0).any()
    assert output.logits.shape == (3,)
    assert seen[-1].shape == (3, 1, 8, 8)
    torch.testing.assert_close(output.logits, seen[-1].mean(dim=(1, 2, 3)))


def test_the_probability_can_fall_below_one_half() -> None:
    network = PlainDiscriminator(width=0.1)
    with torch.no_grad():
        network.head[-1].weight.neg_()
        both = torch.stack([network(torch.rand(4, 3, 16, 16)).logits])
        network.head[-1].weight.neg_()
        both = torch.cat([both, network(torch.rand(4, 3, 16, 16)).logits[None]])
    assert (both < 0).any()
    assert (both > 0).any()


def test_images_of_a_batch_do_not_see_each_other() -> None:
    network = PlainDiscriminator(width=0.1)
    images = torch.rand(4, 3, 32, 32)
    alone = torch.cat([network(image[None]).logits for image in images])
    torch.testing.assert_close(network(images).logits, alone)


@pytest.mark.parametrize("size", [(64, 64), (17, 9), (1, 1)])
def test_the_discriminator_takes_any_size(size: tuple[int, int]) -> None:
    assert PlainDiscriminator(width=0.1)(torch.rand(2, 3, *size)).logits.shape == (2,)


@pytest.mark.parametrize("width", [0, -0.5])
def test_a_discriminator_without_width_is_refused(width: float) -> None:
    with pytest.raises(OptionError, match="width must be positive"):
        registry.build("discriminators", "srgan-plain", width=width)


# --- losses, each against its equation in plain loops -------------------------------------------


def eq2(g: Array, x: Array) -> float:
    """(1/N) sum over i of sqrt((G(z_i) - x_i)^2)."""
    total = 0.0
    for i in range(len(x)):
        total += math.sqrt(sum((a - b) ** 2 for a, b in zip(g[i].flat, x[i].flat, strict=True)))
    return total / len(x)


def eq4(g: Array, x: Array) -> float:
    """20 log10(MAX) - 10 log10(MSE), the MSE over all images and their pixels."""
    squares = [(a - b) ** 2 for i in range(len(x)) for a, b in zip(g[i].flat, x[i].flat)]  # noqa: B905
    return 20 * math.log10(1.0) - 10 * math.log10(sum(squares) / len(squares))


def pair(*shape: int) -> tuple[Tensor, Tensor]:
    return torch.rand(*shape, dtype=torch.float64), torch.rand(*shape, dtype=torch.float64)


@pytest.mark.parametrize("count", [1, 3])
def test_pixel_loss_is_eq_2(count: int) -> None:
    sr, hr = pair(count, 3, 5, 4)
    assert PixelLoss()(sr, hr).item() == pytest.approx(eq2(sr.numpy(), hr.numpy()))


def test_feature_loss_is_eq_3_on_the_last_feature() -> None:
    fake, real = pair(3, 6, 4, 4)
    first, other = pair(3, 2, 8, 8)
    logits = torch.zeros(3)
    loss = FeatureLoss()(
        real=DiscriminatorOutput(logits, (first, real)),
        fake=DiscriminatorOutput(logits, (other, fake)),
    )
    assert loss.item() == pytest.approx(eq2(fake.numpy(), real.numpy()))


def test_feature_loss_moves_the_fake_features_alone() -> None:
    fake, real = pair(2, 4, 3, 3)
    fake.requires_grad_()
    real.requires_grad_()
    logits = torch.zeros(2)
    FeatureLoss()(
        DiscriminatorOutput(logits, (real,)), DiscriminatorOutput(logits, (fake,))
    ).backward()
    assert real.grad is None
    assert fake.grad is not None
    assert fake.grad.any()


def test_feature_loss_without_features_says_what_it_needs() -> None:
    nothing = DiscriminatorOutput(torch.zeros(2))
    with pytest.raises(SrkitError, match="needs a discriminator that gives features"):
        FeatureLoss()(nothing, nothing)


@pytest.mark.parametrize("count", [1, 3])
def test_psnr_loss_is_minus_eq_4(count: int) -> None:
    sr, hr = pair(count, 3, 5, 4)
    assert PsnrLoss()(sr, hr).item() == pytest.approx(-eq4(sr.numpy(), hr.numpy()))


def test_psnr_averages_over_images_before_the_logarithm() -> None:
    hr = torch.zeros(2, 3, 4, 4)
    sr = torch.stack([torch.full((3, 4, 4), 0.1), torch.full((3, 4, 4), 0.3)])
    loss = PsnrLoss()(sr, hr).item()
    assert loss == pytest.approx(10 * math.log10((0.01 + 0.09) / 2))
    each = [PsnrLoss()(sr[i : i + 1], hr[i : i + 1]).item() for i in range(2)]
    assert loss > sum(each) / 2 + 0.5  # the mean of per-image decibels is another number


@pytest.mark.parametrize("loss", [PixelLoss(), PsnrLoss()])
@pytest.mark.parametrize("equal", [2, 1])
def test_losses_are_finite_at_zero_error(loss: nn.Module, equal: int) -> None:
    hr = torch.rand(2, 3, 4, 4)
    sr = hr.clone()
    sr[equal:] += 0.1  # all images equal, or one of two
    sr.requires_grad_()
    value = loss(sr, hr)
    value.backward()
    assert torch.isfinite(value)
    assert sr.grad is not None
    assert torch.isfinite(sr.grad).all()
    assert not sr.grad[:equal].any()


def test_psnr_loss_stops_at_its_ceiling() -> None:
    hr = torch.rand(2, 3, 4, 4)
    assert PsnrLoss()(hr, hr).item() == pytest.approx(-100)
    near = (hr + 1e-6).requires_grad_()  # 120 dB
    PsnrLoss()(near, hr).backward()
    assert near.grad is not None
    assert not near.grad.any()


# --- recipes ------------------------------------------------------------------------------------

SCENARIOS = {
    "inception-gan-pixel": {"pixel"},
    "inception-gan-adversarial": {"pixel", "adversarial"},
    "inception-gan-feature": {"pixel", "adversarial", "feature"},
    "inception-gan": {"pixel", "adversarial", "feature", "psnr"},
}


@pytest.mark.parametrize(("name", "terms"), SCENARIOS.items())
def test_recipes_are_the_papers_scenarios(name: str, terms: set[str]) -> None:
    recipe: Recipe = registry.build("recipes", name)
    adversarial = {"adversarial"} if recipe.adversarial else set()
    assert recipe.losses.keys() | adversarial == terms
    assert all(loss.weight > 0 for loss in recipe.losses.values())
    assert (recipe.discriminator is not None) == ("adversarial" in terms)
    if recipe.adversarial:
        assert recipe.adversarial.objective == "minimax"
        assert recipe.adversarial.updates == "simultaneous"
        assert recipe.adversarial.weight > 0
    assert (recipe.scale, recipe.batch_size) == (4, 32)
    assert (recipe.generator.name, recipe.generator.options) == ("inception-residual", {})
    assert (recipe.degradation.name, recipe.degradation.options) == ("faces-x4", {})
    assert (recipe.data.framing, recipe.data.size, recipe.data.flips) == ("squash", 64, False)
    assert recipe.ema == 0


@pytest.mark.parametrize("name", SCENARIOS)
def test_recipes_have_the_papers_optimiser_and_schedule(name: str) -> None:
    recipe: Recipe = registry.build("recipes", name)
    optimizer = recipe.optimizer
    assert (optimizer.name, optimizer.betas) == ("adam", (0.5, 0.999))
    assert (optimizer.weight_decay, optimizer.warmup) == (0, 0)
    rates = [learning_rate(optimizer, step, recipe.steps) for step in (0, 4999, 5000, 9999, 10000)]
    assert rates == pytest.approx([2e-4, 2e-4, 1e-4, 1e-4, 5e-5])


def test_the_scenarios_differ_in_their_terms_alone() -> None:
    def rest(name: str) -> dict[str, Any]:
        recipe: Recipe = registry.build("recipes", name)
        return recipe.model_dump(exclude={"name", "losses", "adversarial", "discriminator"})

    assert all(rest(name) == rest("inception-gan") for name in SCENARIOS)
    whole: Recipe = registry.build("recipes", "inception-gan")
    for name in SCENARIOS:
        losses = registry.build("recipes", name).losses
        assert losses == {key: whole.losses[key] for key in losses}
