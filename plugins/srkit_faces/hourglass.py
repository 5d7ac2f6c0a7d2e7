"""An hourglass of residual blocks: it sees a whole face, and computes where pixels are few."""

from __future__ import annotations

from collections import OrderedDict
from typing import ClassVar, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, leaky_relu, pad, pixel_shuffle

from srkit import bicubic

Convolution = TypeVar("Convolution", bound=nn.Conv2d)


class Block(nn.Module):
    """3x3 convolution, leaky ReLU, 3x3 convolution, added to the input; starts as the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = _starting_at_zero(nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``B(width)hw`` to the same shape."""
        y: Tensor = self.second(leaky_relu(self.first(x), 0.1))
        return x + y


class BetweenShuffles(nn.Conv2d):
    """3x3 convolution between two pixel shuffles by 2, all three computed before the first.

    A shuffle and the maps that it makes take longer than this convolution. One of 2x2 kernels on
    what is not yet shuffled gives the same: each position sees 2x2 inputs of four pixels each, and
    makes the 2x2 pixels in their middle, which one shuffle by 4 spreads, with the four of each.

    Args:
        width: Feature maps after the first shuffle, a quarter of the input's.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, 12, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``B(4 width)hw`` to ``B3HW``, H = 4 * h."""
        assert self.bias is not None
        # By output pixel of the four; then colour, its pixel within the last shuffle, and map;
        # then input and its pixel, of rows and of columns.
        places = [(row, column) for row in (0, 1) for column in (0, 1)]
        shifted = [pad(self.weight, (b, 1 - b, a, 1 - a)) for a, b in places]
        taps = torch.stack(shifted).view(2, 2, 3, 2, 2, -1, 2, 2, 2, 2)
        weight = taps.permute(2, 0, 3, 1, 4, 5, 7, 9, 6, 8).reshape(48, -1, 2, 2)
        bias = self.bias.view(3, 1, 2, 1, 2).expand(3, 2, 2, 2, 2).reshape(48)
        return pixel_shuffle(conv2d(x, weight, bias, padding=1), 4)[..., 2:-2, 2:-2]


def _starting_at_zero(layer: Convolution) -> Convolution:
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def _blocks(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(Block(width) for _ in range(count)))


class FaceHourglass(nn.Module):
    """Residual blocks at the input's size, half and quarter of it, then pixel shuffles.

    As FSRNet's and SPARNet's bodies it sees the whole of a small face (Chen et al., 2018, section
    3.3; Chen et al., 2020, section III), without normalisation, as EDSR (Lim et al., 2017). The
    result is added to bicubic interpolation, which an untrained network gives.

    Args:
        scale: 2, 4 or 8.
        widths: Feature maps at the input's size, at half and at a quarter of it.
        blocks: Residual blocks at the input's size and at half of it, on the way down and again
            on the way up, and at a quarter.
        tail_width: Feature maps after each pixel shuffle but the last.

    Raises:
        ValueError: Another scale, or less than no blocks.
    """

    small: ClassVar[dict[str, object]] = {"widths": (8, 8, 8), "blocks": (1, 1, 1), "tail_width": 8}

    alignment = 4  # LR pixels: only tiles that start at multiples of it equal the whole image

    def __init__(
        self,
        *,
        scale: int = 4,
        widths: tuple[int, int, int] = (64, 128, 192),
        blocks: tuple[int, int, int] = (2, 2, 4),
        tail_width: int = 48,
    ) -> None:
        super().__init__()
        if scale not in (2, 4, 8):
            raise ValueError(f"scale is 2, 4 or 8, not {scale}")
        if min(blocks) < 0:
            raise ValueError(f"blocks are 0 or more, not {blocks}")
        self.scale = scale
        full, half, quarter = widths
        self.head = nn.Conv2d(3, full, 3, padding=1)
        self.down_full = _blocks(full, blocks[0])
        self.to_half = nn.Conv2d(full, half, 2, stride=2)
        self.down_half = _blocks(half, blocks[1])
        self.to_quarter = nn.Conv2d(half, quarter, 2, stride=2)
        self.middle = _blocks(quarter, blocks[2])
        self.from_quarter = nn.Sequential(nn.Conv2d(quarter, 4 * half, 1), nn.PixelShuffle(2))
        self.up_half = _blocks(half, blocks[1])
        self.from_half = nn.Sequential(nn.Conv2d(half, 4 * full, 1), nn.PixelShuffle(2))
        self.up_full = _blocks(full, blocks[0])
        width, tail = full, OrderedDict[str, nn.Module]()
        for number in range(0, 3 * (scale.bit_length() - 2), 3):
            tail[f"{number}"] = nn.Conv2d(width, 4 * tail_width, 3, padding=1)
            tail[f"{number + 1}"] = nn.LeakyReLU(0.1)
            tail[f"{number + 2}"] = nn.PixelShuffle(2)
            width = tail_width
        # Half the time of a step would go to feature maps of the output's size: there are none.
        if tail:
            name, _ = str(len(tail)), tail.popitem()  # the names in files count that shuffle
            tail[name] = _starting_at_zero(BetweenShuffles(width))
        else:
            tail |= {"0": _starting_at_zero(nn.Conv2d(width, 12, 3, padding=1))}
            tail |= {"1": nn.PixelShuffle(2)}
        self.tail = nn.Sequential(tail)
        # Two LR pixels for each block at the input's size, four at half, eight at a quarter;
        # head and tail reach three more, and the grid of quarters up to three.
        self.receptive_radius = 4 * blocks[0] + 8 * blocks[1] + 8 * blocks[2] + 6

    def forward(self, lr: Tensor) -> Tensor:
        """Map ``lr`` (B3hw in [0, 1]) to ``sr`` (B3HW), H = scale * h; may leave [0, 1]."""
        height, width = lr.shape[-2:]
        # To multiples of 4: padded by a constant and cut, which can be exported for all sizes.
        x = pad(lr - 0.5, (0, 3, 0, 3), mode="replicate")
        x = x[..., : (height + 3) // 4 * 4, : (width + 3) // 4 * 4]
        full = self.down_full(self.head(x))
        half = self.down_half(self.to_half(full))
        quarter = self.middle(self.to_quarter(half))
        half = self.up_half(self.from_quarter(quarter) + half)
        full = self.up_full(self.from_half(half) + full)
        detail: Tensor = self.tail(full)
        detail = detail[..., : height * self.scale, : width * self.scale]
        with torch.autocast(lr.device.type, enabled=False):
            return bicubic(lr.float(), self.scale) + detail.float()
