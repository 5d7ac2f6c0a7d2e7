"""Networks for faces from the literature: after URDGN and SPARNet."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu, max_pool2d

from srkit import bicubic


class Urdgn(nn.Module):
    """Deconvolutions and 5x5 convolutions, after URDGN (Yu and Porikli, 2016, figure 2).

    Each doubling of the size is a 4x4 deconvolution, batch normalisation, ReLU, and a convolution
    that the paper has so that deconvolution's grid goes. The paper states no count of parameters
    and is x8 alone.

    Args:
        scale: 2, 4 or 8.
        width: Feature maps at LR's size; each doubling of the size halves them.

    Raises:
        ValueError: Another scale.
    """

    small: ClassVar[dict[str, object]] = {"width": 12}

    def __init__(self, *, scale: int = 4, width: int = 128) -> None:
        super().__init__()
        if scale not in (2, 4, 8):
            raise ValueError(f"scale is 2, 4 or 8, not {scale}")
        layers: list[nn.Module] = [nn.Conv2d(3, width, 5, padding=2), nn.ReLU()]
        for level in range(scale.bit_length() - 1):
            before, after = (max(width >> each, 8) for each in (level, level + 1))
            layers += [nn.ConvTranspose2d(before, after, 4, stride=2, padding=1)]
            layers += [nn.BatchNorm2d(after), nn.ReLU()]
            layers += [nn.Conv2d(after, after, 5, padding=2), nn.BatchNorm2d(after), nn.ReLU()]
        self.network = nn.Sequential(*layers, nn.Conv2d(after, 3, 5, padding=2), nn.Tanh())
        # LR pixels: 2 of the stem; at each larger size a deconvolution's one and a convolution's
        # two count a half, a quarter, an eighth.
        self.receptive_radius = 6

    def forward(self, lr: Tensor) -> Tensor:
        """Map ``lr`` (B3hw) to ``sr`` (B3HW), both in [0, 1]."""
        y: Tensor = self.network(lr * 2 - 1)
        return (y + 1) / 2


class _Attention(nn.Module):
    """An hourglass whose result weighs each place of the features (SPARNet, section III-B)."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        hidden = max(width // 2, 8)
        self.reduce = nn.Conv2d(width, hidden, 1)
        self.down = nn.ModuleList(nn.Conv2d(hidden, hidden, 3, padding=1) for _ in range(depth))
        self.up = nn.ModuleList(nn.Conv2d(hidden, hidden, 3, padding=1) for _ in range(depth))
        self.last = nn.Conv2d(hidden, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        y, kept = self.reduce(x), []
        for layer in self.down:
            kept.append(y)
            y = leaky_relu(layer(max_pool2d(y, 2, ceil_mode=True)), 0.2)
        for layer, skip in zip(self.up, reversed(kept), strict=True):
            y = skip + interpolate(leaky_relu(layer(y), 0.2), size=skip.shape[-2:])
        weights: Tensor = torch.sigmoid(self.last(y))
        return weights


class _FaceAttentionUnit(nn.Module):
    """A residual block whose residual is weighed place by place, and may change the size by 2."""

    def __init__(self, inputs: int, outputs: int, depth: int, resize: float = 1) -> None:
        super().__init__()
        self.resize = resize
        self.first = nn.Sequential(nn.BatchNorm2d(inputs), nn.LeakyReLU(0.2))
        self.convolution = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.second = nn.Sequential(
            nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2), nn.Conv2d(outputs, outputs, 3, padding=1)
        )
        self.attention = _Attention(outputs, depth)
        self.shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def _resized(self, x: Tensor) -> Tensor:
        if self.resize == 2:
            return interpolate(x, scale_factor=2.0, mode="nearest")
        return max_pool2d(x, 2) if self.resize < 1 else x

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(self.convolution(self._resized(self.first(x))))
        shortcut: Tensor = self.shortcut(self._resized(x))
        weighed: Tensor = y * self.attention(y)
        return shortcut + weighed


class SparnetLight(nn.Module):
    """Face attention units at HR's size, down to LR's and up again, after SPARNet.

    Chen et al. (2020), "Learning Spatial Attention for Face Super-Resolution", with fewer units and
    maps than the paper's network, which has 9.9 M parameters. The input is upscaled by bicubic
    interpolation first, as there.

    Args:
        scale: 2, 4 or 8.
        widths: Feature maps at HR's size, and at LR's.
        blocks: Units at LR's size.

    Raises:
        ValueError: Another scale.
    """

    small: ClassVar[dict[str, object]] = {"widths": (8, 16), "blocks": 2}
    receptive_radius = None  # an hourglass a unit: tiles approximate

    def __init__(
        self, *, scale: int = 4, widths: tuple[int, int] = (32, 64), blocks: int = 6
    ) -> None:
        super().__init__()
        if scale not in (2, 4, 8):
            raise ValueError(f"scale is 2, 4 or 8, not {scale}")
        self.scale = scale
        levels = scale.bit_length() - 1
        narrow, wide = widths
        counts = [min(narrow << level, wide) for level in range(levels)] + [wide]
        steps = list(pairwise(counts))
        self.head = nn.Conv2d(3, narrow, 3, padding=1)
        down = [_FaceAttentionUnit(a, b, 3, resize=0.5) for a, b in steps]
        body = [_FaceAttentionUnit(wide, wide, 2) for _ in range(blocks)]
        up = [_FaceAttentionUnit(b, a, 3, resize=2) for a, b in reversed(steps)]
        self.body = nn.Sequential(*down, *body, *up)
        self.tail = nn.Conv2d(narrow, 3, 3, padding=1)

    def forward(self, lr: Tensor) -> Tensor:
        """Map ``lr`` (B3hw in [0, 1]) to ``sr`` (B3HW); may leave [0, 1]."""
        sr: Tensor = self.tail(self.body(self.head(bicubic(lr, self.scale) - 0.5)))
        return sr + 0.5
