"""Some images of a bench, by every method: the best, the median and the worst, or a sheet."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from srkit.evaluation.measure import Pixels
    from srkit.evaluation.report import Quality

# LR's pixels repeated are nearest neighbour's result, and Lanczos differs little from bicubic.
LEFT_OUT = ("nearest", "lanczos")
SHEET = 12  # images without HR


@dataclass(frozen=True)
class Example:
    """An image that was chosen by its score.

    Attributes:
        rank: ``best``, ``median``, ``worst`` or ``only``; nothing where there is no HR to rank by.
        index: In the quality's images.
        method: The method whose results are ranked.
        metric: The metric they are ranked by.
        gain: Over bicubic, in that metric.
        images: ``HW3`` by method: LR (``hw3``), bicubic, the models, HR.
    """

    rank: str
    index: int
    method: str
    metric: str
    gain: float
    images: Mapping[str, Pixels]


def examples(quality: Quality, render: Callable[[int], Mapping[str, Pixels]]) -> Iterator[Example]:
    """Yield examples by the first model's gain over bicubic in the `headline`; none without one.

    By plain scores the smoothest images would be the best ones, whatever upscales them. Images
    without HR are taken at even distances.

    Args:
        quality: What was measured.
        render: See `srkit.evaluation.report.Report`.
    """
    if not quality.models:
        return
    model, metric = quality.models[0], headline(quality)
    chosen = choose(quality, model, metric) if has_hr(quality) else evenly(len(quality.images))
    for rank, index, gain in chosen:
        images = {name: image for name, image in render(index).items() if name not in LEFT_OUT}
        yield Example(rank, index, model, metric, gain, images)


def has_hr(quality: Quality) -> bool:
    """Whether there were originals to compare with; without them no number says what is right."""
    return quality.protocol.get("framing") != "lr"


def headline(quality: Quality) -> str:
    """Return the metric that stands for quality: the first but LSD, which knows no places."""
    return next((name for name in quality.metrics if name != "lsd"), next(iter(quality.metrics)))


def evenly(count: int) -> list[tuple[str, int, float]]:
    """Return `SHEET` or fewer of ``count`` indices as `choose` does, without rank and gain."""
    shown = min(count, SHEET)
    return [("", n * count // shown, math.nan) for n in range(shown)]


def choose(quality: Quality, method: str, metric: str) -> list[tuple[str, int, float]]:
    """Return rank, index and gain over bicubic of the best, the median and the worst image.

    Of equal images the first counts; of an even number the lower of the two in the middle. Images
    without a score aren't ranked.
    """
    sign = 1 if quality.metrics[metric]["higher_is_better"] else -1
    both = zip(quality.scores[method][metric], quality.scores["bicubic"][metric], strict=True)
    # Two perfect results are infinite decibels each: neither gains over the other.
    gains = [0.0 if score == base else score - base for score, base in both]
    ranked = [n for n, gain in enumerate(gains) if not math.isnan(gain)]
    order = sorted(ranked, key=lambda n: -sign * gains[n])
    if not order:
        return []
    ranks = {"best": order[0], "median": order[len(order) // 2], "worst": order[-1]}
    if len(order) == 1:
        ranks = {"only": order[0]}
    elif len(order) == 2:
        del ranks["median"]  # it would be one of the others
    return [(rank, index, gains[index]) for rank, index in ranks.items()]
