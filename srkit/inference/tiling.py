"""Tiles: an image of any size through a network, a part at a time, without seams.

Each tile is given a margin of context that is computed and thrown away. Where two tiles meet they
fade into each other over `BLEND` LR pixels on each side: nothing where margins make tiles exact,
and no edge where they only approximate.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

BLEND = 8  # LR pixels on each side of a seam


@dataclass(frozen=True)
class Span:
    """One tile along one axis, in LR pixels: [start, stop) is its own, the rest is margin."""

    start: int
    stop: int
    length: int  # of the whole axis
    margin: int
    alignment: int = 1

    @property
    def shown(self) -> tuple[int, int]:
        """Where the tile takes part in the output: its own span and half of each seam."""
        left = 0 if self.start == 0 else self.start - BLEND
        right = self.length if self.last else self.stop + BLEND
        return left, right

    @property
    def last(self) -> bool:
        """Whether nothing comes after it."""
        return self.stop == self.length

    @property
    def read(self) -> slice:
        """The input of the network."""
        left, right = self.shown
        first = max(0, left - self.margin)
        return slice(first - first % self.alignment, min(self.length, right + self.margin))

    def inner(self, scale: int) -> slice:
        """Return where ``shown`` lies in the network's result of ``read``."""
        left, right = self.shown
        first = self.read.start
        return slice((left - first) * scale, (right - first) * scale)

    def written(self, scale: int) -> slice:
        """Return ``shown`` in SR pixels."""
        left, right = self.shown
        return slice(left * scale, right * scale)

    def ramp(self, scale: int) -> np.ndarray:
        """Return the weights along the axis; those of two neighbours add up to one."""
        left, right = self.shown
        weights = np.ones((right - left) * scale, np.float32)
        fade = 2 * BLEND * scale
        rise = (np.arange(fade, dtype=np.float32) + 0.5) / fade
        if self.start > 0:
            weights[:fade] = rise
        if not self.last:
            weights[-fade:] = rise[::-1]
        return weights


def spans(length: int, tile: int, margin: int, alignment: int = 1) -> list[Span]:
    """Cut an axis into equal spans of about ``tile`` LR pixels, or one if that is nearly enough.

    Each has a margin of context on both sides, and is read from a multiple of ``alignment``.
    """
    tile = max(tile, 2 * BLEND)  # no pixel may lie under more than one seam
    if length <= tile + 2 * margin:
        return [Span(0, length, length, margin, alignment)]
    count = min(math.ceil(length / tile), length // (2 * BLEND))
    edges = [round(length * i / count) for i in range(count + 1)]
    return [Span(start, stop, length, margin, alignment) for start, stop in pairwise(edges)]


def blended(
    results: Iterator[np.ndarray], rows: list[Span], columns: list[Span], scale: int
) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """Yield what tiles have finished of the output: each pixel once, seams blended.

    Only the seams wait for a neighbour, so that beside the output no more than one tile and one
    row of seams is held.

    Args:
        results: The network's results (B3HW) of the `Span.read` of each row and column, row by
            row from the left.
        rows: From `spans`.
        columns: From `spans`.
        scale: SR pixels to one LR pixel, along a line.

    Yields:
        Rows and columns of the output, and their values (B3HW).
    """
    if len(rows) == len(columns) == 1:  # as most images are: what follows takes a while
        yield rows[0].written(scale), columns[0].written(scale), next(results)
        return
    fade = 2 * BLEND * scale
    above: np.ndarray | None = None  # the lower seam of the row before, over the whole width
    for row in rows:
        below: np.ndarray | None = None
        previous_seam: np.ndarray | None = None  # the right seam of the tile before
        for column in columns:
            tile = next(results)[..., row.inner(scale), column.inner(scale)]
            # Multiplied only where there is a seam: other values stay as they are, to the bit.
            if len(rows) > 1:
                tile = tile * row.ramp(scale)[:, None]
            if len(columns) > 1:
                tile = tile * column.ramp(scale)
            place = column.written(scale)
            if above is not None:
                # The left seam has this from the tile before.
                first = fade if column.start > 0 else 0
                tile[..., :fade, first:] += above[..., place.start + first : place.stop]
            if previous_seam is not None:
                tile[..., :fade] += previous_seam
            if not column.last:
                previous_seam = tile[..., -fade:].copy()
                tile, place = tile[..., :-fade], slice(place.start, place.stop - fade)
            across = row.written(scale)
            if not row.last:
                if below is None:
                    width = columns[-1].length * scale
                    below = np.empty((*tile.shape[:2], fade, width), tile.dtype)
                below[..., place] = tile[..., -fade:, :]
                tile, across = tile[..., :-fade, :], slice(across.start, across.stop - fade)
            yield across, place, tile
        above = below
