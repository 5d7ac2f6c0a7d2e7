"""Scores and an image grid of a generator on held-out photos, during training."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from srkit import registry
from srkit.data.held_out import Images
from srkit.errors import InputError, option
from srkit.imaging import codec
from srkit.options import inputs_of
from srkit.recipe import Recipe
from srkit.training.distributed import Processes
from srkit.training.parts import METRICS
from srkit.training.state import State

ROWS = 6


def higher_is_better(metric: str) -> bool:
    """Return which way a metric by which the best weights are kept is better.

    SrkitError: there is none of this name, or it needs more than sr and hr.
    """
    built = registry.build("metrics", metric)
    if more := sorted(inputs_of(built) - {"sr", "hr"}):
        raise InputError(
            f"{option('best')} is a metric of sr and hr alone; "
            f"'{metric}' asks for {', '.join(more)}"
        )
    return bool(built.higher_is_better)


def better(score: float, best: float | None, *, upward: bool) -> bool:
    """Return whether a score beats the best so far; one that is no number never does."""
    if math.isnan(score):
        return False
    if best is None:
        return True
    return score > best if upward else score < best


@dataclass(frozen=True)
class Validation:
    """Held-out pairs, the same at every validation; noise seeds are their positions."""

    lr: Tensor
    hr: Tensor
    scale: int
    metrics: tuple[str, ...] = METRICS

    @classmethod
    def of(
        cls,
        images: Images,
        degrade: Callable[..., Tensor],
        recipe: Recipe,
        device: torch.device,
        metrics: tuple[str, ...] = METRICS,
    ) -> Validation:
        """Degrade the images once, unless their real LR ones are there."""
        pixels, size = images.pixels, recipe.data.size
        if pixels.shape[-1] != size:  # photos of which training takes squares
            hr = interpolate(images.hr(), size=(size, size), mode="bicubic", antialias=True)
            pixels = codec.to_uint8(hr)
        hr = pixels.to(device).float() / 255
        if images.lr is not None:
            return cls(images.lr.to(device).float() / 255, hr, recipe.scale, metrics)
        with torch.no_grad():
            lr = degrade(hr, seeds=torch.arange(len(hr), device=device))
        return cls(lr, hr, recipe.scale, metrics)

    @torch.no_grad()
    def upscale(
        self, generator: nn.Module, batch_size: int, processes: Processes | None = None
    ) -> Tensor:
        """Return sr for all pairs, in evaluation mode; the generator's mode is left as it was.

        Processes share the work; each gets the whole result.
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
        if processes is None or len(lr) == len(self.lr):
            return sr
        return torch.cat(processes.collect(sr.cpu()))[: len(self.lr)].to(sr.device)

    def measure(self, state: State) -> tuple[Tensor, dict[str, float]]:
        """Return sr of the generator that ships, and its scores; all processes share the work."""
        recipe, processes = state.recipe, state.processes
        at_once = processes.images_at_once(recipe.batch_size, recipe.accumulate)  # as in training
        sr = self.upscale(state.shipped(), at_once, processes)
        return sr, processes.by_main(lambda: self.scores(sr))

    @torch.no_grad()
    def scores(self, sr: Tensor) -> dict[str, float]:
        """Return the mean of each metric over the images, infinite scores aside."""
        sr = sr.nan_to_num()  # a run whose steps are being skipped still has scores: bad ones
        scores = {}
        for name in self.metrics:
            metric = registry.build("metrics", name)
            if isinstance(metric, nn.Module):
                metric = metric.to(sr.device)
            images = {"sr": sr, "hr": self.hr}
            values = metric(**{key: images[key] for key in inputs_of(metric)})
            finite = values[values.isfinite()]  # a flat image is easily given exactly
            scores[name] = float((finite if len(finite) else values).mean())
        return scores

    def baseline(self) -> dict[str, float]:
        """Return bicubic interpolation's scores, as ``bicubic_psnr`` and so on."""
        scores = self.scores(codec.bicubic(self.lr, self.scale))
        return {f"bicubic_{name}": score for name, score in scores.items()}

    def draw_grid(self, sr: Tensor, file: Path) -> None:
        """Write rows of LR, bicubic, SR and HR."""
        rows = slice(0, ROWS)
        lr = self.lr[rows]
        shown = interpolate(lr, scale_factor=self.scale, mode="nearest")
        columns = (shown, codec.bicubic(lr, self.scale), sr[rows], self.hr[rows])
        grid = torch.cat([torch.cat(list(column), dim=1) for column in columns], dim=2)
        codec.write(codec.to_image(grid), file)
