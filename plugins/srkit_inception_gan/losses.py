"""Equations 2, 3 and 4 of the paper."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from srkit import DiscriminatorOutput, SrkitError

Root = Literal["image", "value"]


def distance(a: Tensor, b: Tensor, root: Root) -> Tensor:
    """Return the distance of eq. 2 and 3 between two batches of one shape, a scalar.

    Root ``image``: the mean Euclidean norm; ``value``: the mean absolute difference.
    """
    if root == "value":
        return (a - b).abs().mean()
    norms: Tensor = torch.linalg.vector_norm((a - b).flatten(1), dim=1)
    return norms.mean()


class PixelLoss(nn.Module):
    """Pixel-wise distance between sr and hr (eq. 2, P7).

    The paper leaves open whether the root is per image or per value; it calls the same form an
    L2 distance at eq. 3, so the default is each image's Euclidean norm. Its gradient is zero at
    zero error.

    Args:
        root: ``image`` (a norm) or ``value`` (then it is L1).
    """

    def __init__(self, *, root: Root = "image") -> None:
        super().__init__()
        self.root: Root = root

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Return the loss of ``sr`` against ``hr``, both ``B3HW`` in [0, 1]."""
        return distance(sr, hr, self.root)


class FeatureLoss(nn.Module):
    """Feature-wise distance between phi(sr) and phi(hr) (eq. 3, P8).

    phi is the last feature of the discriminator, whose weights the generator's step leaves alone;
    phi(hr) is a constant to it.

    Args:
        root: As for the pixel loss, from which eq. 3 takes its distance.
    """

    def __init__(self, *, root: Root = "image") -> None:
        super().__init__()
        self.root: Root = root

    def forward(self, real: DiscriminatorOutput, fake: DiscriminatorOutput) -> Tensor:
        """Return the loss between what the discriminator saw in hr and in sr.

        Raises:
            SrkitError: The discriminator gives no features.
        """
        if not fake.features or not real.features:
            raise SrkitError("loss 'feature' needs a discriminator that gives features")
        return distance(fake.features[-1], real.features[-1].detach(), self.root)


class PsnrLoss(nn.Module):
    """Minus the PSNR of the batch, in decibels (eq. 4, P9); training maximises the PSNR.

    MSE averages over the images and their pixels before the one logarithm, MAX is 1.

    Args:
        ceiling: PSNR in dB at which it stops: where the MSE is lower, zero included, the loss
            is ``-ceiling`` and its gradient zero.
    """

    def __init__(self, *, ceiling: float = 100.0) -> None:
        super().__init__()
        self.least = 10 ** (-ceiling / 10)

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Return the loss of ``sr`` against ``hr``, both ``B3HW`` in [0, 1]."""
        mse = (sr - hr).square().mean().clamp(min=self.least)
        return 10 / math.log(10) * torch.log(mse)
