"""The paper's four scenarios as complete recipes (P12, P13)."""

from __future__ import annotations

from srkit import Adversarial, Data, Loss, Optimizer, Part, Recipe

STEPS = 41_410  # of scenario 1 in two hours (P16); all four differ in their losses alone

# P10 leaves the weights open: a plain sum, as the text has it. In the networks' own range, [-1, 1],
# the pixel-wise distance is twice what it is in [0, 1]. docs/paper.md, "The weights", has others.
LOSSES = {"pixel": Loss(weight=2.0), "feature": Loss(weight=1.0), "psnr": Loss(weight=1.0)}


def _scenario(name: str, *losses: str, adversary: bool = True) -> Recipe:
    return Recipe(
        name=name,
        scale=4,
        steps=STEPS,
        batch_size=32,
        generator=Part.of("inception-residual"),
        discriminator=Part.of("srgan-plain") if adversary else None,
        adversarial=Adversarial(objective="minimax", weight=1.0) if adversary else None,
        losses={loss: LOSSES[loss] for loss in losses},
        degradation=Part.of("faces-x4"),
        data=Data(framing="squash", size=64, flips=False),
        optimizer=Optimizer(
            learning_rate=2e-4, betas=(0.5, 0.999), schedule="step", step_size=5000, gamma=0.5
        ),
    )


def pixel() -> Recipe:
    """Scenario 1: pixel-wise loss only, no adversary."""
    return _scenario("inception-gan-pixel", "pixel", adversary=False)


def adversarial() -> Recipe:
    """Scenario 2: adversarial and pixel-wise."""
    return _scenario("inception-gan-adversarial", "pixel")


def feature() -> Recipe:
    """Scenario 3: adversarial, pixel-wise and feature-wise."""
    return _scenario("inception-gan-feature", "pixel", "feature")


def psnr() -> Recipe:
    """Scenario 4: adversarial, pixel-wise, feature-wise and PSNR; the paper's proposal."""
    return _scenario("inception-gan", "pixel", "feature", "psnr")
