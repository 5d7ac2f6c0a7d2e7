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
from srkit_plugins.contracts import small
from torch import Tensor, nn

import srkit
from srkit import DiscriminatorOutput, InputError, OptionError, files, registry, testing
from srkit.hookspecs import ReadyModel, kinds
from srkit.recipe import Recipe
from srkit.training.parts import build_parts, rehearse

CPU = torch.device("cpu")
LARGEST = 14_000_000  # bytes of shipped weights: half precision, about 7 M parameters


def offered(kind: str) -> list[str]:
    return list(registry.offers(kind))


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


@pytest.mark.parametrize("kind", kinds())
def test_every_name_is_importable_and_has_options(kind: str) -> None:
    for name in offered(kind):
        assert callable(registry.find(kind, name)), name
        options = registry.options(kind, name)
        assert all(str(option).startswith(option.name) for option in options), name


@pytest.mark.parametrize(
    "scale", [4, *(pytest.param(scale, marks=pytest.mark.long) for scale in (2, 8))]
)
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


OURS = ("face-hourglass", "face-residual", "inception-residual")


@pytest.mark.parametrize("name", OURS)  # others are large: small ones show the same
@pytest.mark.long
def test_generators_at_full_size(name: str) -> None:
    testing.check_generator(registry.build("generators", name, scale=4), scale=4, side=8)


@pytest.mark.parametrize("name", offered("discriminators"))
def test_discriminators(name: str) -> None:
    testing.check_discriminator(registry.build("discriminators", name))


@pytest.mark.parametrize("name", offered("losses"))
def test_losses(name: str, with_weights: Any) -> None:
    with_weights("losses", name)
    if name == "perceptual":  # on weights: tests/plugins/test_timm.py
        with pytest.raises(OptionError, match="weights"):
            registry.build("losses", name)
        return
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


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, n) for kind in ("metrics", "set_metrics") for n in offered(kind)]
)
def test_metrics(kind: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    if name in ("lpips", "dists", "fid", "kid"):
        # On random weights: tests/plugins/test_perceptual.py.
        with pytest.raises(InputError, match="needs the weights"):
            registry.build(kind, name)
        return
    try:
        metric = registry.build(kind, name)
    except InputError as error:
        pytest.skip(str(error))
    (testing.check_metric if kind == "metrics" else testing.check_set_metric)(metric)


@pytest.mark.parametrize("name", offered("embedders"))
def test_embedders(name: str, with_weights: Any) -> None:
    with_weights("embedders", name)
    testing.check_embedder(registry.build("embedders", name))


@pytest.mark.parametrize("name", offered("recipes"))
def test_recipes_build_their_parts_and_rehearse(name: str, with_weights: Any) -> None:
    recipe = registry.build("recipes", name)
    assert isinstance(recipe, Recipe)
    for loss in recipe.losses:
        with_weights("losses", loss)
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


def broken(good: Callable[[], Any], **changes: Any) -> Any:
    """Return a good part with some of its attributes or methods replaced."""
    return type("Broken", (good,), changes)()  # type: ignore[arg-type]


def spare(good: type[nn.Module]) -> nn.Module:
    """Return a good network with weights that nothing uses."""
    network = good()
    network.spare = nn.Linear(2, 2)
    return network


EXTRA_STATE = {"get_extra_state": lambda self: {"calls": 3}, "set_extra_state": lambda *_: None}


def nearest(lr: Tensor, scale: int = 4) -> Tensor:
    return lr.repeat_interleave(scale, -1).repeat_interleave(scale, -2)


class Generator(nn.Module):
    """A good generator of one weight, to be broken in one place each."""

    receptive_radius: Any = 0

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, lr: Tensor) -> Tensor:
        return nearest(lr) * self.gain


def rolled(pixels: int, dims: int = -1, **changes: Any) -> Any:
    """Return a generator that reaches some pixels away."""

    def forward(self: Generator, lr: Tensor) -> Tensor:
        return Generator.forward(self, lr + 0.1 * lr.roll(pixels, dims=dims))

    return broken(Generator, forward=forward, **changes)


def forward(change: Callable[[Generator, Tensor], Any]) -> Any:
    """Return a generator whose result is changed."""
    return broken(Generator, forward=lambda self, lr: change(self, Generator.forward(self, lr)))


GENERATORS: list[tuple[Callable[[], Any], str]] = [
    (lambda: nearest, "nn.Module"),
    (lambda: nn.Upsample(scale_factor=4), "attribute receptive_radius"),
    (
        lambda: broken(Generator, forward=lambda self, lr: nearest(lr, 2) * self.gain),
        r"has shape \(2, 3, 32, 32\)",
    ),
    (lambda: forward(lambda self, sr: sr[..., : sr.shape[-2] // 16 * 16, :]), "of 17x13 has shape"),
    (lambda: forward(lambda self, sr: [sr]), "list, not a tensor"),
    (lambda: forward(lambda self, sr: (sr * 255).to(torch.uint8)), r"not torch\.float32"),
    (lambda: forward(lambda self, sr: sr / 0), "not finite"),
    (lambda: forward(lambda self, sr: sr - sr.mean(dim=0, keepdim=True)), "rest of the batch"),
    (lambda: forward(lambda self, sr: sr + 1e-6 * torch.rand(1)), "depends on earlier calls"),
    (lambda: broken(Generator, receptive_radius=2.5), "whole number"),
    (lambda: broken(Generator, receptive_radius=-1), "whole number"),
    (lambda: rolled(2, receptive_radius=1), "receptive_radius is 1, but pixels reach 2"),
    (lambda: spare(Generator), "weights get no gradient: spare"),
    (
        lambda: forward(lambda self, sr: sr + torch.sqrt(self.gain - self.gain)),
        "gradients are not finite: gain",
    ),
    (lambda: broken(Generator, **EXTRA_STATE), "aren't tensors"),
    (
        lambda: broken(Generator, state_dict=lambda self, *_, **__: {"other": self.gain.detach()}),
        "state_dict .*load",
    ),
]


@pytest.mark.parametrize(("make", "promise"), GENERATORS)
def test_a_generator_that_breaks_a_promise(make: Callable[[], Any], promise: str) -> None:
    testing.check_generator(Generator(), scale=4)
    with pytest.raises(AssertionError, match=promise):
        testing.check_generator(make(), scale=4)


class Boundless(Generator):
    """A good generator that states no radius."""

    receptive_radius = None

    def forward(self, lr: Tensor) -> Tensor:
        return super().forward(lr + 0.1 * lr.roll(2, dims=-1))


def test_a_generator_without_a_stated_radius_is_fine() -> None:
    testing.check_generator(Boundless(), scale=4)


class Unpicklable(Generator):
    """A generator with a function of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.gamma = lambda sr: sr

    def forward(self, lr: Tensor) -> Tensor:
        return self.gamma(super().forward(lr))


def counting(self: Any, sr: Tensor) -> Tensor:
    self.calls = getattr(self, "calls", 0) + 1
    return sr + (1e-6 * self.calls if sr.shape[-1] == 64 else 0.0)


def with_buffer() -> Any:
    network = forward(lambda self, sr: sr + 0.0 * self.count.add_(1).mean())
    network.register_buffer("count", torch.zeros(1))
    return network


@pytest.mark.parametrize(
    ("make", "promise"),
    [
        (lambda: forward(counting), "the result depends on earlier calls"),
        (with_buffer, "in evaluation mode calls change count"),
        (
            lambda: forward(lambda self, sr: sr / 0 if torch.is_autocast_enabled("cpu") else sr),
            "under bfloat16 autocast values are not finite",
        ),
        (
            lambda: forward(lambda self, sr: sr + torch.zeros(sr.shape)),
            "has tensors that don't move to its device",
        ),
        (lambda: Unpicklable(), "it can't be pickled"),
    ],
)
def test_what_holds_for_every_network(make: Callable[[], Any], promise: str) -> None:
    with pytest.raises(AssertionError, match=promise):
        testing.check_generator(make(), scale=4)


@pytest.mark.parametrize("reach", [0, 1, 5])
def test_the_radius_is_measured(reach: int) -> None:
    assert testing.receptive_radius(rolled(reach, dims=-2), scale=4) == reach


def test_a_last_layer_that_starts_at_zero_hides_no_radius() -> None:
    layer = nn.Conv2d(3, 3, 7, padding=3)
    nn.init.zeros_(layer.weight)
    network = nn.Sequential(layer, nn.Upsample(scale_factor=4))
    assert testing.receptive_radius(network, scale=4) == 3


# --- every promise of a discriminator -----------------------------------------------------------


class Discriminator(nn.Module):
    """A good discriminator of one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, image: Tensor) -> Any:
        feature = image * self.gain
        return DiscriminatorOutput(feature.mean(dim=(1, 2, 3)), (feature,))


def output(change: Callable[[DiscriminatorOutput], Any]) -> Any:
    """Return a discriminator whose output is changed."""
    return broken(
        Discriminator, forward=lambda self, image: change(Discriminator.forward(self, image))
    )


DISCRIMINATORS: list[tuple[Callable[[], Any], str]] = [
    (lambda: lambda image: image, "nn.Module"),
    (lambda: output(lambda out: out.logits), "DiscriminatorOutput, not Tensor"),
    (
        lambda: output(lambda out: DiscriminatorOutput(out.logits[:, None])),
        r"logits have shape \(2, 1\)",
    ),
    (lambda: output(lambda out: DiscriminatorOutput(out.logits.mean())), r"shape \(\)"),
    (lambda: output(lambda out: DiscriminatorOutput(out.logits / 0)), "logits are not finite"),
    (lambda: output(lambda out: out._replace(features=[*out.features])), "features are a tuple"),
    (
        lambda: output(lambda out: out._replace(features=(out.features[0].mean(dim=0),))),
        "feature 0 has no batch dimension",
    ),
    (lambda: spare(Discriminator), "weights get no gradient: spare"),
    (
        lambda: broken(
            Discriminator,
            forward=lambda self, image: DiscriminatorOutput(
                image.mean(dim=(1, 2, 3)) + (self.gain - 1).abs().sqrt()
            ),
        ),
        "gradients are not finite: gain",
    ),
    (lambda: broken(Discriminator, **EXTRA_STATE), "aren't tensors"),
]


@pytest.mark.parametrize(("make", "promise"), DISCRIMINATORS)
def test_a_discriminator_that_breaks_a_promise(make: Callable[[], Any], promise: str) -> None:
    testing.check_discriminator(Discriminator(), side=16)
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
    (wants_lq, "it asks for lq, sr"),
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
        with pytest.raises(AssertionError, match="it asks for input, target"):
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
    (lambda hr, seeds: (shrunk(hr) * 255).byte(), r"not torch\.float32"),
    (lambda hr, seeds: shrunk(hr) * math.nan, "not finite"),
    (lambda hr, seeds: shrunk(hr) - 0.5, r"leaves \[0, 1\]"),
    (lambda hr, seeds: shrunk(hr) * torch.rand(1), "depends on earlier calls"),
    (by_batch_seed, "depends on the rest of the batch"),
    (normalised, "depends on the rest of the batch"),
]


@pytest.mark.parametrize(("degradation", "promise"), DEGRADATIONS)
def test_a_degradation_that_breaks_a_promise(degradation: Callable[..., Any], promise: str) -> None:
    testing.check_degradation(good_degradation)
    with pytest.raises(AssertionError, match=promise):
        testing.check_degradation(degradation)


# --- every promise of a metric ------------------------------------------------------------------


class Metric:
    """A good metric."""

    unit: Any = ""
    higher_is_better: Any = False

    def __call__(self, sr: Tensor, hr: Tensor) -> Any:
        return (sr - hr).abs().mean(dim=(1, 2, 3))


def lazy_score(self: Any, sr: Tensor, hr: Tensor) -> Tensor:
    self.calls = getattr(self, "calls", 0) + 1
    return Metric.__call__(self, sr, hr) + 1e-7 * self.calls * (sr != hr).any()


def scores(change: Callable[[Tensor], Any]) -> Any:
    """Return a metric whose scores are changed."""
    return broken(Metric, __call__=lambda self, sr, hr: change(Metric.__call__(self, sr, hr)))


@pytest.mark.parametrize(
    ("metric", "promise"),
    [
        (broken(Metric, unit=None), "attribute unit"),
        (broken(Metric, higher_is_better=None), "higher_is_better"),
        (scores(Tensor.tolist), "gives a tensor"),
        (scores(Tensor.mean), r"scores have shape \(\)"),
        (scores(lambda each: each * math.nan), "not a number"),
        (broken(Metric, higher_is_better=True), "equal images don't score best"),
        (scores(lambda each: each / each.sum().clamp(min=1e-9)), "depends on the rest of"),
        (broken(Metric, __call__=lazy_score), "a score depends on earlier calls"),
    ],
)
def test_a_metric_that_breaks_a_promise(metric: Any, promise: str) -> None:
    testing.check_metric(Metric())
    with pytest.raises(AssertionError, match=promise):
        testing.check_metric(metric)


def test_a_metric_that_may_have_no_score_says_why() -> None:
    def score(self: Metric, sr: Tensor, hr: Tensor) -> Tensor:
        scores: Tensor = Metric.__call__(self, sr, hr)
        return scores.where(hr[:, 0, 0, 0] > 0.5, scores.new_tensor(math.nan))

    silent = broken(Metric, __call__=score)
    with pytest.raises(AssertionError, match="not a number"):
        testing.check_metric(silent)
    testing.check_metric(broken(Metric, __call__=score, missing="it is dark"))


def test_a_metric_of_sr_alone_that_needs_large_images() -> None:
    class Brightness(Metric):
        def __call__(self, sr: Tensor) -> Any:  # type: ignore[override]
            if sr.shape[-1] < 200:
                raise ValueError("too small")
            return sr.mean(dim=(1, 2, 3))

    testing.check_metric(Brightness())
    with pytest.raises(AssertionError, match="not a number"):
        testing.check_metric(
            broken(Brightness, __call__=lambda self, sr: sr[:, 0, 0, 0] * math.nan)
        )


# --- every promise of a metric of sets ----------------------------------------------------------


class SetMetric:
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
        return self.distance(torch.stack(self.sr), torch.stack(self.hr)).item()

    def distance(self, sr: Tensor, hr: Tensor) -> Tensor:
        return (sr.mean() - hr.mean()).abs()


class LastBatch(SetMetric):
    """It forgets what came before."""

    def update(self, sr: Tensor, hr: Tensor) -> None:
        self.sr, self.hr = list(sr), list(hr)


class MeanOfBatches(SetMetric):
    """The mean over batches, though the last of them is smaller."""

    def __init__(self) -> None:
        self.each: list[float] = []

    def update(self, sr: Tensor, hr: Tensor) -> None:
        self.each.append(float(self.distance(sr, hr)))

    def compute(self) -> Any:
        return sum(self.each) / len(self.each)


def first_counts(_: Any, sr: Tensor, hr: Tensor) -> Tensor:
    return (sr.mean() - hr.mean()).abs() + (sr[0].mean() - hr[0].mean()).abs()


def test_the_good_metric_of_sets_is_good_and_is_left_as_it_was() -> None:
    metric = SetMetric()
    testing.check_set_metric(metric)
    assert not metric.sr


@pytest.mark.parametrize(
    ("metric", "promise"),
    [
        (broken(SetMetric, unit=None), "attribute unit"),
        (broken(SetMetric, higher_is_better=None), "higher_is_better"),
        (broken(SetMetric, compute=None), "has a method compute"),
        (broken(SetMetric, compute=lambda self: torch.ones(())), "gives a float, not Tensor"),
        (broken(SetMetric, compute=lambda self: math.nan), "NaN"),
        (broken(SetMetric, higher_is_better=True), "equal sets don't score best"),
        (broken(SetMetric, compute=lambda self: 1.0), "equal sets don't score best"),
        (broken(SetMetric, distance=first_counts), "depends on the order of the images"),
        (LastBatch(), "depends on how images come in batches"),
        (MeanOfBatches(), "depends on how images come in batches"),
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

    def forward(self, faces: Tensor) -> Tensor:
        return nn.functional.normalize(self.colours(faces), dim=1)

    def colours(self, faces: Tensor) -> Tensor:
        return faces.flatten(2).mean(dim=2)


def centred(_: Embedder, faces: Tensor) -> Tensor:
    colours = faces.flatten(2).mean(dim=2)
    return colours - 0.9 * colours.mean(dim=0)


def embeddings(change: Callable[[Tensor], Tensor]) -> Any:
    """Return an embedder whose embeddings are changed."""
    return broken(Embedder, forward=lambda self, faces: change(Embedder.forward(self, faces)))


@pytest.mark.parametrize(
    ("embedder", "promise"),
    [
        (broken(Embedder, name=""), "name for tables"),
        (broken(Embedder, sha256=""), "sha256"),
        (embeddings(lambda each: each[0]), "shape BD"),
        (embeddings(lambda each: each * math.nan), "not finite"),
        (embeddings(lambda each: each * 3), "unit length"),
        (broken(Embedder, colours=centred), "depends on the rest of the batch"),
    ],
)
def test_an_embedder_that_breaks_a_promise(embedder: Any, promise: str) -> None:
    testing.check_embedder(Embedder())
    with pytest.raises(AssertionError, match=promise):
        testing.check_embedder(embedder)
