"""Plain distances between sr and hr, averaged over all values."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class L1Loss(nn.Module):
    """Mean absolute difference."""

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Return the loss of ``sr`` against ``hr``, both ``B3HW`` in [0, 1]."""
        return (sr - hr).abs().mean()


class MseLoss(nn.Module):
    """Mean squared difference."""

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Return the loss of ``sr`` against ``hr``, both ``B3HW`` in [0, 1]."""
        return (sr - hr).square().mean()


class LogMseLoss(nn.Module):
    """Mean over the images of the logarithm of their mean squared error.

    The mean PSNR, up to a factor: each image's relative gain counts the same, however hard the
    image is.

    Args:
        epsilon: Added to each error, in squared units of [0, 1].
    """

    def __init__(self, *, epsilon: float = 1e-6) -> None:
        super().__init__()
        self.epsilon = epsilon

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Return the loss of ``sr`` against ``hr``, both ``B3HW`` in [0, 1]."""
        return ((sr - hr).square().mean(dim=(1, 2, 3)) + self.epsilon).log().mean()


class CharbonnierLoss(nn.Module):
    """Mean of sqrt(difference squared + epsilon squared): L1, smooth at zero.

    Args:
        epsilon: In units of [0, 1].
    """

    def __init__(self, *, epsilon: float = 1e-3) -> None:
        super().__init__()
        self.epsilon = epsilon

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Return the loss of ``sr`` against ``hr``, both ``B3HW`` in [0, 1]."""
        return torch.sqrt((sr - hr).square() + self.epsilon**2).mean()
