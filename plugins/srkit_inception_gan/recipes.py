"""The paper's four scenarios as complete recipes (P12, P13)."""

from __future__ import annotations

from srkit import Adversarial, Data, Loss, Optimizer, Part, Recipe

# P16: batches that fit into the paper's two hours, scenario 1; the same for all four here, so
# that they differ in their losses alone. The paper compares at equal time: give --steps.
STEPS = 41_410


# P10 leaves the weights open. These are chosen from the gradient norms at sr and from who wins the
# game; docs/paper.md, "The weights", has the numbers. In short: eq. 1 saturates, so once the
# discriminator is right on nearly every picture the adversarial term has nothing left to teach.
# The weights keep that from happening: the adversarial term outweighs the pixel term, and the
# feature and PSNR terms, whose norms are of the pixel term's order, are kept well below it.
PIXEL, ADVERSARIAL, FEATURE, PSNR = 1.0, 2.0, 0.1, 0.2


def _scenario(name: str, losses: dict[str, Loss], *, adversary: bool) -> Recipe:
    return Recipe(
        name=name,
        scale=4,
        steps=STEPS,
        batch_size=32,
        generator=Part.of("inception-residual"),
        discriminator=Part.of("srgan-plain") if adversary else None,
        adversarial=Adversarial(objective="minimax", weight=ADVERSARIAL) if adversary else None,
        losses=losses,
        degradation=Part.of("faces-x4"),
        data=Data(framing="squash", size=64, flips=False),
        optimizer=Optimizer(
            learning_rate=2e-4, betas=(0.5, 0.999), schedule="step", step_size=5000, gamma=0.5
        ),
    )


def pixel() -> Recipe:
    """Scenario 1: pixel-wise loss only, no adversary."""
    return _scenario("inception-gan-pixel", {"pixel": Loss(weight=PIXEL)}, adversary=False)


def adversarial() -> Recipe:
    """Scenario 2: adversarial and pixel-wise."""
    return _scenario("inception-gan-adversarial", {"pixel": Loss(weight=PIXEL)}, adversary=True)


def feature() -> Recipe:
    """Scenario 3: adversarial, pixel-wise and feature-wise."""
    losses = {"pixel": Loss(weight=PIXEL), "feature": Loss(weight=FEATURE)}
    return _scenario("inception-gan-feature", losses, adversary=True)


def psnr() -> Recipe:
    """Scenario 4: adversarial, pixel-wise, feature-wise and PSNR; the paper's proposal."""
    losses = {
        "pixel": Loss(weight=PIXEL),
        "feature": Loss(weight=FEATURE),
        "psnr": Loss(weight=PSNR),
    }
    return _scenario("inception-gan", losses, adversary=True)
