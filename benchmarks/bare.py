"""A training step written out with nothing around it, and ratios of what took turns.

Shared by the scripts beside it. It does the mathematics of `srkit.training.step.step` with
simultaneous updates and none of its duties: no counting, no check, no average, no parts of a batch.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from srkit.hookspecs import DiscriminatorOutput
from srkit.recipe import Recipe
from srkit.training.optimizers import optimizer_for
from srkit.training.parts import build_parts

# With these the discriminator isn't always right, as it is with the recipes' plain sum; scripts
# that train the paper's scenarios for a short time take them.
WEIGHTS = {
    "adversarial.weight": 2.0,
    "losses.pixel.weight": 1.0,
    "losses.feature.weight": 0.1,
    "losses.psnr.weight": 0.2,
}
# What the paper compares, in its order (P13).
SCENARIOS = (
    "inception-gan-pixel",
    "inception-gan-adversarial",
    "inception-gan-feature",
    "inception-gan",
)


def bare_step(
    recipe: Recipe,
    device: torch.device,
    *,
    layout: torch.memory_format = torch.channels_last,
    dtype: torch.dtype | None = None,
    shared: bool = True,
) -> Callable[..., None]:
    """Return ``step(hr, seeds=…)``, or ``step(hr, lr=…)`` of degraded images.

    It has networks of its own.

    Args:
        recipe: Trains with simultaneous updates.
        device: Where.
        layout: Of networks and images.
        dtype: Type in which networks compute under autocast; their own by default.
        shared: Whether D looks at hr and sr once for both networks' losses, or once for each.
    """
    torch.manual_seed(0)
    parts = build_parts(recipe, device)
    generator, critic, objective = parts.generator, parts.discriminator, parts.objective
    networks = [network for network in (generator, critic) if network is not None]
    for network in networks:
        network.to(memory_format=layout)
    optimizers = [optimizer_for(network, recipe.optimizer) for network in networks]
    weights = list(generator.parameters())
    autocast = torch.autocast(device.type, dtype or torch.bfloat16, enabled=dtype is not None)

    def outputs(image: Tensor) -> DiscriminatorOutput:
        with autocast:
            output = critic(image)
        return DiscriminatorOutput(output.logits.float(), [f.float() for f in output.features])

    def step(hr: Tensor, *, seeds: Tensor | None = None, lr: Tensor | None = None) -> None:
        lr = parts.degrade(hr, seeds=seeds) if lr is None else lr
        lr = lr.contiguous(memory_format=layout)
        with autocast:
            sr = generator(lr).float()
        given: dict[str, Any] = {"sr": sr, "hr": hr, "lr": lr}
        if critic is not None:
            real, fake = outputs(hr), outputs(sr)
            features = tuple(feature.detach() for feature in real.features)
            given |= {"real": DiscriminatorOutput(real.logits.detach(), features), "fake": fake}
        weighted = (parts.weight(n, 0.0) * term(given) for n, term in parts.terms.items())
        loss = sum(weighted)
        for optimizer in optimizers:
            optimizer.zero_grad()
        if critic is not None and objective is not None:
            game = objective.generator(real.logits.detach(), fake.logits)
            loss = loss + parts.weight("adversarial", 0.0) * game
            loss.backward(inputs=weights, retain_graph=shared)
            if not shared:
                real, fake = outputs(hr), outputs(sr.detach())
            critic_loss = objective.discriminator(real.logits, fake.logits)
            critic_loss.backward(inputs=list(critic.parameters()))
        else:
            loss.backward()
        for optimizer in optimizers:
            optimizer.step()

    return step


def relative(one: Sequence[float], other: Sequence[float]) -> tuple[float, list[float]]:
    """Return the speed of ``other`` over that of ``one``: median and quartiles of the turns.

    Args:
        one: Seconds of its turns.
        other: Seconds of its turns, each right after that of ``one``.
    """
    ratios = sorted(a / b for a, b in zip(one, other, strict=True))
    quarter = len(ratios) // 4
    middle = round(statistics.median(ratios), 3)
    return middle, [round(ratios[quarter], 3), round(ratios[-quarter - 1], 3)]
