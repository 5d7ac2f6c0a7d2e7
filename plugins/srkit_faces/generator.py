"""A compact residual network that works at the size of its input."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from srkit import bicubic


class ResidualBlock(nn.Module):
    """3x3 convolution, SiLU, 3x3 convolution, added to the input; no normalisation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``B(width)hw`` to the same shape."""
        y: Tensor = self.second(nn.functional.silu(self.first(x)))
        return x + y


class FaceResidual(nn.Module):
    """Residual blocks at the input's size, two pixel shuffles, added to bicubic; x2, x4 or x8.

    As EDSR (Lim et al., 2017) in its body: no batch normalisation, which costs accuracy in
    super-resolution. Nearly all work is done at the input's resolution, so it is fast on a CPU.
    The last convolution starts at zero: an untrained network is bicubic interpolation.

    Args:
        scale: 2, 4 or 8.
        width: Feature maps.
        blocks: Residual blocks; each widens the receptive field by 2 LR pixels on every side.

    Raises:
        ValueError: Another scale, or less than no blocks.
    """

    small: ClassVar[dict[str, object]] = {"width": 12, "blocks": 2}

    def __init__(self, *, scale: int = 4, width: int = 64, blocks: int = 8) -> None:
        super().__init__()
        if scale not in (2, 4, 8):
            raise ValueError(f"scale is 2, 4 or 8, not {scale}")
        if blocks < 0:
            raise ValueError(f"blocks is 0 or more, not {blocks}")
        self.scale = scale
        self.head = nn.Conv2d(3, width, 3, padding=1)
        self.body = nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)))
        ups: list[nn.Module] = []
        inputs, radius = width, 1 + 2 * blocks
        for level in range(scale.bit_length() - 1):
            outputs = max(width // 2, 8)
            ups += [nn.Conv2d(inputs, 4 * outputs, 3, padding=1), nn.PixelShuffle(2), nn.SiLU()]
            inputs = outputs
            radius += 1 if level == 0 else 0
        self.up = nn.Sequential(*ups)
        self.tail = nn.Conv2d(inputs, 3, 3, padding=1)
        nn.init.zeros_(self.tail.weight)
        assert self.tail.bias is not None
        nn.init.zeros_(self.tail.bias)
        # The convolutions after the first shuffle reach at most one more LR pixel together.
        self.receptive_radius = max(radius + 1, 2)

    def forward(self, lr: Tensor) -> Tensor:
        """Map ``lr`` (B3hw in [0, 1]) to ``sr`` (B3HW), H = scale * h; may leave [0, 1]."""
        x = self.head(lr - 0.5)
        x = x + self.body(x)
        detail: Tensor = self.tail(self.up(x))
        return bicubic(lr, self.scale) + detail
