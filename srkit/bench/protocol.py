"""What was measured on what, and how: without it a decibel means nothing."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from srkit import checkpoint, images, registry


@dataclass(frozen=True)
class Protocol:
    """How HR and LR pictures come about, and how they are compared.

    The defaults are the protocol ``paper``: the whole picture squashed to 64x64 by Pillow's
    bicubic, antialiased bicubic to a quarter, Gaussian noise of sigma 0.02, 8 bits.

    Attributes:
        framing: ``squash``, ``square``, or ``mtcnn`` (a detected face's box, widened).
        size: Side of HR in pixels.
        scale: Enlargement factor.
        degradation: Registered name; its noise for picture ``i`` follows from ``seed + i``.
        options: The degradation's, where they aren't its defaults.
        seed: Of noise and draws.
        scores: How single pictures become one number.
    """

    framing: Literal["squash", "square", "mtcnn"] = "squash"
    size: int = 64
    scale: int = 4
    degradation: str = "faces-x4"
    options: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    scores: str = (
        "8-bit sr against 8-bit hr, no border cut, mean over pictures; SSIM with a Gaussian "
        "window of sigma 1.5, mean over RGB; Y is BT.601 luma in 16..235"
    )

    def degrade(self, hr: Tensor) -> Tensor:
        """Return lr, ``N3hw``, of all pictures at once, ``N3HW``; order decides the noise."""
        built = registry.build_scaled("degradations", self.degradation, self.scale, self.options)
        seeds = self.seed + torch.arange(len(hr), device=hr.device)
        lr: Tensor = built(hr, seeds=seeds)
        return lr

    def stamp(self, files: list[Path]) -> dict[str, Any]:
        """Return every field, the files' fingerprint and the versions, for a report.

        The degradation's options are given in full, so that a changed default shows.
        """
        known = registry.options("degradations", self.degradation)
        defaults = {option.name: option.default for option in known if not option.required}
        provider = registry.provenance("degradations", self.degradation)
        return {
            **asdict(self),
            "options": {**defaults, **self.options},
            "provider": provider,
            "files": len(files),
            "fingerprint": fingerprint(files),
            "versions": checkpoint.versions(),
        }


def fingerprint(files: list[Path]) -> str:
    """Return 16 hexadecimal digits that files of the same names and bytes share, in order."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


def hr_pictures(files: list[Path], protocol: Protocol) -> Tensor:
    """Return the HR pictures of a quality protocol, ``N3HW`` in [0, 1].

    Raises:
        InputError: A file can't be read: a table with a hole would compare different sets.
        ValueError: The protocol frames faces, not pictures.
    """
    framing = protocol.framing
    if framing == "mtcnn":
        raise ValueError("a protocol with framing 'mtcnn' is for identity, not for quality")
    framed = (images.frame(images.read(file).rgb, framing, protocol.size) for file in files)
    return torch.cat([images.to_tensor(image) for image in framed])
