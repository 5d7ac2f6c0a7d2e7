"""What one number a picture doesn't show: fine texture, and errors within a part of the face."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from srkit.evaluation.columns import BICUBIC, HR, REFERENCES, Column
from srkit.evaluation.measuring import BATCH, Progress, ignore, ordered
from srkit.evaluation.protocol import Protocol
from srkit.faces import align

LUMA = (0.299, 0.587, 0.114)  # BT.601
Box: TypeAlias = tuple[int, int, int, int]  # left, top, right, bottom in HR's pixels


@dataclass(frozen=True)
class Details:
    """Measures of every picture, beside those of the protocol.

    Attributes:
        pictures: The files' names, in the values' order.
        texture: Column, HR among them, to each picture's `texture` as a share of HR's mean over
            all pictures: HR's own mean is 1.
        regions: Part of the face, to column, to each picture's `error` there.
        boxes: Part of the face, to its place.
    """

    pictures: list[str]
    texture: dict[str, list[float]]
    regions: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    boxes: dict[str, Box] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Details:
        """Return what `as_json` gave these values of."""
        left, top, right, bottom = range(4)
        boxes = {n: (b[left], b[top], b[right], b[bottom]) for n, b in found["boxes"].items()}
        return cls(found["pictures"], found["texture"], found["regions"], boxes)


def fine(pictures: Tensor, scale: int) -> Tensor:
    """Return luma's part beyond LR's Nyquist limit, which no interpolation of LR holds, ``BHW``.

    That are the frequencies above 1 / (2 ``scale``) cycles a pixel, across or down.

    Args:
        pictures: ``B3HW`` in [0, 1].
        scale: HR's pixels to one of LR's.
    """
    luma = (pictures * pictures.new_tensor(LUMA)[:, None, None]).sum(dim=1)
    spectrum = torch.fft.fft2(luma, norm="ortho")
    rows, columns = (
        torch.fft.fftfreq(n, device=luma.device).abs() for n in (luma.shape[-2], luma.shape[-1])
    )
    beyond = torch.maximum(rows[:, None], columns[None]) > 1 / (2 * scale)
    high: Tensor = torch.fft.ifft2(spectrum * beyond, norm="ortho").real
    return high


def texture(pictures: Tensor, scale: int) -> Tensor:
    """Return each picture's mean energy beyond LR's Nyquist limit, shape ``B``; see `fine`.

    Noise counts as much as hair: more of it isn't better in itself, HR's is what there is.
    """
    return fine(pictures, scale).square().mean(dim=(-2, -1))


def error(sr: Tensor, hr: Tensor, box: Box) -> Tensor:
    """Return the root of the mean squared error within a box, of 255, shape ``B``."""
    left, top, right, bottom = box
    less = (sr - hr)[..., top:bottom, left:right]
    return less.square().mean(dim=(-3, -2, -1)).sqrt() * 255


def framed(box: tuple[float, ...], framing: str, size: int) -> Box | None:
    """Return a part of CelebA's aligned pictures in a picture framed from one.

    Args:
        box: Left, top, right, bottom in pixels of CelebA's pictures.
        framing: ``squash`` or ``square``; in others it isn't known where the face is.
        size: Side of the framed picture.

    Returns:
        None where the framing doesn't tell, or nothing of the part is in the picture.
    """
    if framing not in ("squash", "square"):
        return None
    wide, high = align.CELEBA_SIZE
    side = min(wide, high)
    across, down = (wide, high) if framing == "squash" else (side, side)
    sides, cut = (across, down), ((wide - across) / 2, (high - down) / 2)
    left, top, right, bottom = (
        min(size, max(0, round((at - cut[n % 2]) / sides[n % 2] * size)))
        for n, at in enumerate(box)
    )
    return (left, top, right, bottom) if right > left and bottom > top else None


def place(landmark: int, width: float, height: float) -> tuple[float, ...]:
    """Return a part of the face in CelebA's aligned pictures: left, top, right, bottom.

    Args:
        landmark: The part's middle, counted in `srkit.faces.align.CELEBA_LANDMARKS`.
        width: In pixels of CelebA's pictures.
        height: The same.
    """
    x, y = align.CELEBA_LANDMARKS[landmark]
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def window(hr: Tensor, scale: int, side: int, within: Box | None = None) -> Box:
    """Return the square in which HR holds most energy beyond LR's Nyquist limit.

    Args:
        hr: ``13HW`` in [0, 1].
        scale: Squares lie on LR's pixel grid.
        side: Of the square in HR's pixels; rounded to a multiple of ``scale``, and less where
            there is no room.
        within: Where to look; None for everywhere.
    """
    energy = fine(hr, scale)[0].double().square().cpu().numpy()
    left, top, right, bottom = within or (0, 0, energy.shape[1], energy.shape[0])
    left, top = -(-left // scale), -(-top // scale)
    right, bottom = max(left + 1, right // scale), max(top + 1, bottom // scale)
    part = energy[top * scale : bottom * scale, left * scale : right * scale]
    high, wide = part.shape[0] // scale, part.shape[1] // scale
    blocks = part.reshape(high, scale, wide, scale).sum(axis=(1, 3))
    count = max(1, min(high, wide, round(side / scale)))
    sums = np.lib.stride_tricks.sliding_window_view(blocks, (count, count)).sum(axis=(2, 3))
    y, x = (int(n) for n in np.unravel_index(int(sums.argmax()), sums.shape))
    x, y, extent = (left + x) * scale, (top + y) * scale, count * scale
    return x, y, x + extent, y + extent


@torch.inference_mode()
def measure(
    columns: Sequence[Column],
    files: Sequence[Path],
    protocol: Protocol,
    boxes: Mapping[str, Box],
    *,
    workers: int | None = None,
    progress: Progress = ignore,
) -> Details:
    """Measure texture and errors in parts of the face, of bicubic and the models.

    Args:
        columns: Of the bench.
        files: Of the bench.
        protocol: Of the bench.
        boxes: Parts of the face, and their places.
        workers: Threads that look for the files' order.
        progress: Told ``"details"``, how many pictures are done, and of how many.

    Raises:
        InputError: A file can't be read any more.
    """
    shown = [c for c in columns if c.name == BICUBIC or c.name not in REFERENCES]
    pictures = ordered(files, workers)
    energies: dict[str, list[float]] = {name: [] for name in (*(c.name for c in shown), HR)}
    errors: dict[str, dict[str, list[float]]] = {
        part: {column.name: [] for column in shown} for part in boxes
    }
    at_once = BATCH if protocol.framing in ("squash", "square") else 1
    for first in range(0, len(pictures), at_once):
        batch = pictures[first : first + at_once]
        hr = torch.cat([protocol.hr(picture.file) for picture in batch])
        lr = protocol.degrade(hr)
        energies[HR] += texture(hr, protocol.scale).tolist()
        for column in shown:
            sr = column(lr).to(hr.device)
            energies[column.name] += texture(sr, protocol.scale).tolist()
            for part, box in boxes.items():
                errors[part][column.name] += error(sr, hr, box).tolist()
        progress("details", min(first + at_once, len(pictures)), len(pictures))
    mean = sum(energies[HR]) / len(pictures)
    shares = {name: [value / (mean or 1) for value in its] for name, its in energies.items()}
    return Details([p.file.name for p in pictures], shares, errors, dict(boxes))
