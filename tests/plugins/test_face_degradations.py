"""The degradations `faces-xN`: the protocol's exact numbers, and noise that a seed decides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from srkit import OptionError, registry
from srkit import seeds as noise_of
from srkit.imaging import codec


def degrade(name: str = "faces-x4", **options: Any) -> Callable[..., Tensor]:
    part: Callable[..., Tensor] = registry.build("degradations", name, **options)
    return part


@pytest.fixture(scope="module")
def photos() -> list[Image.Image]:
    photo = Image.fromarray(skimage.data.chelsea())
    return [
        photo.crop((x, x // 3, x + 128, x // 3 + 128)).resize((64, 64)) for x in range(80, 280, 25)
    ]


@pytest.fixture(scope="module")
def hr(photos: list[Image.Image]) -> Tensor:
    return torch.cat([codec.to_tensor(photo) for photo in photos])


def keys(hr: Tensor) -> Tensor:
    return torch.arange(100, 100 + len(hr))


def test_the_default_is_the_protocol_paper(hr: Tensor) -> None:
    small = interpolate(hr, size=(16, 16), mode="bicubic", align_corners=False, antialias=True)
    noise = noise_of.normal(keys(hr), (3, 16, 16))
    expected = ((small + 0.02 * noise).clamp(0, 1) * 255).round() / 255
    assert torch.equal(degrade()(hr, seeds=keys(hr)), expected)


@pytest.mark.parametrize(("name", "scale"), [("faces-x2", 2), ("faces-x4", 4), ("faces-x8", 8)])
def test_without_noise_it_is_pillows_bicubic(
    hr: Tensor, photos: list[Image.Image], name: str, scale: int
) -> None:
    side = 64 // scale
    lr = degrade(name, noise=0)(hr, seeds=keys(hr))
    assert lr.shape == (len(hr), 3, side, side)
    for ours, photo in zip(lr, photos, strict=True):
        theirs = np.asarray(photo.resize((side, side), Image.Resampling.BICUBIC), dtype=float)
        difference = np.abs(np.asarray(codec.to_image(ours), dtype=float) - theirs)
        # Pillow rounds to 8 bits between its two passes.
        assert difference.max() <= 1
        assert difference.mean() < 0.2


OPTIONS: list[dict[str, Any]] = [
    {},
    {"noise": (0.0, 0.1), "quantise": False},
    {"kernel": "area", "quantise": False},
    {"kernel": "bilinear", "quantise": False},
    {"kernel": "gaussian-bicubic", "quantise": False},
    {"blur": (0.0, 2.0), "quantise": False},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_an_images_lr_knows_neither_batch_nor_order(hr: Tensor, options: dict[str, Any]) -> None:
    part = degrade(**options)
    together = part(hr, seeds=keys(hr))
    order = torch.randperm(len(hr))
    assert torch.equal(part(hr[order], seeds=keys(hr)[order]), together[order])
    for i in (0, len(hr) - 1):
        assert torch.equal(part(hr[i : i + 1], seeds=keys(hr)[i : i + 1]), together[i : i + 1])


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_memory_format_decides_nothing(hr: Tensor, options: dict[str, Any]) -> None:
    part = degrade(**options)
    other = part(hr.contiguous(memory_format=torch.channels_last), seeds=keys(hr))
    torch.testing.assert_close(part(hr, seeds=keys(hr)), other, rtol=0, atol=1e-6)


def test_another_seed_is_another_noise_and_the_same_seed_the_same(hr: Tensor) -> None:
    part = degrade()
    assert not torch.equal(part(hr, seeds=keys(hr)), part(hr, seeds=keys(hr) + 1))
    twins = part(hr[:1].expand(2, -1, -1, -1), seeds=torch.tensor([4, 4]))
    assert torch.equal(twins[0], twins[1])


def test_noise_has_the_sigma_asked_for() -> None:
    grey = torch.full((64, 3, 64, 64), 0.5)
    lr = degrade(noise=0.02, quantise=False)(grey, seeds=torch.arange(64))
    assert (lr - 0.5).std().item() == pytest.approx(0.02, rel=0.02)


def test_a_noise_range_is_drawn_from_per_image() -> None:
    grey = torch.full((400, 3, 64, 64), 0.5)
    lr = degrade(noise=[0.01, 0.05], quantise=False)(grey, seeds=torch.arange(400))
    sigmas = (lr - 0.5).flatten(1).std(dim=1)
    assert 0.009 < sigmas.min() < 0.013
    assert 0.047 < sigmas.max() < 0.053
    assert sigmas.mean().item() == pytest.approx(0.03, abs=0.002)


def test_kernels_are_what_they_are_called(hr: Tensor) -> None:
    def shrunk(kernel: str) -> Tensor:
        return degrade(kernel=kernel, noise=0, quantise=False)(hr, seeds=keys(hr))

    lr = {name: shrunk(name) for name in ("bicubic", "bilinear", "area", "gaussian-bicubic")}
    names = list(lr)
    for i, a in enumerate(names):
        for b in names[:i]:
            assert (lr[a] - lr[b]).abs().max() > 1e-3
            assert (lr[a] - lr[b]).abs().mean() < 0.05  # another kernel, the same image
    torch.testing.assert_close(lr["area"], avg_pool2d(hr, 4))
    # Bicubic, the only one with negative lobes, is the crispest.
    contrast = {name: value.var().item() for name, value in lr.items()}
    assert max(contrast, key=contrast.__getitem__) == "bicubic"


def test_gaussian_bicubic_is_a_blur_and_then_plain_interpolation(hr: Tensor) -> None:
    lr = degrade(kernel="gaussian-bicubic", noise=0, quantise=False)(hr, seeds=keys(hr))
    # (scale - 1) / 2 is kornia's rule for sigma; three sigmas on either side.
    blurred = gaussian_filter(hr.numpy(), (0, 0, 1.5, 1.5), mode="mirror", radius=(0, 0, 5, 5))
    small = interpolate(
        torch.from_numpy(blurred), size=(16, 16), mode="bicubic", align_corners=False
    )
    torch.testing.assert_close(lr, small.clamp(0, 1), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "kernel", ["bicubic", "bilinear", "area", "gaussian-bicubic", "pillow-bicubic"]
)
def test_a_constant_stays_that_constant(kernel: str) -> None:
    grey = torch.full((1, 3, 64, 64), 0.2)
    lr = degrade(kernel=kernel, noise=0, blur=1.5, quantise=False)(grey, seeds=torch.tensor([0]))
    torch.testing.assert_close(lr, torch.full((1, 3, 16, 16), 0.2))


def test_blur_softens_the_more_the_wider(hr: Tensor) -> None:
    def contrast(blur: float) -> float:
        return float(degrade(noise=0, blur=blur, quantise=False)(hr, seeds=keys(hr)).var())

    assert contrast(0.0) > contrast(1.0) > contrast(3.0)


def test_a_blur_range_that_draws_nothing_blurs_nothing(hr: Tensor) -> None:
    sharp = degrade(noise=0, quantise=False)(hr, seeds=keys(hr))
    barely = degrade(noise=0, blur=1e-9, quantise=False)(hr, seeds=keys(hr))
    torch.testing.assert_close(barely, sharp)


def test_quantise_rounds_to_8_bits_and_only_then(hr: Tensor) -> None:
    raw = degrade(quantise=False)(hr, seeds=keys(hr))
    lr = degrade()(hr, seeds=keys(hr))
    assert torch.equal(lr, (raw * 255).round() / 255)
    assert not torch.equal(raw, lr)
    assert torch.equal(codec.to_uint8(lr).float() / 255, lr)


def test_lr_stays_in_range_at_black_and_white() -> None:
    for value in (0.0, 1.0):
        flat = torch.full((4, 3, 32, 32), value)
        lr = degrade(noise=0.3, quantise=False)(flat, seeds=torch.arange(4))
        assert 0 <= lr.min() <= lr.max() <= 1


@pytest.mark.parametrize(
    "options", [{"noise": -0.1}, {"noise": [0.2, 0.1]}, {"blur": -1}, {"blur": [-1, 1]}]
)
def test_a_range_that_is_none_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="is a range from 0 up"):
        degrade(**options)
