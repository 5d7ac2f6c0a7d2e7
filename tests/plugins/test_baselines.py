"""Interpolation against Pillow's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from srkit_plugins.contracts import small

from srkit import OptionError, bicubic, registry, testing
from srkit.imaging import codec

KERNELS = {
    "nearest": Image.Resampling.NEAREST,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@pytest.mark.parametrize("name", KERNELS)
def test_interpolation_is_pillows_to_rounding(name: str, scale: int) -> None:
    # Between its two passes Pillow cuts off what overshoots 0..255; these values don't.
    lr = Image.fromarray(np.random.default_rng(0).integers(70, 186, (13, 17, 3), np.uint8))
    expected = lr.resize((17 * scale, 13 * scale), KERNELS[name])
    with torch.no_grad():
        sr = registry.build("generators", name, scale=scale)(codec.to_tensor(lr))
    found = np.asarray(codec.to_image(sr)).astype(int)
    # It rounds there as well.
    assert np.abs(found - np.asarray(expected)).max() <= (0 if name == "nearest" else 1)


def test_nearest_repeats_pixels_and_looks_at_no_other() -> None:
    nearest = registry.build("generators", "nearest", scale=3)
    lr = torch.rand(2, 3, 5, 7)
    assert torch.equal(nearest(lr), lr.repeat_interleave(3, -1).repeat_interleave(3, -2))
    assert (
        testing.receptive_radius(nearest.eval(), scale=3, least=0) == 0 == nearest.receptive_radius
    )


# Of the papers, or of the tables that later papers print: (options, weights without biases and
# slopes, or all parameters).
PUBLISHED = {
    "srcnn 9-5-5": ("srcnn", {"kernels": (9, 5, 5)}, 57_184, None),
    "srcnn 9-1-5": ("srcnn", {"kernels": (9, 1, 5)}, 8_032, None),
    "fsrcnn (56, 12, 4)": ("fsrcnn", {}, 12_464, None),
    "vdsr": ("vdsr", {}, 664_704, None),
    "drcn": ("drcn", {}, 1_774_080, None),
    "srresnet": ("srresnet", {}, None, 1_549_462),
    "edsr": ("edsr", {}, None, 1_517_571),
    "rrdb": ("rrdb", {}, None, 16_697_987),
}


@pytest.mark.parametrize("which", PUBLISHED)
def test_networks_have_the_published_number_of_parameters(which: str) -> None:
    name, options, weights, parameters = PUBLISHED[which]
    with torch.device("meta"):
        network = registry.build("generators", name, scale=4, **options)
    sizes = [(p.dim(), p.numel()) for p in network.parameters()]
    if weights:
        assert sum(numel for dim, numel in sizes if dim > 1) == weights
    if parameters:
        assert sum(numel for _, numel in sizes) == parameters


@pytest.mark.parametrize("name", ["srcnn", "fsrcnn", "vdsr", "drcn"])
def test_networks_of_luma_leave_the_colour_differences_to_bicubic(name: str) -> None:
    network = registry.build("generators", name, scale=4, **small("generators", name)).eval()
    lr = torch.rand(1, 3, 9, 7)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
        added = network(lr) - bicubic(lr, 4)
    assert added.abs().max() > 0.01
    assert torch.allclose(added, added.mean(1, keepdim=True).expand_as(added), atol=1e-6)


def test_recursions_are_supervised_one_by_one_in_training() -> None:
    network = registry.build("generators", "drcn", scale=2, width=6, recursions=3, supervision=1.0)
    with torch.no_grad():
        for parameter in network.parameters():  # the recursion starts as the identity
            parameter.add_(0.1 * torch.randn_like(parameter))
    lr = torch.rand(1, 3, 8, 8)
    torch.manual_seed(0)
    results = {tuple(network(lr).flatten()[:5].tolist()) for _ in range(40)}
    assert len(results) == 3  # one of each recursion
    sum(network(lr).sum() for _ in range(20)).backward()
    assert network.share.grad.abs().max() == 0  # no loss of the mean
    assert network.eval()(lr).equal(network(lr))


def test_an_adversary_of_another_size_of_images_is_averaged_to_its_own() -> None:
    discriminator = registry.build("discriminators", "srgan", size=64, width=8)
    assert discriminator(torch.rand(2, 3, 128, 128)).logits.shape == (2,)
    with pytest.raises(OptionError, match="multiple of 16"):
        registry.build("discriminators", "srgan", size=60)
