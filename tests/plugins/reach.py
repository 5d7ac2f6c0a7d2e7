"""How far an input pixel reaches, measured by gradient."""

from __future__ import annotations

import torch
from torch import nn


def reached(generator: nn.Module, *, scale: int, around: int) -> tuple[int, int]:
    """Return the least and the greatest of the four directions' reach, in LR pixels.

    Args:
        generator: In evaluation mode, float64.
        scale: Its upscaling factor.
        around: LR pixels on every side of the one whose outputs are looked at; more than it
            could reach.
    """
    side = 2 * around + 1
    lr = torch.rand(1, 3, side, side, dtype=torch.float64, requires_grad=True)
    cell = slice(around * scale, (around + 1) * scale)
    # Random signs, so that no contributions cancel.
    patch = generator(lr)[:, :, cell, cell]
    (patch * torch.randn_like(patch)).sum().backward()
    assert lr.grad is not None
    seen = lr.grad.abs().sum(dim=(0, 1)) > 0
    rows, columns = seen.any(dim=1).nonzero(), seen.any(dim=0).nonzero()
    ways = [
        around - int(rows.min()),
        int(rows.max()) - around,
        around - int(columns.min()),
        int(columns.max()) - around,
    ]
    assert max(ways) < around, "give more pixels around"
    return min(ways), max(ways)
