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


SHA256 = "693d214a7b3d9f217dc2cec39c58eb0e5f2b96221f3038e0a17e5cbc08d5f95d"
