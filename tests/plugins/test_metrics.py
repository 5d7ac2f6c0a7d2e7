"""Metrics against scikit-image called directly, and known figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from numpy.typing import NDArray
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from srkit_metrics.images import luma, to_8_bits
from torch import Tensor
from training import decoded

from srkit import Metric, registry
from srkit.imaging import codec
from srkit.imaging.codec import Framing, bicubic
from srkit.recipe import Data

METRICS = ("psnr", "psnr-y", "ssim", "ssim-y")


def score(name: str, sr: Tensor, hr: Tensor) -> Tensor:
    result: Tensor = registry.build("metrics", name)(sr, hr)
    return result


@pytest.fixture(scope="module")
def hr() -> Tensor:
    photo = torch.from_numpy(skimage.data.chelsea()).permute(2, 0, 1)
    crops = [photo[:, y : y + 40, 2 * y : 2 * y + 48] for y in (20, 60, 100)]
    return torch.stack(crops).float() / 255


@pytest.fixture(scope="module")
def sr(hr: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return hr + 0.05 * torch.randn(hr.shape, generator=generator)  # leaves [0, 1] here and there


def array(image: Tensor) -> NDArray[np.uint8]:
    eight: NDArray[np.uint8] = codec.to_uint8(image).permute(1, 2, 0).numpy()
    return eight


def directly(name: str, sr: Tensor, hr: Tensor) -> float:
    """One image's score, by scikit-image alone."""
    a, b = array(sr), array(hr)
    axis: int | None = -1
    if "-y" in name:
        a, b, axis = rgb2ycbcr(a)[..., 0], rgb2ycbcr(b)[..., 0], None
    if name.endswith("truncated"):
        a, b = np.floor(a), np.floor(b)
    if name.startswith("psnr"):
        return float(peak_signal_noise_ratio(b, a, data_range=255))
    window = {} if name.endswith("uniform") else {"gaussian_weights": True, "sigma": 1.5}
    how = {"data_range": 255, "channel_axis": axis, "use_sample_covariance": False}
    return float(structural_similarity(b, a, **how, **window))


@pytest.mark.parametrize(
    "name", [*METRICS, "psnr-y-truncated", "ssim-y-truncated", "ssim-y-uniform"]
)
def test_metrics_are_scikit_images_image_by_image(name: str, sr: Tensor, hr: Tensor) -> None:
    expected = [directly(name, a, b) for a, b in zip(sr, hr, strict=True)]
    assert score(name, sr, hr).tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", METRICS)
def test_metrics_state_their_unit_heading_and_which_way_is_better(name: str) -> None:
    metric = registry.build("metrics", name)
    assert metric.title
    assert isinstance(metric, Metric)
    assert metric.unit == ("dB" if name.startswith("psnr") else "")
    assert metric.higher_is_better


def test_constant_images_score_what_the_formulas_say() -> None:
    a, b = torch.full((1, 3, 16, 16), 100 / 255), torch.full((1, 3, 16, 16), 110 / 255)
    assert score("psnr", a, b).item() == pytest.approx(20 * math.log10(255 / 10))
    # Luma spans 16..235, so ten grey levels are 10 * 219 / 255 of its own.
    assert score("psnr-y", a, b).item() == pytest.approx(20 * math.log10(255 / (10 * 219 / 255)))
    c1 = (0.01 * 255) ** 2
    assert score("ssim", a, b).item() == pytest.approx(
        (2 * 100 * 110 + c1) / (100**2 + 110**2 + c1)
    )


@pytest.mark.parametrize("name", METRICS)
def test_values_are_clamped_and_rounded_to_8_bits(name: str, hr: Tensor) -> None:
    assert torch.equal(score(name, hr + 0.4 / 255, hr), score(name, hr, hr))
    white = torch.ones(1, 3, 16, 16)
    assert torch.equal(score(name, white * 1.7, white), score(name, white, white))


def test_luma_is_bt_601_in_16_to_235() -> None:
    corners = torch.tensor([[0.0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    found = luma(to_8_bits(corners.T[None, :, None]))
    assert found.flatten().tolist() == pytest.approx([16, 235, 81.481, 144.553, 40.966])


@pytest.mark.parametrize("name", METRICS)
def test_other_shapes_are_refused(name: str, hr: Tensor) -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        score(name, hr[..., 1:], hr)


@pytest.mark.parametrize("name", ["ssim", "ssim-y"])
def test_images_smaller_than_the_window_are_refused(name: str) -> None:
    assert score(name, torch.rand(1, 3, 11, 11), torch.rand(1, 3, 11, 11)).isfinite().all()
    with pytest.raises(ValueError, match="11 or more"):
        score(name, torch.rand(1, 3, 10, 11), torch.rand(1, 3, 10, 11))


def test_consistency_is_psnr_between_lr_and_what_sr_was_made_again(sr: Tensor, hr: Tensor) -> None:
    metric = registry.build("metrics", "lr-consistency")
    assert metric.unit == "dB"
    assert metric.higher_is_better
    found = metric(lr=hr, redegraded=sr).tolist()
    expected = [directly("psnr", a, b) for a, b in zip(sr, hr, strict=True)]
    assert found == pytest.approx(expected, abs=1e-6)
    assert metric(lr=hr, redegraded=hr + 0.4 / 255).tolist() == [math.inf] * 3
    with pytest.raises(ValueError, match=r"redegraded .* and lr .* differ in shape"):
        metric(lr=hr[..., 1:], redegraded=sr)


def test_consistency_is_never_taken_for_psnr_by_a_call_by_position(sr: Tensor, hr: Tensor) -> None:
    with pytest.raises(TypeError):
        registry.build("metrics", "lr-consistency")(sr, hr)


def spectral_distance(a: Tensor, b: Tensor) -> float:
    """Its definition, for one image, by numpy and scikit-image's luma."""
    powers = [np.abs(np.fft.fft2(rgb2ycbcr(array(x))[..., 0])) ** 2 / x[0].numel() for x in (a, b)]
    ratio = 10 * np.log10((powers[0] + 1 / 12) / (powers[1] + 1 / 12))
    return float(np.sqrt(np.mean(ratio**2)))


def test_lsd_is_the_distance_between_spectra_in_decibels(sr: Tensor, hr: Tensor) -> None:
    metric = registry.build("metrics", "lsd")
    assert metric.unit == "dB"
    assert not metric.higher_is_better
    expected = [spectral_distance(a, b) for a, b in zip(sr, hr, strict=True)]
    assert metric(sr, hr).tolist() == pytest.approx(expected, abs=1e-9)


def test_lsd_of_constant_images_is_that_of_their_means() -> None:
    a, b = torch.full((1, 3, 16, 16), 100 / 255), torch.full((1, 3, 16, 16), 110 / 255)
    # All but one of 256 frequencies are empty in both.
    first, second = (256 * (16 + grey * 219 / 255) ** 2 + 1 / 12 for grey in (100, 110))
    assert score("lsd", a, b).item() == pytest.approx(10 * math.log10(second / first) / 16)


def test_lsd_prefers_detail_in_the_wrong_place_to_none_where_psnr_prefers_none(hr: Tensor) -> None:
    blurred = bicubic(torch.nn.functional.avg_pool2d(hr, 4), 4)
    displaced = hr.roll((5, 7), dims=(-2, -1))
    assert (score("psnr", blurred, hr) > score("psnr", displaced, hr)).all()
    assert (score("lsd", blurred, hr) > score("lsd", displaced, hr) + 5).all()


# What an independent implementation (Pillow, numpy) measured on the same 500 test faces.
KNOWN: Sequence[tuple[Framing, float, tuple[float, float, float, float]]] = (
    ("squash", 0.02, (22.33, 23.81, 0.655, 0.692)),
    ("squash", 0.0, (22.54, 23.91, 0.676, 0.699)),
    ("square", 0.02, (22.49, 23.97, 0.662, 0.698)),
    ("square", 0.0, (22.72, 24.08, 0.682, 0.705)),
)


@pytest.mark.parametrize(
    ("framing", "noise", "expected"),
    # The bench measures the first: tests/test_bench.py.
    [pytest.param(*known, marks=pytest.mark.long) for known in KNOWN[:3]] + [KNOWN[3]],
)
def test_bicubic_on_real_faces_scores_what_another_implementation_measured(
    data_root: Path, framing: Framing, noise: float, expected: tuple[float, ...]
) -> None:
    files = codec.listed(data_root / "celeba" / "test")[:500]
    photos = decoded(files, Data(framing=framing, size=64))
    assert len(photos) == 500
    hr = photos.hr()
    degrade = registry.build("degradations", "faces-x4", noise=noise)
    sr = bicubic(degrade(hr, seeds=torch.arange(500)), 4)
    found = [score(name, sr, hr).mean().item() for name in METRICS]
    assert found[:2] == pytest.approx(expected[:2], abs=0.03)
    assert found[2:] == pytest.approx(expected[2:], abs=0.003)
