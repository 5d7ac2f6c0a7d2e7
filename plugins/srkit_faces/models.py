"""The weights that ship with srkit."""

from __future__ import annotations

from pathlib import Path

from srkit import ReadyModel

FOLDER = Path(__file__).parent / "weights"


def _shipped(
    name: str,
    description: str,
    sha256: str,
    *,
    graph: str = "faces",
    card: str = "",
    data: str = "CelebA and UTKFace",
    scale: int = 4,
) -> ReadyModel:
    """Return weights of this folder; those of one network share its graph."""
    return ReadyModel(
        description=description,
        licence=f"{data}: non-commercial research (weights/LICENSE.md)",
        file=FOLDER / f"{name}.safetensors",
        sha256=sha256,
        card=FOLDER / f"{card or name}.md",
        graph=FOLDER / f"{graph}.graph.json",
        scale=scale,
    )


def faces() -> ReadyModel:
    """Faces as people have them, x4: face-hourglass, 4.5 M parameters (research terms)."""
    return _shipped(
        "faces",
        "Faces of 12 to 64 px, x4: clean, blurred, noisy or JPEG, in any framing",
        "d94c9b1d45a3e2f4fbd26b50809a0e26fb5bac6e8a6e5ceee618030073357e52",
    )


def faces_clean() -> ReadyModel:
    """Clean, aligned faces of 16 px, x4: face-hourglass, 4.5 M parameters (research terms)."""
    return _shipped(
        "faces-clean",
        "Clean faces of 16 px, x4: nearest to the truth there, bad on JPEG",
        "f31607687f8a2682c43376a48eb714d9f5120800b7561ae475b4f6288d236b80",
    )


def faces_crisp() -> ReadyModel:
    """Faces as people have them, sharp rather than near to the truth, x4 (research terms)."""
    return _shipped(
        "faces-crisp",
        "Faces of 12 to 64 px, x4: sharper than faces, and farther from the truth",
        "be4173b026425c2a8dba4f700cc432bec504e9d4e383c7d9d2835c428425bf08",
    )


def faces_identity() -> ReadyModel:
    """Clean, aligned faces of 16 px, kept recognisable, x4: face-hourglass (research terms)."""
    return _shipped(
        "faces-identity",
        "Clean faces of 16 px, x4: as faces-clean, more recognisable to FaceNet and dlib",
        "231669685ed73704c75e7afa9ff50dc5091b980d4064ce6d1d60ef056ce1475a",
        data="CelebA, UTKFace and LFW",
    )


def faces_x8() -> ReadyModel:
    """Clean faces of 16 px, x8: face-hourglass, 6.7 M parameters (research terms)."""
    return _shipped(
        "faces-x8",
        "Clean faces of 16 px, x8",
        "0c9d9dd5de5459a8bf9fd30fc3bb500ce3c3e73d401feaf29d262dbe6bb9ce08",
        graph="faces-x8",
        scale=8,
    )


def inception_gan() -> ReadyModel:
    """Clean faces framed as CelebA's, x4: the paper's scenario 4, to compare with."""
    return _paper(
        "inception-gan",
        "Clean faces of 16 px, x4: the paper's scenario 4 (all losses), to compare with",
        "ca605c322a2ee9b372f34c0bb3d49e5057a4a2fee0b023f52022282c9a72da9a",
    )


def inception_gan_pixel() -> ReadyModel:
    """Clean faces framed as CelebA's, x4: the paper's scenario 1, to compare with."""
    return _paper(
        "inception-gan-pixel",
        "Clean faces of 16 px, x4: the paper's scenario 1 (pixel loss), to compare with",
        "de0b8ea4c43e46733d6a0751b333c436d35ed355da9191c059d8db27bb23984f",
    )


def _paper(name: str, description: str, sha256: str) -> ReadyModel:
    of_both = "inception-gan"
    return _shipped(name, description, sha256, graph=of_both, card=of_both, data="CelebA")
