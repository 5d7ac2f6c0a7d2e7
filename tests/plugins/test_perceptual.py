"""LPIPS, DISTS, FID and KID end to end, on random weights of the real networks.

What is verified is the plumbing: where weights are looked for and what is said when they are not
there, ranges, batches and order, and the formulas. The values of pretrained weights are not.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import srkit_perceptual as perceptual
import torch
import torchmetrics
from srkit_perceptual import images, sets
from srkit_perceptual import weights as pretrained
from srkit_perceptual.images import Dists, Lpips
from srkit_perceptual.sets import Fid, Kid
from torch import Tensor, nn
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torchvision.models import alexnet, vgg16

from srkit import InputError, SetMetric, testing

INCEPTION = "weights-inception-2015-12-05-6726825d.pth"
NAMES = {Lpips: "alexnet-owt-7be5be79.pth", Dists: "vgg16-397923af.pth"} | dict.fromkeys(
    (Fid, Kid), INCEPTION
)


def random_features(build: Callable[..., Any]) -> dict[str, Tensor]:
    """The convolutions' weights of one of torchvision's networks, as its file names them."""
    with torch.device("meta"):
        network = build(weights=None).features
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, value in network.state_dict().items():
        scale = (2 / value[0].numel()) ** 0.5 if value.ndim > 1 else 0.01
        state[f"features.{name}"] = scale * torch.randn(value.shape, generator=generator)
    return state


def random_inception() -> dict[str, Tensor]:
    """InceptionV3 as torch-fidelity makes it before it loads anything."""

    class Made(Exception):  # noqa: N818 - the only way out before weights are asked for
        pass

    class Unloaded(FeatureExtractorInceptionV3):  # type: ignore[misc]
        def load_state_dict(self, state: Any) -> None:
            raise Made(self)

    torch.manual_seed(0)
    nothing = io.BytesIO()
    torch.save({}, nothing)
    nothing.seek(0)
    with pytest.raises(Made) as made:
        Unloaded("x", ["2048"], feature_extractor_weights_path=nothing)
    state: dict[str, Tensor] = made.value.args[0].state_dict()
    return state


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[type, Path]:
    """A file of random weights for each of the four."""
    folder = tmp_path_factory.mktemp("weights")
    made = {
        "alexnet.pth": random_features(alexnet),
        "vgg16.pth": random_features(vgg16),
        "inception.pth": random_inception(),
    }
    for name, state in made.items():
        torch.save(state, folder / name)
    found = {Lpips: folder / "alexnet.pth", Dists: folder / "vgg16.pth"}
    return found | dict.fromkeys((Fid, Kid), folder / "inception.pth")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder where torch.hub keeps weights, empty."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture(scope="module")
def lpips(files: dict[type, Path]) -> Lpips:
    return Lpips(weights=str(files[Lpips]))


@pytest.fixture(scope="module")
def dists(files: dict[type, Path]) -> Dists:
    return Dists(weights=str(files[Dists]))


def random_pair(count: int, side: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    hr = torch.rand(count, 3, side, side, generator=generator)
    return (hr + 0.2 * torch.randn(hr.shape, generator=generator)).clamp(0, 1), hr


# --- weights ------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", NAMES)
def test_missing_weights_are_named_and_never_downloaded(metric: Any, hub: Path) -> None:
    with pytest.raises(InputError) as error:
        metric()
    message = str(error.value)
    assert message.startswith(f"{metric.__name__.lower()} needs the weights {NAMES[metric]}")
    assert str(hub) in message
    assert f"download https://{message.partition('https://')[2]}" in message
    assert f"/{NAMES[metric]} into it" in message
    assert "\n" not in message
    assert not list(hub.iterdir())


@pytest.mark.parametrize("metric", NAMES)
def test_a_file_that_is_not_there_is_named(metric: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone.pth of \w+: no such file"):
        metric(weights=str(tmp_path / "gone.pth"))
    with pytest.raises(InputError, match="no such file"):
        metric(weights=str(tmp_path))


@pytest.mark.parametrize("metric", NAMES)
def test_weights_whose_sum_is_not_in_their_name_are_broken(metric: Any, hub: Path) -> None:
    (hub / NAMES[metric]).write_bytes(b"half a download")
    digits = hashlib.sha256(b"half a download").hexdigest()[:8]
    with pytest.raises(
        InputError, match=rf"are broken.* {digits}, not with \w+; download"
    ) as error:
        metric()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("metric", NAMES)
def test_weights_of_something_else_are_said_to_be(metric: Any, tmp_path: Path) -> None:
    file = tmp_path / "other.pth"
    torch.save({"features.0.weight": torch.zeros(2, 2)}, file)
    with pytest.raises(InputError, match="don't fit its network") as error:
        metric(weights=str(file))
    assert "\n" not in str(error.value)
    for content in ([torch.zeros(2)], {"epoch": 3}):
        torch.save(content, file)
        with pytest.raises(InputError, match="not a state_dict"):
            metric(weights=str(file))
    file.write_text("<html>404</html>")
    with pytest.raises(InputError, match="not a readable state_dict") as error:
        metric(weights=str(file))
    assert "\n" not in str(error.value)


def test_no_pickle_is_executed(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "executed",)

    torch.save({"x": Trap()}, tmp_path / "trap.pth")
    for metric in NAMES:
        with pytest.raises(InputError, match="not a readable state_dict"):
            metric(weights=str(tmp_path / "trap.pth"))
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("metric", "module", "url"),
    [
        (Lpips, images, "ALEXNET"),
        (Dists, images, "VGG16"),
        (Fid, sets, "URL_INCEPTION_V3"),
        (Kid, sets, "URL_INCEPTION_V3"),
    ],
)
def test_weights_are_found_where_torch_hub_keeps_them(
    metric: Any,
    module: Any,
    url: str,
    files: dict[type, Path],
    hub: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sha256 = hashlib.sha256(files[metric].read_bytes()).hexdigest()
    monkeypatch.setattr(module, url, f"https://example.org/a/network-{sha256[:8]}.pth")
    (hub / f"network-{sha256[:8]}.pth").symlink_to(files[metric])
    made = metric()
    assert made.sha256 == sha256
    assert f"network-{sha256[:8]}" in made.name


def test_a_sum_is_computed_anew_when_the_file_has_changed(tmp_path: Path) -> None:
    file = tmp_path / "x.pth"
    sums = set()
    for value in (1.0, 2.0):
        torch.save({"x": torch.tensor(value)}, file)
        sums.add(pretrained.find("it", "https://example.org/x.pth", str(file)).sha256)
    assert len(sums) == 2


def test_the_hooks_name_what_there_is() -> None:
    assert list(perceptual.srkit_metrics()) == ["lpips", "dists", "st-lpips", "vif"]
    assert list(perceptual.srkit_set_metrics()) == ["fid", "kid"]


# --- single images ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lpips", "dists"])
def test_they_keep_a_metrics_promises(name: str, request: pytest.FixtureRequest) -> None:
    metric = request.getfixturevalue(name)
    testing.check_metric(metric, side=64)
    assert metric.title == name.upper()
    assert not metric.train().training
    assert not any(weight.requires_grad for weight in metric.parameters())


def test_lpips_is_its_definition_on_the_given_backbone(
    lpips: Lpips, files: dict[type, Path]
) -> None:
    """Zhang et al. (2018), section 3: normalised features, weighted by channel, averaged."""
    with torch.device("meta"):
        network = alexnet(weights=None).features
    state = torch.load(files[Lpips])
    network.load_state_dict({k.removeprefix("features."): v for k, v in state.items()}, assign=True)
    linear = Path(torchmetrics.__file__).parent / "functional/image/lpips_models/alex.pth"
    channels = [
        weight for weight in torch.load(linear, map_location="cpu").values() if weight.ndim == 4
    ]
    assert len(channels) == 5
    mean, std = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    sr, hr = ((x * 255).round() / 255 for x in random_pair(3, 64))
    a, b = ((2 * x - 1 - mean[:, None, None]) / std[:, None, None] for x in (sr, hr))
    expected = torch.zeros(3)
    layer = 0
    with torch.no_grad():
        for module in network:
            a, b = module(a.clone()), module(b.clone())
            if isinstance(module, nn.ReLU):
                x, y = (z / (z.square().sum(1, keepdim=True) + 1e-8).sqrt() for z in (a, b))
                weighted = nn.functional.conv2d((x - y).square(), channels[layer])
                expected += weighted.mean(dim=(1, 2, 3))
                layer += 1
    assert layer == 5
    assert lpips(sr, hr).tolist() == pytest.approx(expected.tolist(), rel=1e-4)


def test_dists_compares_images_and_the_features_of_the_given_backbone(
    dists: Dists, files: dict[type, Path]
) -> None:
    weights = dict(dists.network.named_parameters())
    state = torch.load(files[Dists])
    for name, value in state.items():
        stages = [w for key, w in weights.items() if key.endswith(f".{name.split('.', 1)[1]}")]
        assert len(stages) == 1
        assert torch.equal(stages[0], value)
    assert len(weights) == len(state) + 2  # alpha and beta
    _, hr = random_pair(2, 64)
    by_strength = [dists(hr * strength, hr).mean().item() for strength in (0.5, 0.8, 1.0)]
    assert by_strength == sorted(by_strength, reverse=True)
    assert by_strength[-1] == pytest.approx(0, abs=1e-6)
    assert by_strength[0] > 0.01


@pytest.mark.parametrize("name", ["lpips", "dists"])
def test_values_are_clamped_and_rounded_and_order_is_kept(
    name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    metric = request.getfixturevalue(name)
    sr, hr = random_pair(3, 40)
    whole = metric(sr, hr)
    assert len(set(whole.tolist())) == 3
    eight = (hr * 255).round() / 255
    assert metric(eight + 0.4 / 255, eight).tolist() == pytest.approx([0] * 3, abs=1e-6)
    assert torch.equal(metric(sr * 3 - 1, hr), metric((sr * 3 - 1).clamp(0, 1), hr))
    monkeypatch.setattr(images, "AT_A_TIME", 40 * 40 * 2)
    parts = metric(sr.flip(0), hr.flip(0)).flip(0)
    assert parts.tolist() == pytest.approx(whole.tolist(), abs=1e-6)


def test_sizes_that_do_not_fit_are_refused(lpips: Lpips, dists: Dists) -> None:
    assert lpips(*random_pair(1, 31)).shape == (1,)
    assert dists(*random_pair(1, 8)).shape == (1,)
    with pytest.raises(ValueError, match="31 or more"):
        lpips(*random_pair(1, 30))
    for metric in (lpips, dists):
        with pytest.raises(ValueError, match="differ in shape"):
            metric(torch.rand(1, 3, 40, 40), torch.rand(1, 3, 40, 41))


# --- sets ---------------------------------------------------------------------------------------


def frechet_by_torch_fidelity(a: Tensor, b: Tensor) -> float:
    statistics = [fid_features_to_statistics(x.double()) for x in (a, b)]
    found = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    return float(found)


@pytest.mark.parametrize("count", [2, 5, 16, 17, 300])
def test_the_frechet_distance_is_torch_fidelitys(count: int) -> None:
    generator = torch.Generator().manual_seed(count)
    a = torch.randn(count, 16, generator=generator).relu()
    b = 0.3 + torch.randn(count, 16, generator=generator).relu() * torch.linspace(0.1, 2, 16)
    expected = frechet_by_torch_fidelity(a, b)
    # Theirs takes roots of a singular matrix's eigenvalues where there are few images.
    assert sets.frechet(a, b) == pytest.approx(expected, abs=1e-5, rel=1e-6)
    assert sets.frechet(a, a) == pytest.approx(0, abs=1e-9)
    assert sets.frechet(a, b) == pytest.approx(sets.frechet(b, a))


def test_the_frechet_distance_of_gaussians_along_an_axis() -> None:
    """Means 3 apart, deviations 1 and 2: 3^2 + (2 - 1)^2."""
    line = torch.linspace(-1, 1, 100, dtype=torch.float64)
    line = (line / line.std())[:, None]
    assert sets.frechet(line, 2 * line + 3) == pytest.approx(10)


def discrepancy(a: np.ndarray, b: np.ndarray) -> float:
    """The unbiased estimate of MMD squared under KID's kernel, pair by pair."""

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return float((x @ y / len(x) + 1) ** 3)

    n = len(a)
    within = sum(kernel(x[i], x[j]) for x in (a, b) for i in range(n) for j in range(n) if i != j)
    across = sum(kernel(x, y) for x in a for y in b)
    return within / (n * (n - 1)) - 2 * across / n**2


@pytest.mark.long
def test_fid_and_kid_end_to_end_whatever_the_order_and_the_batches(files: dict[type, Path]) -> None:
    sr, hr = random_pair(2, 64)
    sr[1] = sr[1] * 1.4 - 0.2  # leaves [0, 1]
    fid, kid = Fid(weights=str(files[Fid])), Kid(weights=str(files[Kid]))
    for metric in (fid, kid):
        assert isinstance(metric, SetMetric)
        assert not metric.higher_is_better
        assert metric.unit == ""
    fid.update(sr[:1], hr[:1])
    fid.update(sr[1:], hr[1:])
    kid.update(sr.flip(0), hr.flip(0))

    eight = [(x.clamp(0, 1) * 255).round().to(torch.uint8) for x in (sr, hr)]
    with torch.no_grad():
        a, b = (fid.network(x)[0] for x in eight)
    assert a.shape == (2, 2048)
    distance = fid.compute()
    assert distance > 0
    assert distance == pytest.approx(sets.frechet(a, b), rel=1e-4)
    expected = discrepancy(a.double().numpy(), b.double().numpy())
    assert kid.compute() == pytest.approx(expected, rel=1e-4, abs=1e-9)
    # The other order's features, which no arithmetic but the network's own rounding changes.
    other = Fid.__new__(Fid)
    other._pairs = kid._pairs
    assert other.compute() == pytest.approx(distance, rel=1e-4)


class Colours(nn.Module):
    """A network of three features, of 8-bit images as InceptionV3 takes them."""

    def forward(self, images: Tensor) -> tuple[Tensor]:
        assert images.dtype == torch.uint8
        return (images.float().flatten(2).mean(dim=2) / 255,)


@pytest.fixture
def of_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    found = pretrained.Weights("fid", Path("colours.pth"), "0" * 64, {})
    monkeypatch.setattr(sets, "inception", lambda metric, weights: (Colours(), found))


def kid_of(sr: Tensor, hr: Tensor, batch: int = 7, **options: Any) -> float:
    metric = Kid(**options)
    for a, b in zip(sr.split(batch), hr.split(batch), strict=True):
        metric.update(a, b)
    return metric.compute()


@pytest.mark.parametrize("metric", [Fid, Kid])
@pytest.mark.usefixtures("of_colours")
def test_fid_and_kid_keep_the_promises_of_their_kind(metric: type[Fid | Kid]) -> None:
    testing.check_set_metric(metric())


@pytest.mark.usefixtures("of_colours")
def test_kid_draws_the_same_images_in_any_order() -> None:
    sr, hr = random_pair(40, 6)
    options = {"subset_size": 10, "subsets": 5}
    found = kid_of(sr, hr, **options)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    assert kid_of(sr[order], hr[order], batch=40, **options) == pytest.approx(found, rel=1e-6)
    assert kid_of(sr, hr, seed=1, **options) != pytest.approx(found, rel=1e-3)
    # Of all images there is but one draw.
    assert kid_of(sr, hr) == pytest.approx(kid_of(sr, hr, seed=1), rel=1e-9)
    assert kid_of(sr, hr) != pytest.approx(found, rel=1e-3)


@pytest.mark.usefixtures("of_colours")
def test_kid_draws_the_same_images_for_all_models() -> None:
    """With hr in place of each sr but one's, draws without that one differ in nothing."""
    _, hr = random_pair(30, 6)
    features = []
    for sr in (hr, hr.roll(1, dims=-1), (hr + 0.1).clamp(0, 1)):
        metric = Kid()
        metric.update(sr, hr)
        features.append(metric._sets()[1])
    assert torch.equal(features[0], features[1])
    assert torch.equal(features[0], features[2])


@pytest.mark.usefixtures("of_colours")
def test_sets_are_rounded_to_8_bits() -> None:
    eight = (random_pair(2, 6)[1] * 255).round() / 255
    for nudge in (0.4, -0.4):
        metric = Kid()
        metric.update(eight + nudge / 255, eight)
        assert torch.equal(*metric._sets())


@pytest.mark.usefixtures("of_colours")
def test_kid_is_unbiased_and_fid_is_not() -> None:
    """Two sets of one kind: KID's mean is nought, FID's is not, and falls as sets grow."""
    kid, few, many = [], [], []
    for seed in range(60):
        images = random_pair(80, 2, seed)[1]
        kid.append(kid_of(images[:10], images[10:20]))
        few.append(sets.frechet(*(x.flatten(2).mean(2) for x in images[:20].split(10))))
        many.append(sets.frechet(*(x.flatten(2).mean(2) for x in images.split(40))))
    error = np.std(kid) / len(kid) ** 0.5
    assert abs(np.mean(kid)) < 3 * error
    assert min(kid) < 0 < min(few)
    assert np.mean(few) > 3 * np.mean(many)


@pytest.mark.usefixtures("of_colours")
@pytest.mark.parametrize("metric", [Fid, Kid])
def test_a_set_is_of_two_images_or_more(metric: Any) -> None:
    made = metric()
    for _ in range(2):
        with pytest.raises(InputError, match=r"\wid compares sets: it needs 2 images"):
            made.compute()
        if not made._pairs:
            made.update(*random_pair(1, 6))
    with pytest.raises(ValueError, match="differ in shape"):
        made.update(torch.rand(1, 3, 6, 6), torch.rand(1, 3, 6, 7))
    made.update(*random_pair(1, 6, seed=1))
    assert np.isfinite(made.compute())


@pytest.mark.usefixtures("of_colours")
def test_kids_options_are_checked() -> None:
    with pytest.raises(ValueError, match="subset_size must be 2 or more"):
        Kid(subset_size=1)
    with pytest.raises(ValueError, match="subsets 1 or more"):
        Kid(subsets=0)
