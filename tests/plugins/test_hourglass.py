"""The hourglass generator."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from srkit_faces.hourglass import BetweenShuffles, FaceHourglass
from torch import nn
from torch.nn.functional import conv2d, pixel_shuffle

from srkit import Model, OptionError, load, registry, testing, train
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


def test_less_than_no_blocks_are_refused() -> None:
    for name, blocks in (("face-residual", -1), ("face-hourglass", (2, -1, 4))):
        with pytest.raises(OptionError, match="0 or more, not"):
            registry.build("generators", name, blocks=blocks)


def test_the_last_convolution_equals_one_between_two_shuffles() -> None:
    torch.manual_seed(0)
    layer, x = BetweenShuffles(5), torch.randn(2, 20, 3, 7)
    plainly = conv2d(pixel_shuffle(x, 2), layer.weight, layer.bias, padding=1)
    torch.testing.assert_close(layer(x), pixel_shuffle(plainly, 2))


OTHERS = [pytest.param(name, marks=pytest.mark.long) for name in ("faces-clean", "faces-x8")]


@pytest.mark.parametrize("name", ["faces", "faces-crisp", *OTHERS])
def test_a_short_run_of_each_recipe_trains(
    name: str, tmp_path: Path, crops: Callable[[Path, int, int], list[Path]]
) -> None:
    crops(tmp_path / "photos", 24, 96)
    recipe = registry.build("recipes", name).changed({"steps": 2, "batch_size": 2})
    result = train(recipe, data=tmp_path / "photos", out=tmp_path / "run", device="cpu")
    gain = result.scores["psnr"] - result.scores["bicubic_psnr"]
    assert abs(gain) < 0.5 if recipe.init is None else gain > 0.2


def test_the_shipped_model_removes_jpeg_artefacts_and_keeps_clean_images_better() -> None:
    """On scikit-image's photograph of a face at 32 pixels; a network that died would be bicubic."""
    face = Image.fromarray(skimage.data.astronaut()).crop((160, 0, 288, 128))
    model = load("faces", device="cpu")
    for quality, least in ((None, 0.8), (75, 0.5), (50, 0.4)):
        lr = face.resize((32, 32), Image.Resampling.BICUBIC)
        if quality is not None:
            file = io.BytesIO()
            lr.save(file, "JPEG", quality=quality)
            lr = Image.open(file).convert("RGB")
        errors = [
            float(np.square(np.asarray(image, dtype=np.float64) - np.asarray(face)).mean())
            for image in (model.upscale(lr), lr.resize(face.size, Image.Resampling.LANCZOS))
        ]
        assert 10 * np.log10(errors[1] / errors[0]) > least, quality
