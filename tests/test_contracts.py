"""Every registered part keeps its kind's promises, and every broken promise is noticed."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import srkit
from srkit import DiscriminatorOutput, InputError, OptionError, files, registry, testing
from srkit.hookspecs import ReadyModel, kinds
from srkit.recipe import Recipe
from srkit.training.parts import build_parts, rehearse

CPU = torch.device("cpu")
LARGEST = 10_000_000  # bytes of weights that a wheel may carry
# Small values for options that decide how large a network is.
THREE = tuple[int, int, int]
SMALL: dict[str, dict[Any, Any]] = {
    "width": {int: 12, float: 0.1},
    "blocks": {int: 2, THREE: (1, 1, 1)},
    "widths": {THREE: (8, 8, 8)},
    "tail_width": {int: 8},
}


def offered(kind: str) -> list[str]:
    return list(registry.offers(kind))


def small(kind: str, name: str) -> dict[str, Any]:
    """Options that make a part small, where its signature has such."""
    return {
        option.name: SMALL[option.name][option.annotation]
        for option in registry.options(kind, name)
        if option.annotation in SMALL.get(option.name, {})
    }


@pytest.fixture
def with_weights(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give the parts on FaceNet their weights, where they are needed."""

    def provide(kind: str, name: str) -> None:
        if registry.offer(kind, name).plugin.entry_point == "facenet":
            root: Path = request.getfixturevalue("data_root")
            weights = root / "weights" / "facenet-casia-webface.pt"
            monkeypatch.setenv("SRKIT_FACENET_WEIGHTS", str(weights))

    return provide


# --- every registered name ----------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "name"), [(k, n) for k in kinds() for n in offered(k)])
def test_every_name_is_importable_and_described(kind: str, name: str) -> None:
    assert callable(registry.find(kind, name))
    assert len(registry.describe(kind, name)) > 10
    assert all(str(option).startswith(option.name) for option in registry.options(kind, name))


@pytest.mark.parametrize("scale", [2, 4, 8])
@pytest.mark.parametrize("name", offered("generators"))
def test_generators(name: str, scale: int) -> None:
    options = small("generators", name)
    try:
        generator = registry.build("generators", name, scale=scale, **options)
    except OptionError:
        if scale == 4:  # which all recipes and protocols here use
            raise
        with pytest.raises(OptionError, match=r"scale is .*\d"):
            registry.build("generators", name, scale=scale, **options)
        return
    testing.check_generator(generator, scale=scale)


def test_the_papers_other_upscaling() -> None:
    generator = registry.build("generators", "inception-residual", width=0.1, upscale="shuffle")
    testing.check_generator(generator, scale=4)
    reach = testing.receptive_radius(generator.eval(), scale=4, least=9)
    assert reach == generator.receptive_radius == 9


@pytest.mark.parametrize("name", [n for n in offered("generators") if small("generators", n)])
def test_generators_at_full_size(name: str) -> None:
    testing.check_generator(registry.build("generators", name, scale=4), scale=4, side=8)


@pytest.mark.parametrize("name", offered("discriminators"))
def test_discriminators(name: str) -> None:
    testing.check_discriminator(registry.build("discriminators", name))


@pytest.mark.parametrize("name", offered("losses"))
def test_losses(name: str, with_weights: Any) -> None:
    with_weights("losses", name)
    testing.check_loss(registry.build("losses", name))


@pytest.mark.parametrize(
    "options",
    [{}, {"noise": [0.0, 0.1]}, {"blur": [0.0, 2.0], "noise": 0.0}, {"quantise": False}],
    ids=str,
)
@pytest.mark.parametrize("name", offered("degradations"))
def test_degradations(name: str, options: dict[str, Any]) -> None:
    known = {option.name for option in registry.options("degradations", name)}
    if not options.keys() <= known:
        assert options
        return
    stated = re.search(r"-x(\d+)$", name)
    degradation = registry.build("degradations", name, **options)
    testing.check_degradation(degradation, scale=int(stated[1]) if stated else 4)


@pytest.mark.parametrize("name", offered("metrics"))
def test_metrics(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    if registry.offer("metrics", name).plugin.entry_point == "perceptual":
        # On random weights: tests/plugins/test_perceptual.py.
        with pytest.raises(InputError, match="needs the weights"):
            registry.build("metrics", name)
        return
    testing.check_metric(registry.build("metrics", name))


@pytest.mark.parametrize("name", offered("set_metrics"))
def test_set_metrics(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    if registry.offer("set_metrics", name).plugin.entry_point == "perceptual":
        # On random weights: tests/plugins/test_perceptual.py.
        with pytest.raises(InputError, match="needs the weights"):
            registry.build("set_metrics", name)
        return
    testing.check_set_metric(registry.build("set_metrics", name))


@pytest.mark.parametrize("name", offered("embedders"))
def test_embedders(name: str, with_weights: Any) -> None:
    with_weights("embedders", name)
    testing.check_embedder(registry.build("embedders", name))


@pytest.mark.parametrize("name", offered("recipes"))
def test_recipes_build_their_parts_and_rehearse(name: str) -> None:
    recipe = registry.build("recipes", name)
    assert isinstance(recipe, Recipe)
    assert recipe.name == name, "runs/NAME would not be found by the recipe's name"
    assert Recipe.from_toml(recipe.to_toml()) == recipe
    changes = {f"generator.{k}": v for k, v in small("generators", recipe.generator.name).items()}
    if recipe.discriminator:
        its = small("discriminators", recipe.discriminator.name)
        changes |= {f"discriminator.{key}": value for key, value in its.items()}
    recipe = recipe.changed(changes)
    parts = build_parts(recipe, CPU)
    assert parts.terms.keys() == recipe.losses.keys()
    assert (parts.discriminator is None) == (recipe.adversarial is None)
    before = {key: value.clone() for key, value in parts.generator.state_dict().items()}
    rehearse(recipe, parts, CPU)
    after = parts.generator.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())


@pytest.mark.parametrize("name", offered("models"))
def test_models_are_whole_and_load(name: str) -> None:
    ready = registry.build("models", name)
    assert isinstance(ready, ReadyModel)
    assert ready.description
    assert ready.licence
    if ready.file is None:
        assert ready.generator in registry.offers("generators")
    else:
        assert ready.file.is_file()
        assert ready.sha256 == files.sha256(ready.file)
        assert ready.file.stat().st_size < LARGEST
        assert ready.card is not None
        assert len(ready.card.read_text(encoding="utf-8")) > 200
        licences = list(ready.file.parent.glob("LICENSE*"))
        assert any(len(file.read_text(encoding="utf-8")) > 100 for file in licences)
    model = srkit.load(name, device="cpu")
    assert not model.generator.training
    assert model.licence == ready.licence
    assert model.sha256 == ready.sha256
    sr = model.upscale(Image.new("RGB", (5, 7), (200, 100, 50)))
    assert sr.size == (5 * model.scale, 7 * model.scale)


# --- every promise of a generator ---------------------------------------------------------------


class Enlarger(nn.Module):
    """A good generator of one weight, to be broken in one place each."""

    receptive_radius: Any = 0

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, lr: Tensor) -> Tensor:
        return self.upscaled(lr) * self.gain

    def upscaled(self, lr: Tensor) -> Tensor:
        return lr.repeat_interleave(4, -1).repeat_interleave(4, -2)


class NoRadius(nn.Module):
    def forward(self, lr: Tensor) -> Tensor:
        return lr.repeat_interleave(4, -1).repeat_interleave(4, -2)


class WrongShape(Enlarger):
    def forward(self, lr: Tensor) -> Tensor:
        return lr.repeat_interleave(2, -1).repeat_interleave(2, -2)


class MultiplesOfFour(Enlarger):
    def forward(self, lr: Tensor) -> Tensor:
        return super().forward(lr[..., : lr.shape[-2] // 4 * 4, :])


class NotATensor(Enlarger):
    def forward(self, lr: Tensor) -> Any:
        return [super().forward(lr)]


class Bytes(Enlarger):
    def forward(self, lr: Tensor) -> Tensor:
        return (super().forward(lr) * 255).to(torch.uint8)


class Infinite(Enlarger):
    def forward(self, lr: Tensor) -> Tensor:
        return super().forward(lr) / 0


class BatchTied(Enlarger):
    def forward(self, lr: Tensor) -> Tensor:
        return super().forward(lr - lr.mean(dim=0, keepdim=True))


class Restless(Enlarger):
    def forward(self, lr: Tensor) -> Tensor:
        return super().forward(lr) + 1e-6 * torch.rand(1)


class HalfRadius(Enlarger):
    receptive_radius = 2.5


class NegativeRadius(Enlarger):
    receptive_radius = -1


class ReachesFurther(Enlarger):
    receptive_radius = 1

    def forward(self, lr: Tensor) -> Tensor:
        return super().forward(lr + 0.1 * lr.roll(2, dims=-1))


class UnusedWeight(Enlarger):
    def __init__(self) -> None:
        super().__init__()
        self.spare = nn.Linear(2, 2)


class CornerGradient(Enlarger):
    def forward(self, lr: Tensor) -> Tensor:
        return super().forward(lr) + torch.sqrt(self.gain - self.gain)


class ExtraState(Enlarger):
    def get_extra_state(self) -> dict[str, int]:
        return {"calls": 3}

    def set_extra_state(self, state: Any) -> None:
        pass


class Renamed(Enlarger):
    """Saves its weight under a name that it doesn't load."""

    def state_dict(self, *_: Any, **__: Any) -> Any:
        return {"other": self.gain.detach()}


GENERATORS: list[tuple[Callable[[], Any], str]] = [
    (lambda: lambda lr: lr, "nn.Module"),
    (NoRadius, "attribute receptive_radius"),
    (WrongShape, r"has shape \(2, 3, 32, 32\)"),
    (MultiplesOfFour, "sr of 17x13 has shape"),
    (NotATensor, "list, not a tensor"),
    (Bytes, "not floating point"),
    (Infinite, "not finite"),
    (BatchTied, "depends on its batch"),
    (Restless, "differs between calls"),
    (HalfRadius, "whole number"),
    (NegativeRadius, "whole number"),
    (ReachesFurther, "receptive_radius is 1, but pixels reach 2"),
    (UnusedWeight, "weights get no gradient: spare"),
    (CornerGradient, "gradients are not finite: gain"),
    (ExtraState, "aren't tensors"),
    (Renamed, "state_dict .*load"),
]


def test_the_good_generator_is_good() -> None:
    testing.check_generator(Enlarger(), scale=4)


@pytest.mark.parametrize(("make", "promise"), GENERATORS)
def test_a_generator_that_breaks_a_promise(make: Callable[[], Any], promise: str) -> None:
    with pytest.raises(AssertionError, match=promise):
        testing.check_generator(make(), scale=4)


def test_a_generator_without_a_stated_radius_is_fine() -> None:
    generator = ReachesFurther()
    generator.receptive_radius = None  # type: ignore[assignment]
    testing.check_generator(generator, scale=4)


@pytest.mark.parametrize("reach", [0, 1, 5])
def test_the_radius_is_measured(reach: int) -> None:
    class Shifted(Enlarger):
        def forward(self, lr: Tensor) -> Tensor:
            return super().forward(lr + lr.roll(reach, dims=-2))

    assert testing.receptive_radius(Shifted(), scale=4) == reach


def test_a_last_layer_that_starts_at_zero_hides_no_radius() -> None:
    layer = nn.Conv2d(3, 3, 7, padding=3)
    nn.init.zeros_(layer.weight)
    network = nn.Sequential(layer, nn.Upsample(scale_factor=4))
    assert testing.receptive_radius(network, scale=4) == 3


# --- every promise of a discriminator -----------------------------------------------------------


class Judge(nn.Module):
    """A good discriminator of one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, image: Tensor) -> Any:
        feature = image * self.gain
        return DiscriminatorOutput(feature.mean(dim=(1, 2, 3)), (feature,))


class BareLogits(Judge):
    def forward(self, image: Tensor) -> Any:
        return super().forward(image).logits


class ColumnLogits(Judge):
    def forward(self, image: Tensor) -> Any:
        return DiscriminatorOutput(super().forward(image).logits[:, None])


class LoneLogit(Judge):
    def forward(self, image: Tensor) -> Any:
        return DiscriminatorOutput(super().forward(image).logits.mean())


class InfiniteLogits(Judge):
    def forward(self, image: Tensor) -> Any:
        return DiscriminatorOutput(super().forward(image).logits / 0)


class FeatureList(Judge):
    def forward(self, image: Tensor) -> Any:
        seen = super().forward(image)
        return DiscriminatorOutput(seen.logits, list(seen.features))  # type: ignore[arg-type]


class PooledFeature(Judge):
    def forward(self, image: Tensor) -> Any:
        seen = super().forward(image)
        return DiscriminatorOutput(seen.logits, (seen.features[0].mean(dim=0),))


class IdleWeight(Judge):
    def __init__(self) -> None:
        super().__init__()
        self.spare = nn.Linear(2, 2)


class SteepJudge(Judge):
    def forward(self, image: Tensor) -> Any:
        return DiscriminatorOutput(image.mean(dim=(1, 2, 3)) + (self.gain - 1).abs().sqrt())


class NotedJudge(Judge):
    def get_extra_state(self) -> str:
        return "note"

    def set_extra_state(self, state: Any) -> None:
        pass


def test_the_good_discriminator_is_good() -> None:
    testing.check_discriminator(Judge(), side=16)


@pytest.mark.parametrize(
    ("make", "promise"),
    [
        (lambda: lambda image: image, "nn.Module"),
        (BareLogits, "DiscriminatorOutput, not Tensor"),
        (ColumnLogits, r"logits have shape \(2, 1\)"),
        (LoneLogit, r"logits have shape \(\)"),
        (InfiniteLogits, "logits are not finite"),
        (FeatureList, "features are a tuple"),
        (PooledFeature, "feature 0 has no batch dimension"),
        (IdleWeight, "weights get no gradient: spare"),
        (SteepJudge, "gradients are not finite: gain"),
        (NotedJudge, "aren't tensors"),
    ],
)
def test_a_discriminator_that_breaks_a_promise(make: Callable[[], Any], promise: str) -> None:
    with pytest.raises(AssertionError, match=promise):
        testing.check_discriminator(make(), side=16)


# --- every promise of a loss --------------------------------------------------------------------


def good_loss(sr: Tensor, hr: Tensor) -> Tensor:
    return (sr - hr).square().mean()


class Weighty(nn.Module):
    """Its value doesn't depend on sr."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, sr: Tensor) -> Tensor:
        return self.weight * sr.numel()


def wants_lq(sr: Tensor, lq: Tensor) -> Tensor:
    return (sr - lq).mean()


LOSSES: list[tuple[Callable[..., Any], str]] = [
    (wants_lq, r"it asks for \['lq', 'sr'\]"),
    (lambda sr, hr: (sr - hr).square().mean(dim=(1, 2, 3)), r"scalar, not \(2,\)"),
    (lambda sr, hr: (sr - hr).square().mean().log(), "loss of equal images is not finite"),
    (lambda sr, hr: (sr - hr).sum() / 0, "not finite"),
    (lambda sr, hr: (sr - hr).detach().square().mean(), "has no gradient"),
    (Weighty(), "no gradient reaches sr"),
    (
        lambda sr, hr: (sr - hr).square().sum().sqrt(),
        "gradient of equal images is not finite",
    ),
    (lambda sr, hr: (sr * 0 + hr).mean(), "gradient at sr is zero"),
]


@pytest.mark.parametrize(
    "loss",
    [
        good_loss,
        nn.L1Loss(),
        lambda sr, lr: (nn.functional.avg_pool2d(sr, 4) - lr).abs().mean(),
        lambda fake, real: (fake.logits - real.logits).square().mean() - fake.logits.mean(),
    ],
)
def test_good_losses_are_good(loss: Callable[..., Any]) -> None:
    if isinstance(loss, nn.L1Loss):  # torch's own ask for other names
        with pytest.raises(AssertionError, match=r"it asks for \['input', 'target'\]"):
            testing.check_loss(loss)
    else:
        testing.check_loss(loss)


@pytest.mark.parametrize(("loss", "promise"), LOSSES)
def test_a_loss_that_breaks_a_promise(loss: Callable[..., Any], promise: str) -> None:
    with pytest.raises(AssertionError, match=promise):
        testing.check_loss(loss)


# --- every promise of a degradation -------------------------------------------------------------


def shrunk(hr: Tensor) -> Tensor:
    return nn.functional.avg_pool2d(hr, 4)


def own_noise(hr: Tensor, seeds: Tensor) -> Tensor:
    """Noise that depends on each image's seed alone."""
    noises = []
    for seed in seeds.tolist():
        generator = torch.Generator().manual_seed(seed)
        noises.append(torch.rand(shrunk(hr).shape[1:], generator=generator))
    return torch.stack(noises)


def good_degradation(hr: Tensor, *, seeds: Tensor) -> Tensor:
    return (shrunk(hr) + 0.1 * own_noise(hr, seeds)).clamp(0, 1)


def by_batch_seed(hr: Tensor, *, seeds: Tensor) -> Tensor:
    """One generator for the whole batch, seeded with its first seed."""
    generator = torch.Generator().manual_seed(int(seeds[0]))
    lr = shrunk(hr)
    return (lr + 0.1 * torch.rand(lr.shape, generator=generator)).clamp(0, 1)


def normalised(hr: Tensor, *, seeds: Tensor) -> Tensor:
    """Whatever the order, but not whatever the batch."""
    lr = shrunk(hr)
    return lr / lr.max()


DEGRADATIONS: list[tuple[Callable[..., Any], str]] = [
    (lambda hr, seeds: hr, r"lr has shape \(4, 3, 64, 64\)"),
    (lambda hr, seeds: None, "NoneType, not a tensor"),
    (lambda hr, seeds: (shrunk(hr) * 255).byte(), "not floating point"),
    (lambda hr, seeds: shrunk(hr) * math.nan, "not finite"),
    (lambda hr, seeds: shrunk(hr) - 0.5, r"leaves \[0, 1\]"),
    (lambda hr, seeds: shrunk(hr) * torch.rand(1), "differs between calls of equal seeds"),
    (by_batch_seed, "depends on the batch's order"),
    (normalised, "depends on the rest of the batch"),
]


def test_the_good_degradation_is_good() -> None:
    testing.check_degradation(good_degradation)


@pytest.mark.parametrize(("degradation", "promise"), DEGRADATIONS)
def test_a_degradation_that_breaks_a_promise(degradation: Callable[..., Any], promise: str) -> None:
    with pytest.raises(AssertionError, match=promise):
        testing.check_degradation(degradation)


# --- every promise of a metric ------------------------------------------------------------------


class Score:
    """A good metric."""

    unit: Any = ""
    higher_is_better: Any = False

    def __call__(self, sr: Tensor, hr: Tensor) -> Any:
        return (sr - hr).abs().mean(dim=(1, 2, 3))


class NoUnit(Score):
    unit = None


class NoDirection(Score):
    higher_is_better = None


class PythonScores(Score):
    def __call__(self, sr: Tensor, hr: Tensor) -> Any:
        return super().__call__(sr, hr).tolist()


class OneScore(Score):
    def __call__(self, sr: Tensor, hr: Tensor) -> Any:
        return super().__call__(sr, hr).mean()


class NoNumber(Score):
    def __call__(self, sr: Tensor, hr: Tensor) -> Any:
        return super().__call__(sr, hr) * math.nan


class WrongWay(Score):
    higher_is_better = True


class Ranked(Score):
    def __call__(self, sr: Tensor, hr: Tensor) -> Any:
        scores = super().__call__(sr, hr)
        return scores / scores.sum().clamp(min=1e-9)


def test_the_good_metric_is_good() -> None:
    testing.check_metric(Score())


@pytest.mark.parametrize(
    ("metric", "promise"),
    [
        (NoUnit(), "attribute unit"),
        (NoDirection(), "higher_is_better"),
        (PythonScores(), "gives a tensor"),
        (OneScore(), r"scores have shape \(\)"),
        (NoNumber(), "not a number"),
        (WrongWay(), "equal images don't score best"),
        (Ranked(), "depends on the rest of the batch"),
    ],
)
def test_a_metric_that_breaks_a_promise(metric: Any, promise: str) -> None:
    with pytest.raises(AssertionError, match=promise):
        testing.check_metric(metric)


# --- every promise of a metric of sets ----------------------------------------------------------


class Apart:
    """A good metric of sets: how far the mean brightnesses of both are from each other."""

    unit: Any = ""
    higher_is_better: Any = False

    def __init__(self) -> None:
        self.sr: list[Tensor] = []
        self.hr: list[Tensor] = []

    def update(self, sr: Tensor, hr: Tensor) -> None:
        self.sr += list(sr)
        self.hr += list(hr)

    def compute(self) -> Any:
        return self.apart(torch.stack(self.sr), torch.stack(self.hr)).item()

    def apart(self, sr: Tensor, hr: Tensor) -> Tensor:
        return (sr.mean() - hr.mean()).abs()


class Unitless(Apart):
    unit = None


class Undirected(Apart):
    higher_is_better = None


class NoCompute(Apart):
    compute = None  # type: ignore[assignment]


class OneTensor(Apart):
    def compute(self) -> Any:
        return self.apart(torch.stack(self.sr), torch.stack(self.hr))


class NotANumber(Apart):
    def compute(self) -> Any:
        return super().compute() * math.nan


class Backwards(Apart):
    higher_is_better = True


class Blind(Apart):
    def compute(self) -> Any:
        return 1.0


class FirstCounts(Apart):
    def apart(self, sr: Tensor, hr: Tensor) -> Tensor:
        return super().apart(sr, hr) + (sr[0].mean() - hr[0].mean()).abs()


class LastBatch(Apart):
    """It forgets what came before."""

    def update(self, sr: Tensor, hr: Tensor) -> None:
        self.sr, self.hr = list(sr), list(hr)


class OfBatches(Apart):
    """The mean over batches, though the last of them is smaller."""

    def __init__(self) -> None:
        self.each: list[float] = []

    def update(self, sr: Tensor, hr: Tensor) -> None:
        self.each.append(float(self.apart(sr, hr)))

    def compute(self) -> Any:
        return sum(self.each) / len(self.each)


def test_the_good_metric_of_sets_is_good_and_is_left_as_it_was() -> None:
    metric = Apart()
    testing.check_set_metric(metric)
    assert not metric.sr


@pytest.mark.parametrize(
    ("metric", "promise"),
    [
        (Unitless(), "attribute unit"),
        (Undirected(), "higher_is_better"),
        (NoCompute(), "has a method compute"),
        (OneTensor(), "gives a float, not Tensor"),
        (NotANumber(), "NaN"),
        (Backwards(), "equal sets don't score best"),
        (Blind(), "equal sets don't score best"),
        (FirstCounts(), "depends on the order of the images"),
        (LastBatch(), "depends on how images come in batches"),
        (OfBatches(), "depends on how images come in batches"),
    ],
)
def test_a_metric_of_sets_that_breaks_a_promise(metric: Any, promise: str) -> None:
    with pytest.raises(AssertionError, match=promise):
        testing.check_set_metric(metric)


# --- every promise of an embedder ---------------------------------------------------------------


class Embedder(nn.Module):
    """A good embedder, of colours."""

    name = "colours"
    sha256 = "0" * 64

    def embedded(self, faces: Tensor) -> Tensor:
        return faces.flatten(2).mean(dim=2)

    def forward(self, faces: Tensor) -> Tensor:
        return nn.functional.normalize(self.embedded(faces), dim=1)


class Nameless(Embedder):
    name = ""


class Sumless(Embedder):
    sha256 = ""


class Flat(Embedder):
    def forward(self, faces: Tensor) -> Tensor:
        return super().forward(faces)[0]


class Nowhere(Embedder):
    def forward(self, faces: Tensor) -> Tensor:
        return super().forward(faces) * math.nan


class Long(Embedder):
    def forward(self, faces: Tensor) -> Tensor:
        return self.embedded(faces) * 3


class Centred(Embedder):
    def embedded(self, faces: Tensor) -> Tensor:
        colours = super().embedded(faces)
        return colours - 0.9 * colours.mean(dim=0)


def test_the_good_embedder_is_good() -> None:
    testing.check_embedder(Embedder())


@pytest.mark.parametrize(
    ("make", "promise"),
    [
        (Nameless, "name for tables"),
        (Sumless, "sha256"),
        (Flat, "shape BD"),
        (Nowhere, "not finite"),
        (Long, "unit length"),
        (Centred, "depends on the rest of the batch"),
    ],
)
def test_an_embedder_that_breaks_a_promise(make: type[Embedder], promise: str) -> None:
    with pytest.raises(AssertionError, match=promise):
        testing.check_embedder(make())
