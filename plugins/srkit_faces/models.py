"""The weights that ship with srkit."""

from __future__ import annotations

from pathlib import Path

from srkit import ReadyModel

FOLDER = Path(__file__).parent / "weights"


def faces() -> ReadyModel:
    """Small faces x4: face-residual, 0.7 M parameters, trained on CelebA (research terms)."""
    return ReadyModel(
        description="Small faces x4: face-residual, 0.7 M parameters, trained on CelebA",
        licence="CelebA agreement: non-commercial research (weights/LICENSE.md)",
        file=FOLDER / "faces.safetensors",
        sha256=SHA256,
        card=FOLDER / "faces.md",
    )


SHA256 = "8304797595e4ed8785476f2ddfb0be81b7f1f081926a0e03ccc6ac903206db9e"
