"""Adversarial objectives against their formulas, and which way they push."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from srkit.training.objectives import OBJECTIVES

Array = NDArray[np.float64]


def d(logits: Array) -> Array:
    return 1 / (1 + np.exp(-logits))


def eq1(real: Array, fake: Array) -> float:
    """Eq. 1's value: E[log D(x)] + E[log(1 - D(G(z)))]."""
    return float(np.mean(np.log(d(real))) + np.mean(np.log(1 - d(fake))))


def relativistic(real: Array, fake: Array) -> float:
    return -float(
        np.mean(np.log(d(real - fake.mean()))) + np.mean(np.log(1 - d(fake - real.mean())))
    )


FORMULAS = {
    "minimax": (
        lambda r, f: -eq1(r, f),  # D maximises eq. 1
        lambda r, f: np.mean(np.log(1 - d(f))),  # G minimises the term of it that G is in
    ),
    "non-saturating": (lambda r, f: -eq1(r, f), lambda r, f: -np.mean(np.log(d(f)))),
    "hinge": (
        lambda r, f: np.mean(np.maximum(0, 1 - r)) + np.mean(np.maximum(0, 1 + f)),
        lambda r, f: -np.mean(f),
    ),
    "relativistic": (relativistic, lambda r, f: relativistic(f, r)),
}


def test_every_objective_has_a_formula_here() -> None:
    assert FORMULAS.keys() == OBJECTIVES.keys()


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("shape", [(1,), (8,), (4, 1, 3, 5)])
def test_objectives_equal_their_formulas(name: str, shape: tuple[int, ...]) -> None:
    real = 3 * torch.randn(shape, dtype=torch.float64)
    fake = 3 * torch.randn(shape, dtype=torch.float64)
    discriminator, generator = FORMULAS[name]
    objective = OBJECTIVES[name]
    r, f = real.numpy(), fake.numpy()
    assert objective.discriminator(real, fake).item() == pytest.approx(discriminator(r, f))
    assert objective.generator(real, fake).item() == pytest.approx(generator(r, f))


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("r", [-1e4, 0.0, 1e4])
@pytest.mark.parametrize("f", [-1e4, 0.0, 1e4])
def test_objectives_are_finite_at_extreme_logits(name: str, r: float, f: float) -> None:
    for side in ("discriminator", "generator"):
        real = torch.full((4,), r, requires_grad=True)
        fake = torch.full((4,), f, requires_grad=True)
        value = getattr(OBJECTIVES[name], side)(real, fake)
        gradients = torch.autograd.grad(value, [real, fake], allow_unused=True)
        assert torch.isfinite(value)
        assert all(torch.isfinite(g).all() for g in gradients if g is not None)


@pytest.mark.parametrize("name", FORMULAS)
def test_the_discriminator_raises_real_and_lowers_fake(name: str) -> None:
    real = torch.randn(8).clamp(-0.9, 0.9).requires_grad_()
    fake = torch.randn(8).clamp(-0.9, 0.9).requires_grad_()
    loss = OBJECTIVES[name].discriminator(real, fake)
    up, down = torch.autograd.grad(loss, [real, fake])
    assert (up < 0).all()
    assert (down > 0).all()


@pytest.mark.parametrize("name", FORMULAS)
def test_the_generator_raises_fake(name: str) -> None:
    fake = torch.randn(8, requires_grad=True)
    (gradient,) = torch.autograd.grad(OBJECTIVES[name].generator(torch.randn(8), fake), fake)
    assert (gradient < 0).all()


def test_minimax_saturates_where_the_discriminator_is_sure_and_the_other_does_not() -> None:
    gradients = {}
    for name in ("minimax", "non-saturating"):
        fake = torch.tensor([-20.0], requires_grad=True)
        OBJECTIVES[name].generator(fake.detach(), fake).backward()
        assert fake.grad is not None
        gradients[name] = abs(fake.grad.item())
    assert gradients["minimax"] < 1e-8
    assert gradients["non-saturating"] == pytest.approx(1)


def test_minimax_is_one_game_both_play_for_the_same_value() -> None:
    # G's gradient at the fakes is D's, turned around: simultaneous play on eq. 1.
    real, fake = torch.randn(8), torch.randn(8, requires_grad=True)
    game = OBJECTIVES["minimax"]
    (hers,) = torch.autograd.grad(game.discriminator(real, fake), fake)
    (his,) = torch.autograd.grad(game.generator(real, fake), fake)
    torch.testing.assert_close(his, -hers)
