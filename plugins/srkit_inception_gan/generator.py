"""The paper's generator: an inception-residual network from 16x16 to 64x64."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, conv2d, pad, relu

Upscale = Literal["resize", "shuffle"]


def kernels(count: int, width: float) -> int:
    """Return a kernel count at a positive width multiplier, at least 4 and exact at width 1."""
    if width <= 0:
        raise ValueError(f"width must be positive, not {width}")
    return max(4, round(count * width))


def glorot(module: nn.Module) -> None:
    """Initialise a convolution as Glorot and Bengio (2010) do, biases at zero (P12)."""
    if isinstance(module, nn.Conv2d):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _branch(inputs: int, outputs: int, size: int, asymmetric: bool) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU: what P2 states for every kernel of a block."""
    shapes = [(1, size), (size, 1)] if asymmetric else [(size, size)]
    convolutions = [
        nn.Conv2d(before, outputs, shape, padding=(shape[0] // 2, shape[1] // 2), bias=False)
        for before, shape in zip((inputs, outputs), shapes, strict=False)
    ]
    return nn.Sequential(*convolutions, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class Branches(nn.Module):
    """3x3 and 5x5 convolutions side by side, ``each`` kernels of either, concatenated (P2).

    With ``asymmetric`` 1xk and then kx1 stand in place of each kxk. Training computes both as one
    5x5 convolution and one batch normalisation, which reads and writes feature maps only once.
    """

    def __init__(self, inputs: int, each: int, asymmetric: bool = False) -> None:
        super().__init__()
        self.three = _branch(inputs, each, 3, asymmetric)
        self.five = _branch(inputs, each, 5, asymmetric)
        self.asymmetric = asymmetric

    @property
    def joined(self) -> bool:
        """Whether both branches are computed as one."""
        return self.training and not self.asymmetric

    def forward(self, x: Tensor) -> Tensor:
        """Map ``B(inputs)hw`` to ``B(2 each)hw``."""
        if self.joined:
            return self.rectified(conv2d(x, self.kernel(), padding=2))
        return torch.cat([self.three(x), self.five(x)], dim=1)

    def kernel(self) -> Tensor:
        """Return both branches' weights as those of one convolution, ``(2 each)(inputs)55``."""
        three, five = (branch.get_parameter("0.weight") for branch in (self.three, self.five))
        return torch.cat([pad(three, (1, 1, 1, 1)), five])

    def rectified(self, y: Tensor) -> Tensor:
        """Normalise and rectify what the one convolution gives, and move both's statistics."""
        norms = [norm for norm in self.modules() if isinstance(norm, nn.BatchNorm2d)]
        weight, bias, mean, var = (
            torch.cat([getattr(norm, name) for norm in norms])
            for name in ("weight", "bias", "running_mean", "running_var")
        )
        y = batch_norm(y, mean, var, weight, bias, training=True)
        for norm, new_mean, new_var in zip(norms, mean.chunk(2), var.chunk(2), strict=True):
            norm.get_buffer("running_mean").copy_(new_mean)
            norm.get_buffer("running_var").copy_(new_var)
            norm.get_buffer("num_batches_tracked").add_(1)
        return relu(y, inplace=True)


class InceptionResidualBlock(nn.Module):
    """Branches, a linear 1x1 convolution back, the shortcut, ReLU (P2, P3).

    Concatenate, project linearly, add and only then rectify: the order of Inception-ResNet-v2
    (Szegedy et al., 2017, figures 16 to 19), which the paper names as its parent.
    """

    rectify = False  # ReLU after the 1x1 convolution, too

    def __init__(self, channels: int, each: int, asymmetric: bool = False) -> None:
        super().__init__()
        self.branches = Branches(channels, each, asymmetric)
        self.project = nn.Conv2d(2 * each, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``B(channels)hw`` to the same shape."""
        y: Tensor = self.project(self.branches(x))
        return relu(x + (relu(y) if self.rectify else y))


class UpscalingBlock(nn.Module):
    """Branches and a linear 1x1 convolution, after or before the upscaling by 2 (P2, P3).

    ``resize`` is nearest-neighbour upscaling, then branches on four times the pixels; ``shuffle``
    branches at the input's size, then pixel shuffle.
    """

    rectify = False  # ReLU after the 1x1 convolution

    def __init__(
        self, inputs: int, outputs: int, upscale: Upscale = "resize", asymmetric: bool = False
    ) -> None:
        super().__init__()
        self.upscale: Upscale = upscale
        self.branches = Branches(inputs, outputs, asymmetric)
        spread = 4 * outputs if upscale == "shuffle" else outputs
        self.spread = nn.Conv2d(2 * outputs, spread, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``B(inputs)hw`` to ``B(outputs)(2h)(2w)``."""
        if self.upscale == "resize" and self.branches.joined:
            return self._resized(x)
        if self.upscale == "resize":
            x = nn.functional.interpolate(x, scale_factor=2, mode="nearest")
        y: Tensor = self.spread(self.branches(x))
        y = relu(y) if self.rectify else y
        return nn.functional.pixel_shuffle(y, 2) if self.upscale == "shuffle" else y

    def _resized(self, x: Tensor) -> Tensor:
        """Do what ``resize`` does without the upscaled feature maps.

        A 5x5 kernel sees an input pixel twice in a row, or once at an end: summed, it is a 3x3
        kernel, one for each of four output pixels. These stand side by side until the last
        convolution has left the fewest maps to move to their places.
        """
        places = [(row, column) for row in (0, 1) for column in (0, 1)]
        kernel = self.branches.kernel()
        shifted = torch.cat([pad(kernel, (b, 1 - b, a, 1 - a)) for a, b in places])
        folded = shifted.unflatten(3, (3, 2)).unflatten(2, (3, 2)).sum((3, 5))
        y = conv2d(x, folded, padding=1).permute(0, 2, 3, 1)
        batch, height, width, _ = y.shape
        y = y.reshape(batch, height, 4 * width, len(kernel)).permute(0, 3, 1, 2)
        y = self.spread(self.branches.rectified(y))
        y = relu(y) if self.rectify else y
        y = y.permute(0, 2, 3, 1).reshape(batch, height, width, 2, 2, -1).transpose(2, 3)
        return y.reshape(batch, 2 * height, 2 * width, -1).permute(0, 3, 1, 2)


class InceptionResidual(nn.Module):
    """The paper's inception-residual generator, x4 (section III, P1 to P4).

    Stem, inception-residual block (256), upscaling block (128), inception-residual block (128),
    upscaling block (64), three convolutions, tanh; for inputs of any size. 4,455,427 parameters at
    width 1. "The paper, line by line" says what we chose where the paper is silent.

    Args:
        scale: 4, which the two upscaling blocks make; another is a ValueError.
        width: Multiplies all kernel counts; a ValueError if it isn't positive.
        upscale: ``resize`` (nearest neighbours, then convolutions) or ``shuffle`` (convolutions,
            then a pixel shuffle); open in the paper (P3).
        asymmetric: 1x3 and 3x1, 1x5 and 5x1 in place of 3x3 and 5x5: the paper's future work
            (P19). 2,200,835 parameters at width 1.
        rectify: ReLU after the last 1x1 convolution of each block, too: another reading of P4.
    """

    small: ClassVar[dict[str, object]] = {"width": 0.1}

    def __init__(
        self,
        *,
        scale: int = 4,
        width: float = 1.0,
        upscale: Upscale = "resize",
        asymmetric: bool = False,
        rectify: bool = False,
    ) -> None:
        super().__init__()
        if scale != 4:
            raise ValueError(f"scale is 4 (two upscaling blocks), not {scale}")
        # LR pixels; resize: 2 + 2 at 1x, (2 + 2) / 2 at 2x, (2 + 3) / 4 at 4x.
        self.receptive_radius = 9 if upscale == "shuffle" else 8
        wide, middle, narrow = (kernels(n, width) for n in (256, 128, 64))
        self.stem = Branches(3, middle, asymmetric)
        self.residual1 = InceptionResidualBlock(2 * middle, wide, asymmetric)
        self.up1 = UpscalingBlock(2 * middle, middle, upscale, asymmetric)
        self.residual2 = InceptionResidualBlock(middle, middle, asymmetric)
        self.up2 = UpscalingBlock(middle, narrow, upscale, asymmetric)
        for block in (self.residual1, self.up1, self.residual2, self.up2):
            block.rectify = rectify
        last = kernels(32, width)
        self.tail = nn.Sequential(
            nn.Conv2d(narrow, narrow, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(narrow, last, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(last, 3, 3, padding=1),
            nn.Tanh(),
        )
        self.apply(glorot)
        if upscale == "shuffle":  # four equal sub-pixels: no grid at first (Aitken et al., 2017)
            for block in (self.up1, self.up2):
                weight = block.spread.weight.data
                weight.copy_(weight[::4].repeat_interleave(4, dim=0))

    def forward(self, lr: Tensor) -> Tensor:
        """Map ``lr`` (B3hw) to ``sr`` (B3HW), both in [0, 1], H = 4 h."""
        x = self.stem(lr * 2 - 1)
        x = self.up1(self.residual1(x))
        x = self.up2(self.residual2(x))
        y: Tensor = self.tail(x)
        return (y + 1) / 2
