"""The paper's discriminator, after Ledig et al. (SRGAN)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from srkit import DiscriminatorOutput
from srkit_inception_gan.generator import glorot, kernels

# (kernels, stride) of the seven 3x3 convolutions: as in VGG, doubled at every halving (P5).
LAYERS = ((64, 1), (64, 2), (128, 1), (128, 2), (256, 1), (256, 2), (512, 1))


class PlainDiscriminator(nn.Module):
    """Seven 3x3 and two 1x1 convolutions, global average, one logit (section III, P5).

    ReLU after each convolution but the last, where it would pin the probability at or above
    one half. The first 1x1 convolution has 1,024 kernels (open in the paper; SRGAN's dense layer
    has as many). The feature is the activation of the 5th convolution, after its ReLU (P8).

    Args:
        width: Multiplies all kernel counts; a ValueError if it isn't positive.
        normalise: Batch normalisation after each 3x3 convolution but the first, as in SRGAN; the
            paper mentions none here.
    """

    small: ClassVar[dict[str, object]] = {"width": 0.1}

    def __init__(self, *, width: float = 1.0, normalise: bool = False) -> None:
        super().__init__()
        blocks: list[nn.Sequential] = []
        before = 3
        for count, stride in LAYERS:
            after = kernels(count, width)
            norm = [nn.BatchNorm2d(after)] if normalise and blocks else []
            convolution = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=not norm)
            blocks.append(nn.Sequential(convolution, *norm, nn.ReLU(inplace=True)))
            before = after
        hidden = kernels(1024, width)
        self.first_five = nn.Sequential(*blocks[:5])
        self.last_two = nn.Sequential(*blocks[5:])
        self.head = nn.Sequential(
            nn.Conv2d(before, hidden, 1), nn.ReLU(inplace=True), nn.Conv2d(hidden, 1, 1)
        )
        self.apply(glorot)

    def forward(self, image: Tensor) -> DiscriminatorOutput:
        """Map images (B3HW in [0, 1]) to logits (B) and the 5th activation (B C H/4 W/4)."""
        fifth = self.first_five(image * 2 - 1)
        logits = self.head(self.last_two(fifth)).mean(dim=(1, 2, 3))
        return DiscriminatorOutput(logits, (fifth,))
