"""The hourglass generator."""

from __future__ import annotations

import pytest
import torch
from srkit_faces.hourglass import FaceHourglass
from torch import nn

from srkit import Model, OptionError, registry, testing
from srkit.imaging.codec import bicubic


def small(**options: object) -> FaceHourglass:
    """Return a network of few maps whose zeros are replaced, so that everything counts."""
    torch.manual_seed(0)
    network = FaceHourglass(widths=(8, 8, 8), blocks=(1, 1, 1), tail_width=8, **options)  # type: ignore[arg-type]
    for weight in network.parameters():
        if weight.ndim > 1:
            nn.init.normal_(weight, std=0.1)
    return network.eval()


@pytest.mark.parametrize("scale", [2, 4, 8])
@pytest.mark.parametrize("size", [(1, 1), (7, 11), (16, 16)])
def test_an_untrained_network_is_bicubic_at_any_size(scale: int, size: tuple[int, int]) -> None:
    lr = torch.rand(2, 3, *size)
    assert torch.equal(FaceHourglass(scale=scale)(lr), bicubic(lr, scale))


@pytest.mark.parametrize("blocks", [(1, 1, 1), (2, 2, 4)])
def test_receptive_radius_is_true_and_tight(blocks: tuple[int, int, int]) -> None:
    network = FaceHourglass(widths=(4, 4, 4), blocks=blocks, tail_width=4).double().eval()
    for weight in network.parameters():
        nn.init.normal_(weight)
    reach = testing.receptive_radius(network, scale=4, least=network.receptive_radius)
    assert network.receptive_radius - 1 <= reach <= network.receptive_radius


@pytest.mark.parametrize("size", [(150, 141), (93, 200)])
def test_tiles_are_the_whole_to_rounding(size: tuple[int, int]) -> None:
    model, lr = Model("hourglass", small(), 4), torch.rand(1, 3, *size)
    whole, tiled = model.upscale(lr, tile=10_000), model.upscale(lr, tile=20)
    assert (whole - tiled).abs().max() < 1e-6


def test_tiles_off_the_grid_would_show() -> None:
    network = small()
    network.alignment = 1
    lr = torch.rand(1, 3, 150, 141)
    whole, tiled = (Model("hourglass", network, 4).upscale(lr, tile=tile) for tile in (10_000, 21))
    assert (whole - tiled).abs().max() > 1e-4


def test_another_scale_is_refused() -> None:
    with pytest.raises(OptionError, match="scale is 2, 4 or 8"):
        registry.build("generators", "face-hourglass", scale=3)
