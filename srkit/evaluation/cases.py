"""Best, median and worst pictures of a bench, chosen by their scores, with a detail of each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from srkit.evaluation.columns import BICUBIC, HR, LANCZOS, NEAREST, Column
from srkit.evaluation.measuring import ordered
from srkit.imaging import codec

if TYPE_CHECKING:
    from srkit.evaluation.protocol import Protocol
    from srkit.evaluation.quality import Quality

Pixels: TypeAlias = NDArray[np.uint8]

# LR's pixels repeated are nearest neighbour's result, and Lanczos differs little from bicubic.
NOT_SHOWN = (NEAREST, LANCZOS)
DETAIL = 3 / 8  # of the shorter side


@dataclass(frozen=True)
class Choice:
    """A picture that was chosen, and by what.

    Attributes:
        rank: ``best``, ``median`` or ``worst``; ``only`` where there is one picture.
        index: In the quality's pictures.
        picture: Its name.
        nth: How many pictures of the same name come before it.
        column: Whose result decided.
        metric: By which metric.
        value: The gain over bicubic in that metric, or bicubic's own score.
        scores: What the picture's results scored: column to metric to value.
    """

    rank: str
    index: int
    picture: str
    nth: int
    column: str
    metric: str
    value: float
    scores: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Case:
    """A chosen picture in all columns.

    Attributes:
        choice: Why it is here.
        lr: ``hw3``.
        pictures: ``HW3`` by column: bicubic, the models, HR.
        detail: Left, top, width and height in HR's pixels of the place to be shown larger.
    """

    choice: Choice
    lr: Pixels
    pictures: Mapping[str, Pixels]
    detail: tuple[int, int, int, int]


def choose(quality: Quality, column: str, metric: str | None = None) -> list[Choice]:
    """Return the best, the median and the worst picture of a column.

    What counts is the gain over bicubic on the same picture: by plain scores the smoothest
    pictures would be the best ones whoever enlarges them. Bicubic itself is judged by its score.
    Of equal pictures the first counts; of an even number the lower of the two in the middle.

    Args:
        quality: Scores.
        column: Whose.
        metric: By which; the first measured one if None.
    """
    metric = metric or next(iter(quality.metrics))
    sign = 1 if quality.metrics[metric]["higher_is_better"] else -1
    ours = quality.scores[column][metric]
    base = quality.scores[BICUBIC][metric] if column != BICUBIC else [0.0] * len(ours)
    # Two perfect results are infinite decibels each: neither gains over the other.
    gains = [0.0 if a == b else a - b for a, b in zip(ours, base, strict=True)]
    gains = ours if column == BICUBIC else gains
    keys = [-math.inf if math.isnan(gain) else sign * gain for gain in gains]
    order = sorted(range(len(keys)), key=lambda n: (-keys[n], n))
    ranks = {"best": order[0], "median": order[len(order) // 2], "worst": order[-1]}
    if len(order) == 1:
        ranks = {"only": 0}
    elif len(order) == 2:
        del ranks["median"]  # it would be one of the others
    return [
        Choice(
            rank,
            index,
            quality.pictures[index],
            quality.pictures[:index].count(quality.pictures[index]),
            column,
            metric,
            gains[index],
            {
                name: {m: values[index] for m, values in scores.items()}
                for name, scores in quality.scores.items()
            },
        )
        for rank, index in ranks.items()
    ]


@torch.inference_mode()
def make(
    columns: Sequence[Column],
    files: Sequence[Path],
    protocol: Protocol,
    choices: Sequence[Choice],
) -> list[Case]:
    """Make the chosen pictures again, as the bench made them.

    Args:
        columns: Of the bench; nearest neighbour and Lanczos aren't shown.
        files: Of the bench, in any order.
        protocol: Of the bench.
        choices: From `choose`.

    Raises:
        InputError: A file can't be read any more.
    """
    found = []
    for choice in choices:
        alike = ordered([file for file in files if file.name == choice.picture])
        hr = protocol.hr(alike[choice.nth].file)
        lr = protocol.degrade(hr)
        pictures = {
            column.name: _pixels(column(lr)) for column in columns if column.name not in NOT_SHOWN
        }
        pictures[HR] = _pixels(hr)
        place = detail(pictures[HR], protocol.scale)
        found.append(Case(choice, _pixels(lr), pictures, place))
    return found


def _pixels(pictures: Tensor) -> Pixels:
    return codec.to_uint8(pictures)[0].permute(1, 2, 0).contiguous().cpu().numpy()


def detail(hr: Pixels, scale: int) -> tuple[int, int, int, int]:
    """Return where HR holds most that LR can't hold: left, top, width, height.

    It is the square, three eighths of the shorter side wide and on LR's pixel grid, in which HR
    differs most (squared) from the means of its ``scale`` x ``scale`` blocks.

    Args:
        hr: ``HW3``, uint8, sides multiples of ``scale``.
        scale: The enlargement.
    """
    high, wide = hr.shape[0] // scale, hr.shape[1] // scale
    blocks = hr[: high * scale, : wide * scale].astype(np.float64)
    blocks = blocks.reshape(high, scale, wide, scale, 3)
    # The variance within a block is what its mean loses.
    energy = blocks.var(axis=(1, 3)).sum(axis=-1)
    side = max(1, round(min(high, wide) * DETAIL))
    total = np.pad(energy, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    sums = total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
    top, left = np.unravel_index(int(sums.argmax()), sums.shape)
    return int(left) * scale, int(top) * scale, side * scale, side * scale
