"""Sparse coding and anchored regression against scikit-learn's and plain numpy's ways."""

from __future__ import annotations

import itertools
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.decomposition import sparse_encode
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge
from srkit_dictionaries import fit
from srkit_dictionaries.generators import APlus, Patches, SparseCoding, luma

import srkit
from srkit import bicubic, registry, testing

Cli = Callable[..., tuple[int, str, str]]


def _images(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Discs on grey, and the same reduced by 2."""
    drawn = np.random.default_rng(seed)
    y, x = np.mgrid[:24, :24]
    discs = []
    for _ in range(count):
        top, left, radius = drawn.uniform(6, 18), drawn.uniform(6, 18), drawn.uniform(3, 8)
        inside = np.clip(radius - np.hypot(y - top, x - left), 0, 1)
        discs.append(drawn.uniform(0.2, 0.8) * (1 - inside) + drawn.uniform(0.2, 0.8) * inside)
    hr = torch.from_numpy(np.stack(discs)).float()[:, None].expand(-1, 3, -1, -1).contiguous()
    lr = torch.nn.functional.interpolate(hr, scale_factor=0.5, mode="bicubic", antialias=True)
    return lr, hr


def _fitted(name: str, atoms: int) -> Patches:
    network = registry.build("generators", name, scale=2, components=8, atoms=atoms)
    assert isinstance(network, Patches)
    lr, hr = _images(60)
    with torch.inference_mode():
        fit.fit(network, lambda: iter([(lr, hr)]), 60, 6000, 0, lambda what: None)
    return network.eval()


@pytest.mark.parametrize("name", ["sparse-coding", "a-plus"])
def test_what_is_fitted_is_better_than_interpolation_on_other_images_in_tiles_too(
    name: str,
) -> None:
    network = _fitted(name, 32)
    lr, hr = _images(20, seed=1)
    with torch.no_grad():
        after = (network(lr) - hr).square().mean()
    before = (bicubic(lr, 2) - hr).square().mean()
    assert after < 0.8 * before
    found = testing.receptive_radius(network, scale=2, least=0)
    assert found <= network.receptive_radius


def test_one_convolution_gives_the_principal_derivatives() -> None:
    network = SparseCoding(scale=4, atoms=8, components=12)
    lr = torch.rand(10, 3, 9, 8)
    kernels = fit._components(network, lambda: iter([(lr, lr)]), np.random.default_rng(0))
    network.feature_kernels.copy_(kernels)
    images = luma(bicubic(lr, 4))
    found = network.features(images).permute(0, 2, 3, 1).reshape(-1, 12).double().numpy()
    # By hand: of each image its derivatives, in the 12x12 pixels around each LR pixel.
    wide = np.pad(images[:, 0].double().numpy(), ((0, 0), (8, 8), (8, 8)), mode="edge")
    vectors = []
    for image, top, left in itertools.product(wide, range(9), range(8)):
        y, x = np.mgrid[4 * top + 4 : 4 * top + 16, 4 * left + 4 : 4 * left + 16]
        first = image[y, x + 2] - image[y, x - 2], image[y + 2, x] - image[y - 2, x]
        second = image[y, x + 4] + image[y, x - 4], image[y + 4, x] + image[y - 4, x]
        vectors.append(np.concatenate([*first, *(each / 2 - image[y, x] for each in second)]))
    data = np.reshape(vectors, (len(vectors), -1))
    largest = np.linalg.eigvalsh(data.T @ data)[::-1][:12]
    assert np.allclose(found.T @ found, np.diag(largest), atol=1e-4 * largest[0])


def test_codes_are_scikit_learns() -> None:
    network = SparseCoding(scale=2, atoms=40, components=10, sparsity=0.1, iterations=500)
    atoms = torch.nn.functional.normalize(torch.randn(40, 10), dim=1)
    network.lr_atoms.copy_(atoms)
    network.step.fill_(1 / float(torch.linalg.matrix_norm(atoms, 2)) ** 2)
    features = torch.nn.functional.normalize(torch.randn(25, 10), dim=1)
    found = network.codes(features).numpy()
    with warnings.catch_warnings():  # its tolerance is finer than float32 is
        warnings.simplefilter("ignore", ConvergenceWarning)
        expected = sparse_encode(
            features.numpy(), atoms.numpy(), algorithm="lasso_cd", alpha=0.1, max_iter=10_000
        )

    def cost(codes: np.ndarray) -> np.ndarray:
        error = codes @ atoms.numpy() - features.numpy()
        return 0.5 * (error**2).sum(axis=1) + 0.1 * np.abs(codes).sum(axis=1)

    assert np.allclose(cost(found), cost(expected), atol=1e-5)
    assert (found == 0).mean() > 0.5


def test_an_anchors_regression_is_scikit_learns_ridge() -> None:
    network = APlus(scale=2, atoms=4, components=6)
    features = torch.nn.functional.normalize(torch.randn(400, 6), dim=1)
    patches = torch.randn(400, 36)
    fit._regressions(network, features, patches, seed=0)
    assert torch.allclose(network.anchors.norm(dim=1), torch.ones(4), atol=1e-5)
    for anchor, projection in zip(network.anchors, network.projections, strict=True):
        near = np.argsort(-np.abs((features @ anchor).numpy()))[: 400 // 20]
        ridge = Ridge(alpha=fit.RIDGE, fit_intercept=False)
        ridge.fit(features[near].numpy(), patches[near].numpy())
        assert np.allclose(projection.numpy(), ridge.coef_.T, atol=1e-4)
        # The anchor itself is mapped by its own regression.
        assert torch.allclose(network.regress(anchor[None])[0], anchor @ projection, atol=1e-5)


def test_the_command_makes_a_model_like_any_other(cli: Cli, tmp_path: Path) -> None:
    small = ("--samples", "1500", "--set", "generator.atoms=32", "--set", "generator.components=8")
    small += ("--set", "data.size=32")
    out = tmp_path / "fitted"
    status, text, said = cli("fit", "a-plus", "--data", "samples", "--out", out, *small)
    assert status == 0, said
    assert "over bicubic" in text
    model = srkit.load(out)
    assert model.recipe.generator.name == "a-plus"
    assert model.trained_on  # so that a bench marks photos that it has seen
    sr = srkit.Upscaler(str(out))
    assert sr.scale == 4
    status, _, said = cli("fit", "a-plus", "--data", "samples", "--out", out, *small)
    assert status == 2
    assert "is there already" in said
    status, _, said = cli("fit", "a-plus", "--data", tmp_path / "none", "--out", tmp_path / "x")
    assert status == 2
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("generator.atoms=0", "atoms are 1 or more"),
        ("generator.components=600", "components are 1 to 576"),
        ("generator.name=srresnet", "the generator is 'a-plus', not 'srresnet'"),
        ("scale=2", "lr is 16x16, and scale 2 needs 32x32"),
    ],
)
def test_a_value_that_makes_no_sense_is_one_line(
    cli: Cli, tmp_path: Path, setting: str, message: str
) -> None:
    out = tmp_path / "out"
    status, _, said = cli("fit", "a-plus", "--data", "samples", "--out", out, "--set", setting)
    assert status == 2
    (line,) = said.splitlines()
    assert message in line
    assert not (out / "model.safetensors").exists()


@pytest.mark.parametrize("wrong", [{"iterations": 0}, {"sparsity": -0.1}, {"atoms": 0}])
def test_sparse_coding_has_iterations_and_a_sparsity(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="or more"):
        SparseCoding(**wrong)


@pytest.mark.parametrize("name", ["sparse-coding", "a-plus"])
def test_equal_seeds_give_equal_models(name: str) -> None:
    first, second = (_fitted(name, 8).state_dict() for _ in range(2))
    assert all(torch.equal(value, second[key]) for key, value in first.items())


def test_without_scikit_learn_it_is_said_at_once(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    status, _, said = cli("fit", "a-plus", "--data", "samples", "--out", tmp_path / "x")
    assert status == 2
    assert said == "srkit: sklearn is missing: pip install 'srkit[dictionaries]'\n"
    assert not (tmp_path / "x").exists()
