"""Random squares of photos as HR images, cropped and resampled in one go on the device."""

from __future__ import annotations

import torch
from torch import Tensor

from srkit import seeds
from srkit.data.sampler import Batch
from srkit.recipe import Recipe

_SIDE, _LEFT, _TOP, _SIZE = 4, 5, 6, 7  # purposes of a seed, beside those of the sampler


def jittered(batch: Batch, recipe: Recipe, step: int) -> Batch:
    """Return the batch whose HR images are random squares of its photos.

    Which squares follows from each image's seed, which of the recipe's sizes from the run's seed
    and the step. A batch of larger images keeps the first of its photos, so that the number of
    pixels stays about the same.

    ``batch.hr`` holds photos, ``b3PP`` with P the recipe's ``photo_size``; ``step`` is the number
    of training steps done before.
    """
    data, size = recipe.data, recipe.data.size
    if data.extra_sizes:
        key = int(seeds.derive(torch.tensor([recipe.seed]), _SIZE, step))
        size = data.sizes[(key >> 8) % len(data.sizes)]
    count = max(1, round(len(batch.hr) * (data.size / size) ** 2))
    photos, keys = batch.hr[:count], batch.seeds[:count]
    edge = photos.shape[-1]
    least = max(data.crop[0] * edge, min(size, edge))
    most = max(data.crop[1] * edge, least)

    def drawn(stream: int) -> Tensor:
        return seeds.uniform(keys, (), stream)

    side = least + (most - least) * drawn(_SIDE)
    columns = resampling(drawn(_LEFT) * (edge - side), side, edge, size)
    rows = resampling(drawn(_TOP) * (edge - side), side, edge, size)
    hr = (rows[:, None] @ photos @ columns[:, None].transpose(-1, -2)).clamp(0, 1)
    return Batch(hr.contiguous(memory_format=torch.channels_last), keys)


def resampling(start: Tensor, length: Tensor, before: int, after: int) -> Tensor:
    """Return matrices that cut part of a line of pixels and resample it, ``b x after x before``.

    Bicubic with a = -0.5 (Keys, 1981), widened where it reduces and normalised at the borders, as
    Pillow's ``resize(box=...)`` and torch's ``antialias=True`` do it.

    Args:
        start: First edge of the part in pixels, float, shape ``b``.
        length: Length of the part in pixels, float, shape ``b``.
        before: Pixels of the whole line.
        after: Pixels to make of the part.
    """
    ratio = (length / after)[:, None, None]
    target = torch.arange(after, device=start.device)[None, :, None] + 0.5
    source = torch.arange(before, device=start.device)[None, None, :] + 0.5
    x = ((source - start[:, None, None] - target * ratio) / ratio.clamp(min=1)).abs()
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    weights = torch.where(x < 1, near, torch.where(x < 2, far, 0))
    return weights / weights.sum(dim=-1, keepdim=True)
