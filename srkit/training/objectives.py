"""Adversarial objectives over logits: what the two networks minimise.

``real`` and ``fake`` are the discriminator's logits (any equal shapes); D(x) is their sigmoid.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import relu, softplus


@dataclass(frozen=True)
class Objective:
    """A pair of scalars to minimise, each a function of (real, fake) logits."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor, Tensor], Tensor]


def _bce(real: Tensor, fake: Tensor) -> Tensor:
    # -log D(x) = softplus(-real) and -log(1 - D(G(z))) = softplus(fake): no overflow.
    return softplus(-real).mean() + softplus(fake).mean()


def _average_relativistic(real: Tensor, fake: Tensor) -> Tensor:
    return softplus(-(real - fake.mean())).mean() + softplus(fake - real.mean()).mean()


OBJECTIVES: Mapping[str, Objective] = {
    # Goodfellow et al. (2014), the paper's eq. 1: G minimises E[log(1 - D(G(z)))] itself.
    "minimax": Objective(_bce, lambda real, fake: -softplus(fake).mean()),
    # Goodfellow et al. (2014), section 3: the same optimum, gradients that don't vanish.
    "non-saturating": Objective(_bce, lambda real, fake: softplus(-fake).mean()),
    # Lim and Ye (2017).
    "hinge": Objective(
        lambda real, fake: relu(1 - real).mean() + relu(1 + fake).mean(),
        lambda real, fake: -fake.mean(),
    ),
    # Jolicoeur-Martineau (2018), relativistic average.
    "relativistic": Objective(
        _average_relativistic, lambda real, fake: _average_relativistic(fake, real)
    ),
}
