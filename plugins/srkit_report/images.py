"""The chosen images by every method, as elements of the page.

Small images are shown larger by repeating their pixels and never smoothed, so that what is seen
is what was measured.
"""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from srkit.evaluation.measure import Pixels
    from srkit.evaluation.report import Quality
    from srkit_report.examples import Example

WIDE = 192  # pixels a small image is shown at, about
LARGE = 288  # an image is shown smaller from here on; its detail still has every pixel
DETAIL = 3 / 8  # of the shorter side
METRICS = 3  # beneath each image


@dataclass(frozen=True)
class Tile:
    """An image by one method.

    Attributes:
        name: The method.
        whole: Data address of the whole image.
        detail: The same of a part of it.
        scores: Title and value of some metrics.
        ranked: Whether the images were chosen by this method's gain.
    """

    name: str
    whole: str
    detail: str
    scores: list[tuple[str, str]]
    ranked: bool


@dataclass(frozen=True)
class Shown:
    """A chosen image by every method.

    Attributes:
        title: Its rank and name.
        reason: The gain it was chosen by.
        size: Width and height of whole images on the page.
        zoomed: The same of details.
        frame: Left, top, width and height of the detail in per cent of the whole.
        tiles: LR, bicubic, the models, HR.
    """

    title: str
    reason: str
    size: tuple[int, int]
    zoomed: tuple[int, int]
    frame: list[float]
    tiles: list[Tile]


def shown(example: Example, quality: Quality) -> Shown:
    """Return an example as the page shows it."""
    whole = example.images.get("HR", example.images[example.method])
    high, wide = whole.shape[:2]
    box = detail(whole, wide // example.images["LR"].shape[1])
    less = math.ceil(max(high, wide) / LARGE)
    more = max(1, round(WIDE / max(high, wide)))
    size = math.ceil(wide / less) * more, math.ceil(high / less) * more
    times = max(1, min(size[0], LARGE) // box[2])
    tiles = []
    for name, pixels in example.images.items():
        x, y, w, h = (value * pixels.shape[1] // wide for value in box)
        image = Image.fromarray(pixels)
        if less > 1 and name != "LR":
            image = image.reduce(less)
        part = Image.fromarray(np.ascontiguousarray(pixels[y : y + h, x : x + w]))
        scores = _scores(quality, name, example.index)
        tiles.append(Tile(name, address(image), address(part), scores, name == example.method))
    low, narrow = example.images["LR"].shape[:2]
    title, reason = quality.images[example.index], f"{narrow}x{low}"
    if example.rank:
        about = quality.metrics[example.metric]
        name, unit = about.get("title") or example.metric, about.get("unit") or ""
        gain = f"{decimal(example.gain, about, '+')} {unit}".strip()
        title = f"{example.rank.capitalize()}: {title}"
        reason = f"{example.method} gains {gain} {name} over bicubic"
    return Shown(
        title,
        reason,
        size,
        (box[2] * times, box[3] * times),
        [100 * value / side for value, side in zip(box, (wide, high, wide, high), strict=True)],
        tiles,
    )


def _scores(quality: Quality, method: str, index: int) -> list[tuple[str, str]]:
    first = [name for name in ("psnr", "ssim", "lpips", "st-lpips") if name in quality.metrics]
    names = list(dict.fromkeys((*first, *quality.metrics)))[:METRICS]
    scores = quality.scores.get(method, {})
    about = {name: quality.metrics[name] for name in names if name in scores}
    return [
        (metric.get("title") or name, decimal(scores[name][index], metric))
        for name, metric in about.items()
    ]


def decimal(value: float, about: Any, sign: str = "") -> str:
    """Return a value with a metric's decimals and a true minus; signed, if ``sign`` is ``+``."""
    if math.isnan(value):
        return "\N{EN DASH}"
    text = f"{value:{sign}.{2 if about.get('unit') == 'dB' else 4}f}"
    return text.replace("-", "\N{MINUS SIGN}")


def address(image: Image.Image | bytes) -> str:
    """Return an image, or a PNG file, as an address that holds it."""
    if isinstance(image, Image.Image):
        file = io.BytesIO()
        image.save(file, format="PNG", optimize=True)
        image = file.getvalue()
    return f"data:image/png;base64,{base64.b64encode(image).decode()}"


def detail(hr: Pixels, scale: int) -> tuple[int, int, int, int]:
    """Return where HR holds most that LR can't hold: left, top, width, height.

    It is the square, three eighths of the shorter side wide and on LR's pixel grid, in which HR
    differs most (squared) from the means of its ``scale`` x ``scale`` blocks.
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
