"""SRGAN's discriminator."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from srkit import DiscriminatorOutput


class SrganDiscriminator(nn.Module):
    """SRGAN's discriminator: eight 3x3 convolutions and two dense layers (Ledig et al., figure 4).

    23,565,505 parameters at HR of 96 pixels, the paper's crops.

    Args:
        size: Side of HR that the dense layer is made for, a multiple of 16; images of other sizes
            are averaged to it.
        width: Feature maps of the first convolution.

    Raises:
        ValueError: A size that isn't a multiple of 16.
    """

    small: ClassVar[dict[str, object]] = {"width": 12}

    def __init__(self, *, size: int = 64, width: int = 64) -> None:
        super().__init__()
        if size < 16 or size % 16:
            raise ValueError(f"size is a multiple of 16, not {size}")
        self.side = size // 16
        layers: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1), nn.LeakyReLU(0.2)]
        before = width
        for after, stride in [(1, 2), (2, 1), (2, 2), (4, 1), (4, 2), (8, 1), (8, 2)]:
            layers += [nn.Conv2d(before, after * width, 3, stride=stride, padding=1)]
            layers += [nn.BatchNorm2d(after * width), nn.LeakyReLU(0.2)]
            before = after * width
        self.features = nn.Sequential(*layers)
        self.dense = nn.Sequential(
            nn.Linear(before * self.side**2, 16 * width),
            nn.LeakyReLU(0.2),
            nn.Linear(16 * width, 1),
        )

    def forward(self, image: Tensor) -> DiscriminatorOutput:
        """Map images (B3HW in [0, 1]) to logits (B) and the last convolution's activation."""
        features = self.features(image * 2 - 1)
        logits = self.dense(adaptive_avg_pool2d(features, self.side).flatten(1))[:, 0]
        return DiscriminatorOutput(logits, (features,))
