"""VIF by torchmetrics: how much of the original's information a result still has."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics.functional.image import visual_information_fidelity

LUMA = (0.299, 0.587, 0.114)  # BT.601


class Vif:
    """VIF of pixels (Sheikh and Bovik, 2006) on BT.601 luma, by torchmetrics; higher is better.

    It is their approximation VIFP, on four scales: 1 for equal images, about 0 where nothing of the
    original is left, above 1 for a result of more contrast. Sides of 41 pixels or more.
    """

    title, unit, higher_is_better = "VIF", "", True
    missing = "an hr image without detail holds no information"

    def __call__(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Return a score an image, float64, shape ``B``, for ``B3HW`` in [0, 1], of 8 bits.

        It is not a number where hr is flat.

        Raises:
            ValueError: Shapes differ, or images are too small.
        """
        if sr.shape != hr.shape:
            raise ValueError(f"sr {tuple(sr.shape)} and hr {tuple(hr.shape)} differ in shape")
        pairs = zip(_luma(sr).split(1), _luma(hr).split(1), strict=True)
        return torch.stack([visual_information_fidelity(a, b) for a, b in pairs])


def _luma(images: Tensor) -> Tensor:
    """Return luma in 0..255, ``B1HW``, float64 (on the CPU, as not every device has that)."""
    rgb = images.detach().clamp(0, 1).mul(255).round().cpu().double()
    return torch.einsum("bchw,c->bhw", rgb, torch.tensor(LUMA, dtype=torch.float64))[:, None]
