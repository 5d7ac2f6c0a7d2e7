"""A discriminator that judges patches."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from srkit import DiscriminatorOutput


class PatchDiscriminator(nn.Module):
    """Three strided 4x4 convolutions without normalisation, and one logit for each 8x8 pixels.

    A small PatchGAN (Isola et al., 2017, section 3.2.2) for images of any size from 8 pixels. It
    has no batch normalisation, which would tell real batches from generated ones by their means.

    Args:
        width: Feature maps of the first convolution.
    """

    small: ClassVar[dict[str, object]] = {"width": 8}

    def __init__(self, *, width: int = 64) -> None:
        super().__init__()
        widths = (3, width, 2 * width, 4 * width)
        self.layers = nn.ModuleList(
            nn.Conv2d(before, after, 4, stride=2, padding=1) for before, after in pairwise(widths)
        )
        self.head = nn.Conv2d(4 * width, 1, 3, padding=1)

    def forward(self, image: Tensor) -> DiscriminatorOutput:
        """Map images (B3HW in [0, 1]) to logits (B1hw, h = H // 8) and the feature maps."""
        x, features = image * 2 - 1, []
        for layer in self.layers:
            x = leaky_relu(layer(x), 0.2)
            features.append(x)
        return DiscriminatorOutput(self.head(x), tuple(features))
