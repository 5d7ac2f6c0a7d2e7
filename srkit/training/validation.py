"""Scores and a picture grid of a generator on held-out photos, during training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from srkit import registry
from srkit.data.loader import Images
from srkit.imaging import codec
from srkit.training.distributed import Processes

METRICS = ("psnr", "ssim")
ROWS = 6


@dataclass(frozen=True)
class Validation:
    """Held-out pairs, the same at every validation; noise seeds are their positions."""

    lr: Tensor
    hr: Tensor
    scale: int

    @classmethod
    def of(cls, images: Images, degrade: Callable[..., Tensor], scale: int) -> Validation:
        """Degrade the images once, unless their real LR ones are there."""
        hr = images.hr()
        if images.lr is not None:
            return cls(images.lr.float() / 255, hr, scale)
        with torch.no_grad():
            lr = degrade(hr, seeds=torch.arange(len(hr), device=hr.device))
        return cls(lr, hr, scale)

    @torch.no_grad()
    def enlarge(
        self, generator: nn.Module, batch_size: int, processes: Processes | None = None
    ) -> Tensor:
        """Return sr for all pairs, in evaluation mode; the generator's mode is left as it was.

        Args:
            generator: On the pairs' device.
            batch_size: Pictures at a time.
            processes: Those that share the work; each gets the whole result.
        """
        lr = self.lr
        if processes is not None and processes.count > 1:
            each = math.ceil(len(lr) / processes.count)
            mine = torch.arange(each, device=lr.device) + each * processes.rank
            lr = lr[mine % len(lr)]
        training = generator.training
        generator.eval()
        sr = torch.cat([generator(part) for part in lr.split(batch_size)]).clamp(0, 1)
        generator.train(training)
        return sr if processes is None else processes.gather(sr)[: len(self.lr)]

    @torch.no_grad()
    def scores(self, sr: Tensor, metrics: Iterable[str] = METRICS) -> dict[str, float]:
        """Return the mean of each metric over the pictures."""
        sr = sr.nan_to_num()  # a run whose batches are being skipped still has scores: bad ones
        found = {}
        for name in metrics:
            metric = registry.build("metrics", name)
            if isinstance(metric, nn.Module):
                metric = metric.to(sr.device)
            found[name] = float(metric(sr, self.hr).mean())
        return found

    def baseline(self, metrics: Iterable[str] = METRICS) -> dict[str, float]:
        """Return bicubic interpolation's scores."""
        return self.scores(codec.bicubic(self.lr, self.scale), metrics)

    def draw_grid(self, sr: Tensor, file: Path) -> None:
        """Write rows of LR, bicubic, SR and HR."""
        rows = slice(0, ROWS)
        lr = self.lr[rows]
        shown = interpolate(lr, scale_factor=self.scale, mode="nearest")
        columns = (shown, codec.bicubic(lr, self.scale), sr[rows], self.hr[rows])
        grid = torch.cat([torch.cat(list(column), dim=1) for column in columns], dim=2)
        codec.write(codec.to_image(grid), file)
