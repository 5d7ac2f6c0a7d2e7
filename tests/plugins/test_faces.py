"""Our own generator."""

from __future__ import annotations

import pytest
import torch
from srkit_faces.generator import FaceResidual
from torch import nn

from srkit import OptionError, registry
from srkit.imaging.codec import bicubic

from .reach import reached


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_an_untrained_network_is_bicubic_interpolation(scale: int) -> None:
    lr = torch.rand(2, 3, 7, 11)
    sr = FaceResidual(scale=scale, width=8, blocks=1)(lr)
    assert sr.shape == (2, 3, 7 * scale, 11 * scale)
    assert torch.equal(sr, bicubic(lr, scale))
    assert torch.equal(sr, registry.build("generators", "bicubic", scale=scale)(lr))


@pytest.mark.parametrize("scale", [2, 4, 8])
@pytest.mark.parametrize(("width", "blocks"), [(8, 0), (16, 1), (24, 3)])
def test_receptive_radius_is_true(scale: int, width: int, blocks: int) -> None:
    network = FaceResidual(scale=scale, width=width, blocks=blocks)
    nn.init.normal_(network.tail.weight)  # it starts at zero, where only bicubic would show
    least, most = reached(network.double().eval(), scale=scale, around=2 * blocks + 6)
    assert least == most == network.receptive_radius


def test_bicubics_receptive_radius_is_true() -> None:
    network = registry.build("generators", "bicubic", scale=4)
    assert reached(network, scale=4, around=5) == (network.receptive_radius,) * 2


def test_the_network_learns_the_difference_to_bicubic() -> None:
    network = FaceResidual(width=8, blocks=1)
    lr = torch.rand(2, 3, 5, 5)
    network(lr).sum().backward()
    gradient = network.tail.weight.grad
    assert gradient is not None
    assert gradient.any()


def test_it_has_no_normalisation() -> None:
    layers = {type(m).__name__ for m in FaceResidual(width=8, blocks=2).modules()}
    assert not any("Norm" in name for name in layers)


@pytest.mark.parametrize("scale", [1, 3, 16])
def test_another_scale_is_refused(scale: int) -> None:
    with pytest.raises(OptionError, match="scale is 2, 4 or 8"):
        registry.build("generators", "face-residual", scale=scale)
