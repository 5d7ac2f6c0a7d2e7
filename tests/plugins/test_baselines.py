"""Interpolation against Pillow's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from srkit import registry, testing
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
