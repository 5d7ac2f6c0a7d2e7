"""Residual networks that work at LR's size: SRResNet, EDSR, RRDB."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate


def _shuffles(width: int, scale: int, activation: nn.Module | None) -> list[nn.Module]:
    """Return convolutions and pixel shuffles that double the size until it is ``scale``."""
    layers: list[nn.Module] = []
    for _ in range(scale.bit_length() - 1):
        layers += [nn.Conv2d(width, 4 * width, 3, padding=1), nn.PixelShuffle(2)]
        layers += [activation] if activation else []
    return layers


def _same(width: int) -> nn.Conv2d:
    return nn.Conv2d(width, width, 3, padding=1)


def _power_of_two(scale: int) -> None:
    if scale not in (2, 4, 8):
        raise ValueError(f"scale is 2, 4 or 8, not {scale}")


class _Added(nn.Module):
    """Layers whose result, times ``factor``, is added to their input."""

    def __init__(self, layers: Sequence[nn.Module], factor: float = 1.0) -> None:
        super().__init__()
        self.layers, self.factor = nn.Sequential(*layers), factor

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + self.factor * y


class SrResNet(nn.Module):
    """SRResNet, the generator of SRGAN (Ledig et al., 2017, figure 4).

    1,549,462 parameters at 16 blocks of 64 maps and x4. Its range is [-1, 1] as in the paper, on
    both sides; here it is mapped to [0, 1].

    Args:
        scale: 2, 4 or 8.
        width: Feature maps.
        blocks: Residual blocks.

    Raises:
        ValueError: Another scale.
    """

    small: ClassVar[dict[str, object]] = {"width": 12, "blocks": 2}

    def __init__(self, *, scale: int = 4, width: int = 64, blocks: int = 16) -> None:
        super().__init__()
        _power_of_two(scale)
        self.head = nn.Sequential(nn.Conv2d(3, width, 9, padding=4), nn.PReLU())

        def normalised() -> list[nn.Module]:
            return [_same(width), nn.BatchNorm2d(width)]

        body = [_Added([*normalised(), nn.PReLU(), *normalised()]) for _ in range(blocks)]
        self.body = _Added([*body, *normalised()])
        self.up = nn.Sequential(
            *(
                layer
                for _ in range(scale.bit_length() - 1)
                for layer in _shuffles(width, 2, nn.PReLU())
            )
        )
        self.tail = nn.Conv2d(width, 3, 9, padding=4)
        self.receptive_radius = 4 + 2 * blocks + 1 + 2 + -(-4 // scale)

    def forward(self, lr: Tensor) -> Tensor:
        """Map ``lr`` (B3hw in [0, 1]) to ``sr`` (B3HW); may leave [0, 1]."""
        y: Tensor = self.tail(self.up(self.body(self.head(lr * 2 - 1))))
        return (y + 1) / 2


class Edsr(nn.Module):
    """EDSR without batch normalisation (Lim et al., 2017); the default is its baseline.

    1,517,571 parameters at 16 blocks of 64 maps and x4; the paper's large model has 32 blocks of
    256 maps and ``factor`` .1.

    Args:
        scale: 2, 4 or 8.
        width: Feature maps.
        blocks: Residual blocks.
        factor: Factor of each block's residual.

    Raises:
        ValueError: Another scale.
    """

    small: ClassVar[dict[str, object]] = {"width": 12, "blocks": 2}

    def __init__(
        self, *, scale: int = 4, width: int = 64, blocks: int = 16, factor: float = 1.0
    ) -> None:
        super().__init__()
        _power_of_two(scale)
        self.head = nn.Conv2d(3, width, 3, padding=1)
        body = [_Added([_same(width), nn.ReLU(), _same(width)], factor) for _ in range(blocks)]
        self.body = _Added([*body, _same(width)])
        self.up = nn.Sequential(*_shuffles(width, scale, None))
        self.tail = nn.Conv2d(width, 3, 3, padding=1)
        self.receptive_radius = 4 + 2 * blocks + 1

    def forward(self, lr: Tensor) -> Tensor:
        """Map ``lr`` (B3hw in [0, 1]) to ``sr`` (B3HW); may leave [0, 1]."""
        y: Tensor = self.tail(self.up(self.body(self.head(lr - 0.5))))
        return y + 0.5


class _Dense(nn.Module):
    """A dense block of five convolutions; each sees all before it (Wang et al., 2018)."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        sizes = [(width + i * growth, width if i == 4 else growth) for i in range(5)]
        layers = [nn.Conv2d(inputs, outputs, 3, padding=1) for inputs, outputs in sizes]
        for layer in layers:  # a tenth of He's deviation, section 3.1
            nn.init.kaiming_normal_(layer.weight)
            layer.weight.data.mul_(0.1)
        self.convolutions = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        maps, y = [x], x
        for number, layer in enumerate(self.convolutions):
            y = layer(torch.cat(maps, 1))
            if number < 4:
                y = nn.functional.leaky_relu(y, 0.2)
                maps.append(y)
        return x + 0.2 * y


class Rrdb(nn.Module):
    """RRDBNet, ESRGAN's generator: residual in residual dense blocks (Wang et al., 2018).

    16,697,987 parameters at 23 blocks of 64 maps, growth 32 and x4.

    Args:
        scale: 2, 4 or 8.
        width: Feature maps.
        blocks: Blocks of three dense blocks each.
        growth: Feature maps that each convolution of a dense block adds.

    Raises:
        ValueError: Another scale.
    """

    small: ClassVar[dict[str, object]] = {"width": 12, "blocks": 1, "growth": 8}

    def __init__(
        self, *, scale: int = 4, width: int = 64, blocks: int = 23, growth: int = 32
    ) -> None:
        super().__init__()
        _power_of_two(scale)
        self.head = nn.Conv2d(3, width, 3, padding=1)
        dense = [_Added([_Dense(width, growth) for _ in range(3)], 0.2) for _ in range(blocks)]
        self.body = _Added([*dense, _same(width)])
        self.ups = nn.ModuleList(_same(width) for _ in range(scale.bit_length() - 1))
        self.tail = nn.Sequential(
            _same(width), nn.LeakyReLU(0.2), nn.Conv2d(width, 3, 3, padding=1)
        )
        self.receptive_radius = 1 + 15 * blocks + 1 + 2

    def forward(self, lr: Tensor) -> Tensor:
        """Map ``lr`` (B3hw in [0, 1]) to ``sr`` (B3HW); may leave [0, 1]."""
        x: Tensor = self.body(self.head(lr))
        for layer in self.ups:
            x = interpolate(x, scale_factor=2, mode="nearest")
            x = nn.functional.leaky_relu(layer(x), 0.2)
        y: Tensor = self.tail(x)
        return y
