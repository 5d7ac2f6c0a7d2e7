"""Recipes for our own generators."""

from __future__ import annotations

from srkit import Adversarial, Data, Loss, Optimizer, Part, Recipe

# L1 first; then the mean PSNR itself, at about the size of L1's gradient.
_PIXEL = {
    "l1": Loss(weight=1.0, during=(0.0, 0.9)),
    "log-mse": Loss(weight=0.02, during=(0.9, 1.0)),
}
_ANY_FRAMING = Data(framing="jitter", size=64, extra_sizes=(128,), crop=(0.5, 1.0))
_OPTIMIZER = Optimizer(
    learning_rate=4e-4, betas=(0.9, 0.99), schedule="cosine", warmup=300, clip=1.0
)


def faces() -> Recipe:
    """The shipped default, x4: faces of any framing, blurred, noisy or compressed."""
    return Recipe(
        name="faces",
        steps=10_500,
        batch_size=48,
        generator=Part.of("face-hourglass"),
        losses=_PIXEL,
        degradation=Part.of("web-faces"),
        data=_ANY_FRAMING,
        optimizer=_OPTIMIZER,
        ema=0.999,
    )


def faces_clean() -> Recipe:
    """The specialist of clean, aligned faces of 16 px, x4: on from `faces`."""
    return Recipe(
        name="faces-clean",
        steps=9500,
        batch_size=48,
        init="faces",
        generator=Part.of("face-hourglass"),
        losses=_PIXEL,
        degradation=Part.of("faces-x4", noise=[0.0, 0.03]),
        data=Data(framing="jitter", size=64, photo_size=128, crop=(0.92, 1.0)),
        optimizer=_OPTIMIZER.model_copy(update={"warmup": 100}),
        ema=0.999,
    )


def faces_crisp() -> Recipe:
    """Sharper than the truth allows, x4: on from `faces`, against a discriminator of patches."""
    return Recipe(
        name="faces-crisp",
        steps=1700,
        batch_size=32,
        init="faces",
        generator=Part.of("face-hourglass"),
        discriminator=Part.of("patch"),
        adversarial=Adversarial(objective="non-saturating", weight=0.02),
        losses={"l1": Loss(weight=1.0)},
        degradation=Part.of("web-faces"),
        data=_ANY_FRAMING,
        optimizer=Optimizer(learning_rate=2e-4, betas=(0.5, 0.99), warmup=50, clip=1.0),
        ema=0.995,
    )


def faces_identity() -> Recipe:
    """More recognisable, x4: on from `faces-clean` as it was trained, with FaceNet as a loss."""
    clean = faces_clean()
    identity = Loss(crop=0.85, gradient=0.5, precision="bf16")
    return clean.model_copy(
        update={
            "name": "faces-identity",
            "steps": 11_300,
            "batch_size": 24,
            "init": clean.name,
            "losses": {"l1": Loss(weight=1.0), "identity": identity},
            "data": clean.data.model_copy(update={"crop": (0.85, 1.0)}),
            "optimizer": clean.optimizer.model_copy(update={"learning_rate": 2e-4}),
            "ema": 0.998,
        }
    )


def faces_x8() -> Recipe:
    """x8, 16 to 128 pixels: clean faces, as the field's table of CelebA has them."""
    return Recipe(
        name="faces-x8",
        scale=8,
        steps=20_000,
        generator=Part.of("face-hourglass", widths=[64, 128, 256]),
        losses=_PIXEL,
        degradation=Part.of("chain"),
        data=Data(framing="jitter", size=128, crop=(0.85, 1.0)),
        optimizer=_OPTIMIZER,
        ema=0.999,
    )


def faces_tiny() -> Recipe:
    """17,000 parameters: learns something in a minute on a laptop."""
    return Recipe(
        name="faces-tiny",
        steps=1200,
        batch_size=16,
        validate_every=300,
        generator=Part.of("face-residual", width=16, blocks=2),
        losses={"l1": Loss(weight=1.0)},
        degradation=Part.of("faces-x4", noise=[0.0, 0.04]),
        optimizer=Optimizer(learning_rate=1e-3, schedule="cosine", warmup=20),
        ema=0.99,
    )
