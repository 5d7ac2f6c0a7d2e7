"""Interpolation behind the generators' contract."""

from __future__ import annotations

from torch import Tensor, nn

from srkit import bicubic


class Bicubic(nn.Module):
    """Bicubic interpolation with Pillow's kernel (a = -0.5).

    Args:
        scale: Enlargement factor.
    """

    receptive_radius = 2

    def __init__(self, *, scale: int = 4) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, lr: Tensor) -> Tensor:
        """Map ``lr`` (B3hw) to ``sr`` (B3HW)."""
        return bicubic(lr, self.scale)
