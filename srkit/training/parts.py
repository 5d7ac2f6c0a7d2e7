"""A recipe's parts, built and rehearsed before a run starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from srkit import registry
from srkit.errors import InputError, RecipeError, SrkitError, ran_out
from srkit.hookspecs import LOSS_INPUTS, DiscriminatorOutput
from srkit.options import inputs_of
from srkit.recipe import Recipe
from srkit.training.objectives import OBJECTIVES, Objective

# What every validation measures.
METRICS = ("psnr", "ssim")
# What networks compute in, by the recipe's precision; as they are in others.
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Term:
    """One term of the generator's loss, by its registered name."""

    name: str
    loss: Callable[..., Tensor]
    inputs: frozenset[str]

    def __call__(self, values: Mapping[str, Any]) -> Tensor:
        """Return the unweighted loss, called with what its signature asks for."""
        with registry.blamed("losses", self.name):
            value = self.loss(**{name: values[name] for name in self.inputs})
            scalar = value.numel() == 1
        if not scalar:
            raise RecipeError(f"loss '{self.name}' gives {tuple(value.shape)}, not a scalar")
        return value


@dataclass(frozen=True)
class Parts:
    """All parts of a run, on its device; networks in channels_last."""

    recipe: Recipe
    generator: nn.Module  # lr to sr
    discriminator: nn.Module | None  # image to `DiscriminatorOutput`
    objective: Objective | None  # what the two networks minimise
    terms: Mapping[str, Term]  # the recipe's losses by name
    degrade: Callable[..., Tensor]  # hr to lr

    def lr(self, hr: Tensor, seeds: Tensor) -> Tensor:
        """Return hr degraded, with a seed an image."""
        with registry.blamed("degradations", self.recipe.degradation.name):
            return self.degrade(hr, seeds=seeds).contiguous(memory_format=torch.channels_last)

    def sr(self, lr: Tensor) -> Tensor:
        """Return lr upscaled, computed in the recipe's precision, in float32: as losses are."""
        with registry.blamed("generators", self.recipe.generator.name), self._autocast(lr):
            sr: Tensor = self.generator(lr)
            return sr.float()

    def output(self, image: Tensor) -> DiscriminatorOutput:
        """Return the discriminator's output, computed in the recipe's precision, in float32."""
        assert self.discriminator is not None
        assert self.recipe.discriminator is not None
        name = self.recipe.discriminator.name
        with registry.blamed("discriminators", name), self._autocast(image):
            output: DiscriminatorOutput = self.discriminator(image)
            features = tuple(feature.float() for feature in output.features)
            return DiscriminatorOutput(output.logits.float(), features)

    def _autocast(self, image: Tensor) -> torch.autocast:
        dtype = DTYPES.get(self.recipe.precision)
        return torch.autocast(image.device.type, dtype, enabled=dtype is not None)

    @property
    def networks(self) -> list[nn.Module]:
        """The generator, and the discriminator where there is one."""
        return [n for n in (self.generator, self.discriminator) if n is not None]

    def weight(self, name: str, done: float) -> float:
        """Return a term's weight when ``done``, from 0 to 1, of the run is over."""
        if (loss := self.recipe.losses.get(name)) is None:
            return self.recipe.adversarial.weight if self.recipe.adversarial else 0.0
        return loss.weight if loss.during[0] <= done < loss.during[1] else 0.0


def _term(recipe: Recipe, name: str, device: torch.device) -> Term:
    options = recipe.losses[name].options
    loss = registry.build_scaled("losses", name, recipe.scale, options)
    if isinstance(loss, nn.Module):
        loss = loss.to(device).requires_grad_(False)
    with registry.blamed("losses", name):
        inputs = inputs_of(loss)
    if unknown := sorted(inputs.difference(LOSS_INPUTS)):
        known = ", ".join(LOSS_INPUTS)
        raise RecipeError(f"loss '{name}' asks for {', '.join(unknown)}; there are {known}")
    if inputs & {"real", "fake"} and recipe.discriminator is None:
        raise RecipeError(f"loss '{name}' needs a discriminator, and the recipe has none")
    return Term(name, loss, inputs)


def loss_embedders(terms: Mapping[str, Term]) -> dict[str, dict[str, str]]:
    """Return the embedders of a run's losses, by the loss's name: they can't judge its results.

    Any loss counts that has an attribute ``embedder`` with an embedder's ``name`` and ``sha256``;
    ``values_sha256`` is taken along where there is one.
    """
    embedders: dict[str, dict[str, str]] = {}
    for name, term in terms.items():
        embedder = getattr(term.loss, "embedder", None)
        if getattr(embedder, "sha256", None):
            keys = ("name", "sha256", "values_sha256")
            known = {key: getattr(embedder, key, None) for key in keys}
            embedders[name] = {key: str(value) for key, value in known.items() if value}
    return embedders


def merge_embedders(
    before: Mapping[str, dict[str, str]], now: Mapping[str, dict[str, str]], what: str
) -> dict[str, dict[str, str]]:
    """Return the loss embedders that a run has had so far and has now, if none has changed.

    A recipe may leave an embedder's weights to the environment, so an equal recipe isn't enough.
    InputError: a loss has another one now.
    """
    for loss in before.keys() & now.keys():
        old, new = before[loss], now[loss]
        if old["sha256"] != new["sha256"]:
            raise InputError(
                f"{what}: loss '{loss}' had {old['name']}, sha256 {old['sha256']:.8}, and has "
                f"{new['name']}, {new['sha256']:.8}, now; give it the same weights"
            )
    return {**before, **now}


def build_parts(recipe: Recipe, device: torch.device) -> Parts:
    """Build a recipe's parts; initial weights follow from torch's global seed.

    Raises:
        SrkitError: A part is unknown, or its options are wrong, or it asks for something that
            the recipe doesn't have.
    """
    torch.backends.cudnn.benchmark = not recipe.data.extra_sizes  # shapes are fixed
    layout = torch.channels_last
    net = recipe.build("generator").to(device).to(memory_format=layout)
    discriminator = None
    if recipe.discriminator:
        discriminator = recipe.build("discriminator").to(device).to(memory_format=layout)
    objective = OBJECTIVES[recipe.adversarial.objective] if recipe.adversarial else None
    degrade = recipe.build("degradation")
    if isinstance(degrade, nn.Module):
        degrade = degrade.to(device)
    terms = {name: _term(recipe, name, device) for name in recipe.losses}
    return Parts(recipe, net, discriminator, objective, terms, degrade)


def compile_networks(built: Parts, device: torch.device) -> None:
    """Have both networks compiled (`torch.compile`) when they first run; names of weights stay.

    InputError: nothing can be compiled here: on a CPU, that takes a C++ compiler.
    """
    try:
        torch.compile(lambda x: x + 1)(torch.ones(1, device=device))
    except Exception as error:  # each backend has its own kinds
        first = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(f"torch.compile doesn't work on this machine: {first[0]}") from error
    # Two gradients are taken of one pass; by default a compiled one frees its buffers at the first.
    from torch._functorch import config

    if hasattr(config, "donated_buffer"):
        config.donated_buffer = False
    for network in built.networks:
        network.compile()


def preserved_rng(device: torch.device) -> AbstractContextManager[None]:
    """Return a context that leaves torch's random states as they were."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])


@torch.no_grad()
def rehearse(recipe: Recipe, built: Parts, device: torch.device) -> None:
    """Go through one tiny batch, so that parts which don't fit fail before the run.

    Weights, buffers and random states stay. RecipeError: shapes that don't fit, a value that a
    part rejects, or a loss that gets nothing to work with.
    """
    for network in built.networks:
        network.eval()
    try:
        with preserved_rng(device):
            _go_through(recipe, built, device)
    except RecipeError:
        raise
    except (SrkitError, ValueError, RuntimeError) as error:
        if ran_out(error):
            raise
        raise RecipeError(f"recipe '{recipe.name}': {error}") from error
    finally:
        for network in built.networks:
            network.train()


def _go_through(recipe: Recipe, built: Parts, device: torch.device) -> None:
    side = recipe.data.size
    hr = torch.rand(2, 3, side, side, device=device)
    lr = built.lr(hr, torch.arange(2, device=device))
    wanted = side // recipe.scale
    if lr.shape != (2, 3, wanted, wanted):
        raise RecipeError(
            f"degradation '{recipe.degradation.name}' makes {lr.shape[-2]}x{lr.shape[-1]} of "
            f"{side}x{side}, and scale {recipe.scale} needs {wanted}x{wanted}"
        )
    sr = built.sr(lr)
    if sr.shape != hr.shape:
        raise RecipeError(
            f"generator '{recipe.generator.name}' gives {tuple(sr.shape)}, "
            f"and scale {recipe.scale} needs {tuple(hr.shape)}"
        )
    if next(built.generator.parameters(), None) is None:
        raise RecipeError(f"generator '{recipe.generator.name}' has no weights to train")
    tensors: dict[str, Any] = {"sr": sr, "hr": hr, "lr": lr}
    if built.discriminator is not None:
        tensors |= {"real": built.output(hr), "fake": built.output(sr)}
    for term in built.terms.values():
        term(tensors)
    for metric in METRICS:  # some want images of a least size
        registry.build("metrics", metric)(sr.cpu(), hr.cpu())
