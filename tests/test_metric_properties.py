"""What holds of the metrics on any images, scikit-image being the judge of PSNR and SSIM."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import skimage.data
import torch
from hypothesis import example, given, settings
from numpy.typing import NDArray
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from srkit_metrics.images import AT_A_TIME
from srkit_metrics.ssim import BLOCK, GAUSSIAN
from torch import Tensor

from srkit import registry, testing
from srkit.imaging import codec

FIDELITY = ("psnr", "psnr-y", "ssim", "ssim-y")
ALL = (*FIDELITY, "lsd")
BEST = {"psnr": math.inf, "psnr-y": math.inf, "ssim": 1.0, "ssim-y": 1.0, "lsd": 0.0}
PHOTO = torch.from_numpy(skimage.data.chelsea()).permute(2, 0, 1).float() / 255
EXACT = 1e-9  # what batches, order and device may change


def score(name: str, sr: Tensor, hr: Tensor) -> Tensor:
    found: Tensor = registry.build("metrics", name)(sr, hr)
    return found


def by_scikit_image(name: str, sr: Tensor, hr: Tensor) -> float:
    """One image's score."""
    a, b = (codec.to_uint8(x).permute(1, 2, 0).numpy() for x in (sr, hr))
    axis: int | None = -1
    if name.endswith("-y"):
        a, b, axis = rgb2ycbcr(a)[..., 0], rgb2ycbcr(b)[..., 0], None
    if name.startswith("psnr"):
        if np.array_equal(a, b):  # where scikit-image divides by zero
            return math.inf
        return float(peak_signal_noise_ratio(b, a, data_range=255))
    window: dict[str, Any] = {"gaussian_weights": True, "sigma": 1.5, "data_range": 255}
    return float(
        structural_similarity(b, a, use_sample_covariance=False, channel_axis=axis, **window)
    )


@dataclass(frozen=True)
class Case:
    """How to make a batch of sr and hr."""

    kind: str
    height: int
    width: int
    count: int
    seed: int
    noise: float
    grey: bool

    def images(self) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(self.seed)
        shape = (self.count, 3, self.height, self.width)
        if self.kind == "random":
            hr = torch.rand(shape, generator=generator)
        elif self.kind == "constant":
            hr = torch.rand((self.count, 3, 1, 1), generator=generator).expand(shape).clone()
        else:
            tops = torch.randint(0, 300 - self.height, (self.count,), generator=generator).tolist()
            crops = [PHOTO[:, top : top + self.height, top : top + self.width] for top in tops]
            hr = torch.stack(crops)
        sr = hr + self.noise * torch.randn(shape, generator=generator)
        if self.grey:
            hr, sr = (x[:, :1].expand(-1, 3, -1, -1).contiguous() for x in (hr, sr))
        return sr, hr


sides = st.integers(11, 75)
cases = st.builds(
    Case,
    kind=st.sampled_from(["random", "photo", "constant"]),
    height=sides,
    width=sides,
    count=st.integers(1, 4),
    seed=st.integers(0, 10_000),
    noise=st.sampled_from([0.0, 0.002, 0.03, 0.4]),
    grey=st.booleans(),
)


@given(cases)
@settings(max_examples=30)
@example(Case("random", 11, 11, 2, 0, 0.03, False))
@example(Case("constant", 11, 12, 1, 1, 0.0, True))
@example(Case("photo", 200, 130, 1, 2, 0.03, False))
def test_psnr_and_ssim_are_scikit_images(case: Case) -> None:
    sr, hr = case.images()
    for name in FIDELITY:
        expected = [by_scikit_image(name, a, b) for a, b in zip(sr, hr, strict=True)]
        assert score(name, sr, hr).tolist() == pytest.approx(expected, abs=1e-6), name


# One result, a block but one, a block, one more, two blocks and one more.
EDGES = [len(GAUSSIAN) - 1 + n for n in (1, BLOCK - 1, BLOCK, BLOCK + 1)]
EDGES.append(len(GAUSSIAN) + 2 * BLOCK)


@pytest.mark.parametrize("height", EDGES)
@pytest.mark.parametrize("width", EDGES)
def test_ssim_is_whole_where_blocks_meet(height: int, width: int) -> None:
    sr, hr = Case("random", height, width, 1, 3, 0.1, False).images()
    expected = by_scikit_image("ssim", sr[0], hr[0])
    assert score("ssim", sr, hr).item() == pytest.approx(expected, abs=1e-12)


def test_a_batch_too_large_for_the_cache_is_scored_whole() -> None:
    sr, hr = Case("photo", 40, 40, 50, 4, 0.03, False).images()
    assert sr.numel() > 2 * AT_A_TIME["cpu"]
    for name in FIDELITY:
        expected = [by_scikit_image(name, a, b) for a, b in zip(sr, hr, strict=True)]
        assert score(name, sr, hr).tolist() == pytest.approx(expected, abs=1e-9)


@given(cases)
@settings(max_examples=12)
def test_identical_images_are_perfect(case: Case) -> None:
    _, hr = case.images()
    for name in ALL:
        assert score(name, hr.clone(), hr).tolist() == pytest.approx([BEST[name]] * len(hr)), name


@given(cases)
@settings(max_examples=12)
def test_scores_are_symmetric(case: Case) -> None:
    sr, hr = case.images()
    for name in ALL:
        there, back = score(name, sr, hr).tolist(), score(name, hr, sr).tolist()
        assert there == pytest.approx(back, abs=EXACT), name


@given(cases)
@settings(max_examples=12)
def test_neither_the_rest_of_a_batch_nor_its_order_matters(case: Case) -> None:
    sr, hr = case.images()
    for name in ALL:
        together = score(name, sr, hr)
        alone = torch.cat([score(name, a[None], b[None]) for a, b in zip(sr, hr, strict=True)])
        assert together.tolist() == pytest.approx(alone.tolist(), abs=EXACT), name
        assert score(name, sr.flip(0), hr.flip(0)).flip(0).tolist() == pytest.approx(
            together.tolist(), abs=EXACT
        ), name


@given(cases)
@settings(max_examples=12)
def test_no_score_is_beyond_the_best(case: Case) -> None:
    sr, hr = case.images()
    for name in ALL:
        found = score(name, sr, hr)
        assert not found.isnan().any()
        better = found <= BEST[name] + EXACT if name != "lsd" else found >= 0
        assert better.all(), name


@given(seed=st.integers(0, 10_000), axis=st.sampled_from([-1, -2]), side=st.integers(20, 60))
@settings(max_examples=10)
def test_a_shift_of_one_pixel_costs_fidelity_and_no_spectrum(
    seed: int, axis: int, side: int
) -> None:
    # A wall behind the cat is nearly even; this little noise makes no difference elsewhere.
    hr, _ = Case("photo", side, side + 1, 2, seed, 0.01, False).images()
    shifted = hr.roll(1, dims=axis)
    assert (score("psnr", shifted, hr) < 45).all()
    assert (score("psnr-y", shifted, hr) < 45).all()
    for name in ("ssim", "ssim-y"):
        assert (score(name, shifted, hr) < 0.999).all()
    assert score("lsd", shifted, hr).tolist() == pytest.approx([0, 0], abs=1e-6)


@given(seed=st.integers(0, 10_000), side=st.integers(16, 50), grey=st.booleans())
@settings(max_examples=8)
def test_more_noise_is_worse(seed: int, side: int, grey: bool) -> None:
    noisy, hr = Case("photo", side, side, 2, seed, 1.0, grey).images()
    noise, hr = noisy - hr, hr / 2 + 0.25  # far from where noise would be clamped
    for name in ALL:
        scores = [score(name, hr + sigma * noise, hr) for sigma in (0.005, 0.01, 0.02, 0.04, 0.06)]
        steps = torch.stack(scores).diff(dim=0)
        assert (steps > 0 if name == "lsd" else steps < 0).all(), name


@given(cases)
@settings(max_examples=8)
def test_of_grey_images_luma_is_one_channel_in_another_range(case: Case) -> None:
    sr, hr = Case(**{**vars(case), "grey": True, "noise": 0.03}).images()
    expected = score("psnr", sr, hr) + 20 * math.log10(255 / 219)
    assert score("psnr-y", sr, hr).tolist() == pytest.approx(expected.tolist(), abs=EXACT)
    for a, b, found in zip(sr, hr, score("ssim", sr, hr).tolist(), strict=True):
        one: list[NDArray[np.uint8]] = [codec.to_uint8(x[0]).numpy() for x in (a, b)]
        window: dict[str, Any] = {"gaussian_weights": True, "sigma": 1.5, "data_range": 255}
        expected_one = structural_similarity(*one, use_sample_covariance=False, **window)
        assert found == pytest.approx(expected_one, abs=1e-9)


@pytest.mark.parametrize("name", ALL)
def test_scores_are_float64_without_a_gradient_and_leave_images_alone(name: str) -> None:
    sr, hr = Case("photo", 20, 20, 2, 0, 0.03, False).images()
    before = sr.clone(), hr.clone()
    found = score(name, sr.requires_grad_(), hr)
    assert found.dtype == torch.float64
    assert not found.requires_grad
    assert torch.equal(sr, before[0])
    assert torch.equal(hr, before[1])


@pytest.mark.cuda
@pytest.mark.parametrize("name", ALL)
def test_a_gpu_scores_as_the_cpu_does(name: str) -> None:
    sr, hr = Case("photo", 70, 90, 5, 0, 0.05, False).images()
    found = score(name, sr.cuda(), hr.cuda())
    assert found.is_cuda
    assert found.tolist() == pytest.approx(score(name, sr, hr).tolist(), abs=EXACT)


# --- what a metric may ask for ------------------------------------------------------------------


class Consistency:
    """A good metric that asks for lr and redegraded."""

    unit: Any = ""
    higher_is_better = False
    title: Any = "Consistency"

    def __call__(self, lr: Tensor, redegraded: Tensor) -> Tensor:
        return (lr - redegraded).abs().mean(dim=(1, 2, 3))


class Untitled(Consistency):
    title = None


class AsksForLq(Consistency):
    def __call__(self, lq: Tensor, redegraded: Tensor) -> Tensor:
        return (lq - redegraded).abs().mean(dim=(1, 2, 3))


class AsksForNothing(Consistency):
    def __call__(self) -> Tensor:  # type: ignore[override]
        return torch.zeros(3)


class TiedByRedegraded(Consistency):
    def __call__(self, lr: Tensor, redegraded: Tensor) -> Tensor:
        return super().__call__(lr, redegraded) * (1 + redegraded.mean())


class WrongWay(Consistency):
    higher_is_better = True


class OfModule(torch.nn.Module):
    """A metric with a network: what it asks for is its ``forward``'s."""

    unit, higher_is_better = "", False

    def forward(self, sr: Tensor, lr: Tensor) -> Tensor:
        return (torch.nn.functional.avg_pool2d(sr, 4) - lr).abs().mean(dim=(1, 2, 3))


def test_a_metric_may_ask_for_lr_and_redegraded() -> None:
    testing.check_metric(Consistency())


@pytest.mark.parametrize(
    ("metric", "promise"),
    [
        (Untitled(), "title is text"),
        (AsksForLq(), "it asks for lq, redegraded"),
        (AsksForNothing(), "asks for nothing"),
        (TiedByRedegraded(), "depends on the rest of the batch"),
        (WrongWay(), "equal images don't score best"),
        (OfModule(), "equal images don't score best"),  # that lr isn't this hr's
    ],
)
def test_a_metric_of_lr_that_breaks_a_promise(metric: Any, promise: str) -> None:
    with pytest.raises(AssertionError, match=promise):
        testing.check_metric(metric)
