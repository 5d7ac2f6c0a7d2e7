"""Scores and a picture grid of a generator on held-out photos, during training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from srkit import images, registry
from srkit.data import Photos

METRICS = ("psnr", "ssim")
MOST = 200  # pictures: enough for a hundredth of a decibel from one validation to the next
ROWS = 6


@dataclass(frozen=True)
class Validation:
    """Held-out pairs, the same at every validation; noise seeds are their positions."""

    lr: Tensor
    hr: Tensor
    scale: int

    @classmethod
    def of(cls, photos: Photos, degrade: Callable[..., Tensor], scale: int) -> Validation:
        """Degrade the first `MOST` photos once."""
        hr = photos.pictures[:MOST].float() / 255
        with torch.no_grad():
            lr = degrade(hr, seeds=torch.arange(len(hr), device=hr.device))
        return cls(lr, hr, scale)

    @torch.no_grad()
    def enlarge(self, generator: nn.Module, batch_size: int) -> Tensor:
        """Return sr for all pairs, in evaluation mode; the generator's mode is left as it was."""
        training = generator.training
        generator.eval()
        sr = torch.cat([generator(lr) for lr in self.lr.split(batch_size)]).clamp(0, 1)
        generator.train(training)
        return sr

    def scores(self, sr: Tensor) -> Mapping[str, float]:
        """Return the mean of each metric over the pictures."""
        return {
            name: float(registry.build("metrics", name)(sr, self.hr).mean()) for name in METRICS
        }

    def baseline(self) -> Mapping[str, float]:
        """Return bicubic interpolation's scores."""
        return self.scores(images.bicubic(self.lr, self.scale))

    def draw_grid(self, sr: Tensor, file: Path) -> None:
        """Write rows of LR, bicubic, SR and HR."""
        rows = slice(0, ROWS)
        lr = self.lr[rows]
        shown = interpolate(lr, scale_factor=self.scale, mode="nearest")
        columns = (shown, images.bicubic(lr, self.scale), sr[rows], self.hr[rows])
        grid = torch.cat([torch.cat(list(column), dim=1) for column in columns], dim=2)
        images.write(images.to_image(grid), file)
