"""VIF and ST-LPIPS: values against independent programs, and what they refuse."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from scipy.signal import convolve2d
from srkit_perceptual import shift_tolerant
from srkit_perceptual.shift_tolerant import Network, StLpips
from srkit_perceptual.vif import Vif
from torch import Tensor
from torch.nn.functional import interpolate

from srkit import InputError


def pair(side: int) -> tuple[Tensor, Tensor]:
    """A part of a photograph, and bicubic interpolation of a quarter of it."""
    pixels = skimage.data.astronaut()[:side, 150 : 150 + side].copy()
    hr = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    lr = interpolate(hr, scale_factor=0.25, mode="bicubic", antialias=True).clamp(0, 1)
    sr = interpolate(lr, scale_factor=4, mode="bicubic").clamp(0, 1)
    return (sr * 255).round() / 255, hr


# --- VIF ------------------------------------------------------------------------------------------


def vif_in_numpy(sr: Tensor, hr: Tensor) -> float:
    """VIFP as its authors' release defines it: equation 13 of Sheikh and Bovik (2006) of pixels."""
    grey = np.array([0.299, 0.587, 0.114])
    distorted, original = (x[0].permute(1, 2, 0).double().numpy() * 255 @ grey for x in (sr, hr))
    kept = there = 0.0
    for scale in range(1, 5):
        size = 2 ** (5 - scale) + 1
        offsets = np.arange(size) - size // 2
        window = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * (size / 5) ** 2))
        window /= window.sum()
        if scale > 1:
            original, distorted = (
                convolve2d(x, window, "valid")[::2, ::2] for x in (original, distorted)
            )
        means = [convolve2d(x, window, "valid") for x in (original, distorted)]
        products = ((original, original), (distorted, distorted), (original, distorted))
        both, second, across = (convolve2d(a * b, window, "valid") for a, b in products)
        variance, other = both - means[0] ** 2, second - means[1] ** 2
        covariance = across - means[0] * means[1]
        gain = np.clip(covariance / (variance + 1e-10), 0, None)
        noise = np.clip(np.where(covariance > 0, other - gain * covariance, other), 1e-10, None)
        kept += np.log10(1 + gain**2 * variance / (noise + 2)).sum()
        there += np.log10(1 + variance / 2).sum()
    return float(kept / there)


@pytest.mark.parametrize("side", [64, 100, 200])
def test_vif_is_that_of_its_definition(side: int) -> None:
    sr, hr = pair(side)
    assert Vif()(sr, hr).item() == pytest.approx(vif_in_numpy(sr, hr), abs=1e-4)
    assert 0.2 < Vif()(sr, hr).item() < 0.6


def test_vif_of_more_and_of_less_contrast() -> None:
    _, hr = pair(128)
    assert Vif()(hr, hr).item() == pytest.approx(1, abs=1e-9)
    grey = hr.mean(dim=(1, 2, 3), keepdim=True)
    more, less = (
        Vif()((grey + times * (hr - grey)).clamp(0, 1), hr).item() for times in (1.1, 0.9)
    )
    assert less < 1 < more


def test_vif_refuses_what_it_is_not_defined_for() -> None:
    with pytest.raises(ValueError, match="41x41"):
        Vif()(*(x[..., :40, :40] for x in pair(64)))
    assert Vif()(pair(64)[0], torch.full((1, 3, 64, 64), 0.5)).isnan().all()
    with pytest.raises(ValueError, match="differ in shape"):
        Vif()(torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 65))


# --- ST-LPIPS -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def st_lpips() -> StLpips:
    if not find_spec(shift_tolerant.PACKAGE):
        pytest.skip("needs weights: pip install --no-deps stlpips-pytorch")
    return StLpips()


@pytest.mark.parametrize(("side", "published"), [(128, 0.43534428), (192, 0.35960492)])
def test_st_lpips_has_the_values_of_its_authors_program(
    side: int, published: float, st_lpips: StLpips
) -> None:
    # stlpips-pytorch 0.0.2: LPIPS(net="alex", variant="shift_tolerant")(sr, hr, normalize=True).
    assert st_lpips(*pair(side)).item() == pytest.approx(published, abs=1e-5)


def test_a_shift_hardly_moves_st_lpips(st_lpips: StLpips) -> None:
    sr, hr = pair(128)
    assert st_lpips(hr.roll(1, -1), hr) < st_lpips(sr, hr) / 20


def random_weights(folder: Path) -> Path:
    torch.manual_seed(0)
    state = {name: 0.1 * torch.rand_like(value) for name, value in Network().state_dict().items()}
    torch.save(state | {"scaling_layer.shift": torch.zeros(1)}, folder / "random.pth")
    return folder / "random.pth"


def test_other_weights_are_stamped_and_give_other_values(tmp_path: Path) -> None:
    file = random_weights(tmp_path)
    metric = StLpips(weights=str(file))
    assert metric.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert metric.name == "ST-LPIPS (AlexNet, random)"
    sr, hr = pair(64)
    assert metric(sr, hr) > 0
    assert metric(hr, hr) == 0


def test_missing_and_unfit_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"conv.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="don't fit its network"):
        StLpips(weights=str(tmp_path / "other.pth"))
    with pytest.raises(InputError, match=r"weights .*none\.pth of st-lpips: No such file"):
        StLpips(weights=str(tmp_path / "none.pth"))
    monkeypatch.setattr(shift_tolerant, "PACKAGE", "no_such_package")
    with pytest.raises(InputError, match="pip install --no-deps stlpips-pytorch"):
        StLpips()
