"""A recipe for each network of the literature: its paper's losses, on srkit's data and framing."""

from __future__ import annotations

from srkit import Adversarial, Data, Loss, Optimizer, Part, Recipe


def _recipe(
    name: str,
    losses: dict[str, Loss],
    *,
    learning_rate: float = 1e-3,
    generator: Part | None = None,
    discriminator: Part | None = None,
    adversarial: Adversarial | None = None,
    clip: float | None = None,
) -> Recipe:
    """16 to 64 pixels, with the paper's own noise; cosine for a fair end at any length."""
    return Recipe(
        name=name,
        steps=20_000,
        batch_size=32,
        generator=generator or Part.of(name),
        discriminator=discriminator,
        adversarial=adversarial,
        losses=losses,
        degradation=Part.of("faces-x4"),
        data=Data(framing="squash", size=64),
        optimizer=Optimizer(learning_rate=learning_rate, schedule="cosine", warmup=100, clip=clip),
    )


_L1 = {"l1": Loss(weight=1.0)}
_MSE = {"mse": Loss(weight=1.0)}


def srcnn() -> Recipe:
    """SRCNN: squared error (Dong et al., 2014)."""
    return _recipe("srcnn", _MSE)


def fsrcnn() -> Recipe:
    """FSRCNN: squared error (Dong et al., 2016)."""
    return _recipe("fsrcnn", _MSE)


def vdsr() -> Recipe:
    """VDSR: squared error with clipped gradients (Kim et al., 2016)."""
    return _recipe("vdsr", _MSE, clip=0.4)


def drcn() -> Recipe:
    """DRCN: squared error, every recursion supervised (Kim et al., 2016)."""
    return _recipe("drcn", _MSE, clip=0.4)


def srresnet() -> Recipe:
    """SRResNet: squared error (Ledig et al., 2017)."""
    return _recipe("srresnet", _MSE, learning_rate=4e-4)


def edsr() -> Recipe:
    """EDSR's baseline: mean absolute error (Lim et al., 2017)."""
    return _recipe("edsr", _L1, learning_rate=4e-4)


def rrdb() -> Recipe:
    """RRDB, ESRGAN's generator before the adversary: mean absolute error (Wang et al., 2018)."""
    return _recipe("rrdb", _L1, learning_rate=2e-4)


def urdgn() -> Recipe:
    """URDGN: squared error and an adversary of weight .01 (Yu and Porikli, 2016, section 3)."""
    return _recipe(
        "urdgn",
        _MSE,
        learning_rate=1e-3,
        discriminator=Part.of("srgan"),
        adversarial=Adversarial(objective="non-saturating", weight=0.01),
    )


def sparnet_light() -> Recipe:
    """SPARNet: mean absolute error (Chen et al., 2020)."""
    return _recipe("sparnet-light", _L1, learning_rate=4e-4)


def srgan() -> Recipe:
    """SRGAN on squared error: the paper's SRGAN-MSE, which needs no weights of VGG.

    Ledig et al. (2017), table 1. Begin from SRResNet as they do:
    ``srkit train srgan --init runs/srresnet``.
    """
    return _recipe(
        "srgan",
        _MSE,
        learning_rate=1e-4,
        generator=Part.of("srresnet"),
        discriminator=Part.of("srgan"),
        adversarial=Adversarial(objective="non-saturating", weight=1e-3),
    )
