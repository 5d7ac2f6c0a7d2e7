"""Equations 2, 3 and 4 of the paper."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from srkit import DiscriminatorOutput, SrkitError


def distance(a: Tensor, b: Tensor) -> Tensor:
    """Return the distance of eq. 2 and 3 between two batches of one shape: the mean L2 norm."""
    norms: Tensor = torch.linalg.vector_norm((a - b).flatten(1), dim=1)
    return norms.mean()


class PixelLoss(nn.Module):
    """Pixel-wise distance between sr and hr (eq. 2, P7).

    The paper leaves open whether the root is per image or per value; it calls the same form an
    L2 distance at eq. 3, so it is each image's Euclidean norm. Its gradient is zero at zero error.
    """

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Return the loss of ``sr`` against ``hr``, both ``B3HW`` in [0, 1]."""
        return distance(sr, hr)


class FeatureLoss(nn.Module):
    """Feature-wise distance between phi(sr) and phi(hr) (eq. 3, P8).

    phi is the last feature of the discriminator, whose weights stay; phi(hr) is a constant.
    """

    def forward(self, real: DiscriminatorOutput, fake: DiscriminatorOutput) -> Tensor:
        """Return the distance between the discriminator's last features of hr and of sr."""
        if not fake.features or not real.features:
            raise SrkitError("loss 'feature' needs a discriminator that gives features")
        return distance(fake.features[-1], real.features[-1].detach())


class PsnrLoss(nn.Module):
    """Minus the PSNR of the batch, in decibels (eq. 4, P9); training maximises the PSNR.

    MSE averages over the images and their pixels before the one logarithm, MAX is 1. From 100 dB
    on, equal images included, the loss is -100 and its gradient zero.
    """

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Return the loss of ``sr`` against ``hr``, both ``B3HW`` in [0, 1]."""
        mse = (sr - hr).square().mean().clamp(min=1e-10)
        return 10 / math.log(10) * torch.log(mse)
