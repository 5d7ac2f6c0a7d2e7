"""The first networks: they see luma alone, and colour differences are interpolated."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from srkit import bicubic

BT601 = (0.299, 0.587, 0.114)


def luma(image: Tensor) -> Tensor:
    """Return BT.601's luma of RGB, ``B3hw`` -> ``B1hw``, in full range."""
    weights = torch.tensor(BT601, dtype=image.dtype, device=image.device)
    return torch.einsum("bchw,c->bhw", image, weights)[:, None]


def _start(module: nn.Module) -> None:
    """Start convolutions as He et al. (2015) do, with biases of zero."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        assert module.bias is not None
        nn.init.zeros_(module.bias)


class Srcnn(nn.Module):
    """SRCNN, three convolutions on bicubic interpolation (Dong et al., 2014 and 2016).

    Luma only, as the paper's tables. 8,032 weights at 9-1-5, 57,184 at 9-5-5 (section 4.3.2 of the
    later paper), not counting biases. Training starts near the identity, not at the paper's
    deviation of .001, with which it needs the paper's 10^8 steps.

    Args:
        scale: Upscaling factor.
        kernels: Sides of the three kernels, odd.
        widths: Feature maps of the first two.
    """

    def __init__(
        self,
        *,
        scale: int = 4,
        kernels: tuple[int, int, int] = (9, 5, 5),
        widths: tuple[int, int] = (64, 32),
    ) -> None:
        super().__init__()
        self.scale = scale
        sizes = zip((1, *widths), (*widths, 1), kernels, strict=True)
        first, second, third = (nn.Conv2d(a, b, k, padding=k // 2) for a, b, k in sizes)
        self.network = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), third)
        self.network.apply(_start)
        for layer in (first, second, third):  # the first maps carry luma through
            with torch.no_grad():
                layer.weight.mul_(0.1)
                layer.weight[0, 0, layer.kernel_size[0] // 2, layer.kernel_size[1] // 2] = 1
        self.receptive_radius = 2 + -(-sum(k // 2 for k in kernels) // scale)

    def forward(self, lr: Tensor) -> Tensor:
        """Map ``lr`` (B3hw in [0, 1]) to ``sr`` (B3HW); may leave [0, 1]."""
        upscaled = bicubic(lr, self.scale)
        before = luma(upscaled)
        after: Tensor = self.network(before)
        return upscaled + (after - before)


class Fsrcnn(nn.Module):
    """FSRCNN(d, s, m): shrink, map and expand at LR's size, then a deconvolution.

    Dong et al. (2016), "Accelerating the Super-Resolution Convolutional Neural Network". Luma only.
    12,464 weights at (56, 12, 4) (section 3.3), not counting biases and the slopes of PReLU.

    Args:
        scale: 2 to 8.
        width: Feature maps d.
        shrunk: Feature maps s of the mapping.
        depth: Number m of 3x3 convolutions in the mapping.

    Raises:
        ValueError: Another scale.
    """

    def __init__(
        self, *, scale: int = 4, width: int = 56, shrunk: int = 12, depth: int = 4
    ) -> None:
        super().__init__()
        if not 2 <= scale <= 8:
            raise ValueError(f"scale is 2 to 8, not {scale}")
        self.scale = scale
        layers: list[nn.Module] = [nn.Conv2d(1, width, 5, padding=2), nn.PReLU(width)]
        layers += [nn.Conv2d(width, shrunk, 1), nn.PReLU(shrunk)]
        for _ in range(depth):
            layers += [nn.Conv2d(shrunk, shrunk, 3, padding=1), nn.PReLU(shrunk)]
        layers += [nn.Conv2d(shrunk, width, 1), nn.PReLU(width)]
        self.body = nn.Sequential(*layers)
        self.body.apply(_start)
        self.deconvolution = nn.ConvTranspose2d(
            width, 1, 9, stride=scale, padding=4, output_padding=scale - 1
        )
        nn.init.normal_(self.deconvolution.weight, std=0.001)
        assert self.deconvolution.bias is not None
        nn.init.zeros_(self.deconvolution.bias)
        self.receptive_radius = 2 + depth + -(-4 // scale)

    def forward(self, lr: Tensor) -> Tensor:
        """Map ``lr`` (B3hw in [0, 1]) to ``sr`` (B3HW); may leave [0, 1].

        The deconvolution is added to bicubic's luma, as later networks do: the paper's lets the
        network make the whole luma.
        """
        detail: Tensor = self.deconvolution(self.body(luma(lr)))
        return bicubic(lr, self.scale) + detail


class Vdsr(nn.Module):
    """VDSR: 20 convolutions on bicubic interpolation learn its residual (Kim et al., 2016).

    Luma only. 664,704 weights at 20 layers of 64 maps, not counting biases.

    Args:
        scale: Upscaling factor.
        width: Feature maps.
        depth: Number of 3x3 convolutions, at least 2.
    """

    small: ClassVar[dict[str, object]] = {"width": 12, "depth": 4}

    def __init__(self, *, scale: int = 4, width: int = 64, depth: int = 20) -> None:
        super().__init__()
        self.scale = scale
        layers: list[nn.Module] = [nn.Conv2d(1, width, 3, padding=1), nn.ReLU(inplace=True)]
        for _ in range(depth - 2):
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU(inplace=True)]
        self.body = nn.Sequential(*layers)
        self.body.apply(_start)
        self.last = nn.Conv2d(width, 1, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)
        self.receptive_radius = 2 + -(-depth // scale)

    def forward(self, lr: Tensor) -> Tensor:
        """Map ``lr`` (B3hw in [0, 1]) to ``sr`` (B3HW); may leave [0, 1]."""
        upscaled = bicubic(lr, self.scale)
        residual: Tensor = self.last(self.body(luma(upscaled)))
        return upscaled + residual


class Drcn(nn.Module):
    """DRCN: one convolution applied again and again; each recursion gives a prediction.

    Kim et al. (2016), "Deeply-Recursive Convolutional Network": a skip connection from the input
    to every prediction, and their weighted mean as the result (equations 5 to 7). Luma only.
    1,774,080 weights at 256 maps, not counting biases, whatever the number of recursions.

    Recursive supervision (equation 8) takes the loss of every prediction beside that of their
    mean. A generator gives one image, so in training each image's result is a prediction drawn at
    random with a probability of ``supervision``, else the mean: on average the same loss.

    Args:
        scale: Upscaling factor.
        width: Feature maps.
        recursions: How often the convolution is applied.
        supervision: The paper's alpha at the beginning; it lets it fall to 0.

    Raises:
        ValueError: A supervision outside [0, 1].
    """

    small: ClassVar[dict[str, object]] = {"width": 12, "recursions": 3}

    def __init__(
        self, *, scale: int = 4, width: int = 256, recursions: int = 16, supervision: float = 0.5
    ) -> None:
        super().__init__()
        if not 0 <= supervision <= 1:
            raise ValueError(f"supervision is in [0, 1], not {supervision:g}")
        self.scale, self.recursions, self.supervision = scale, recursions, supervision

        def convolution(inputs: int, outputs: int) -> nn.Conv2d:
            return nn.Conv2d(inputs, outputs, 3, padding=1)

        self.embedding = nn.Sequential(
            convolution(1, width), nn.ReLU(), convolution(width, width), nn.ReLU()
        )
        again, last = convolution(width, width), convolution(width, 1)
        self.recursion = nn.Sequential(again, nn.ReLU())
        self.reconstruction = nn.Sequential(convolution(width, width), nn.ReLU(), last)
        self.apply(_start)
        nn.init.dirac_(again.weight)  # deep recursions neither vanish nor explode
        nn.init.zeros_(last.weight)
        self.share = nn.Parameter(torch.full((recursions,), 1 / recursions))
        self.receptive_radius = 2 + -(-(4 + recursions) // scale)

    def forward(self, lr: Tensor) -> Tensor:
        """Map ``lr`` (B3hw in [0, 1]) to ``sr`` (B3HW); may leave [0, 1]."""
        upscaled = bicubic(lr, self.scale)
        state: Tensor = self.embedding(luma(upscaled))
        residuals = []
        for _ in range(self.recursions):
            state = self.recursion(state)
            residuals.append(self.reconstruction(state))
        predictions = torch.stack(residuals)  # recursion, batch, 1, height, width
        share = self.share / self.share.sum()
        mean = torch.einsum("r,rbchw->bchw", share, predictions)
        if not self.training or self.supervision == 0:
            return upscaled + mean
        count = len(lr)
        drawn = torch.randint(self.recursions, (count,), device=lr.device)
        supervised = torch.rand(count, device=lr.device) < self.supervision
        single = predictions[drawn, torch.arange(count, device=lr.device)]
        return upscaled + torch.where(supervised[:, None, None, None], single, mean)
