"""Recipes for our own generator."""

from __future__ import annotations

from srkit import Data, Loss, Optimizer, Part, Recipe


def faces() -> Recipe:
    """The shipped default: compact, square framing, L1, noise from none to twice the protocol's."""
    return Recipe(
        name="faces",
        steps=8000,
        generator=Part.of("face-residual"),
        losses={"l1": Loss(weight=1.0)},
        degradation=Part.of("faces-x4", noise=[0.0, 0.04]),
        data=Data(framing="square", size=64, flips=True),
        optimizer=Optimizer(learning_rate=1e-3, schedule="cosine", warmup=100),
        ema=0.999,
    )


def faces_tiny() -> Recipe:
    """17,000 parameters: learns something in a minute on a laptop."""
    return faces().changed(
        {
            "name": "faces-tiny",
            "steps": 1200,
            "batch_size": 16,
            "validate_every": 300,
            "generator.width": 16,
            "generator.blocks": 2,
            "optimizer.warmup": 20,
            "ema": 0.99,
        }
    )
