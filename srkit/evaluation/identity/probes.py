"""Probes -> what each column makes of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from srkit.errors import InputError
from srkit.evaluation.columns import HR, LR, Column
from srkit.evaluation.identity.embeddings import Embeddings
from srkit.evaluation.identity.found import COPY, Finder, Located
from srkit.evaluation.measuring import Progress
from srkit.evaluation.protocol import Protocol
from srkit.evaluation.store import Store
from srkit.faces import align as faces
from srkit.imaging import codec

Array32 = NDArray[np.float32]

# Of a distance, between batch sizes and between devices: networks sum in another order there, and
# a value on the edge between two of 8 bits may be rounded the other way. Shares and AUC may move
# by as many pairs as lie so near to a threshold, less than 0.001 of a thousand pairs. The order of
# files and the number of workers change nothing at all.
TOLERANCE = 0.005
DECIMALS = 6  # of a distance; float32 carries no more
AT_ONCE = 64  # pictures that are degraded at a time

ALIGNED = {
    "hr": f"once, on the HR photo: its largest MTCNN box, square, widened by {faces.MARGIN}",
    "sr": (
        f"anew on every result and on HR: the largest MTCNN box in a copy of {COPY}x{COPY}, "
        f"square, widened by {faces.MARGIN}; as on the HR photo where none is found, and for LR"
    ),
}


def require_alignment(align: str) -> None:
    """See that a way of framing is known.

    Raises:
        InputError: It isn't.
    """
    if align not in ALIGNED:
        raise InputError(f"align is {' or '.join(ALIGNED)}, not '{align}'")


def degraded(hr: Tensor, protocol: Protocol) -> Tensor:
    """Return lr, ``B3hw``, of 8-bit hr, ``B3HW``."""
    return torch.cat([protocol.degrade(some.float() / 255) for some in hr.split(AT_ONCE)])


def pixels(lr: Tensor) -> Iterator[NDArray[np.uint8]]:
    """Yield lr, ``B3hw`` in [0, 1], as arrays, uint8, ``hw3``."""
    yield from codec.to_uint8(lr).permute(0, 2, 3, 1).contiguous().cpu().numpy()


class Reconstruction:
    """Makes every column's pictures of the same probes, and embeds them.

    Args:
        columns: What enlarges.
        embedder: A registered embedder, built.
        protocol: How probes are degraded.
        store: Keeps embeddings and boxes.
        align: A key of `ALIGNED`.
        workers: Threads that decode photos.
        batch_size: Pictures enlarged, and embedded, at a time.
        progress: Told what is done, how much, and of how much.

    Attributes:
        finder: Finds faces on photos and, where ``align`` is ``sr``, on results.
        embeddings: The judge.
        notes: What a reader must know, a line each: of how many probes HR was enlarged, and on how
            many of a column's results no face was found.

    Raises:
        InputError: ``align`` isn't known.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        embedder: Any,
        protocol: Protocol,
        *,
        store: Store,
        align: str,
        workers: int | None,
        batch_size: int,
        progress: Progress,
    ) -> None:
        require_alignment(align)
        self.columns, self.protocol, self.align = columns, protocol, align
        self.finder = Finder(store, workers, progress)
        self.embeddings = Embeddings(embedder, store, batch_size, progress)
        self.batch_size, self.progress = batch_size, progress
        self.notes: list[str] = []

    def of(self, probes: Sequence[Located], size: int) -> Iterator[tuple[str, Array32]]:
        """Yield every column's name and embeddings, ``BD``, of photos brought to so many pixels."""
        small = sum(probe.pixels() < size for probe in probes)
        if small:
            self._note(
                f"{small} of {len(probes)} probes have faces of fewer pixels than HR's "
                f"{size}x{size}: they were enlarged to it"
            )
        yield from self(self.finder.crops(probes, size))

    def __call__(self, hr: Tensor) -> Iterator[tuple[str, Array32]]:
        """Yield every column's name and embeddings, ``BD``: LR, then the columns, then HR.

        Args:
            hr: The probes as they are, uint8, ``B3HW``.

        Raises:
            InputError: A column makes pictures of another size.
        """
        for name, pictures in self._pictures(hr):
            size = pictures.shape[-1]
            if self.align == "sr" and name != LR:
                pictures, missed = self.finder.reframed(pictures)
                if missed:
                    self._note(
                        f"{name}: no face found on {missed} of {len(hr)} results of {size}x{size}; "
                        "they keep the crop of the HR photo"
                    )
            yield name, self.embeddings(pictures, name)

    def _note(self, line: str) -> None:
        if line not in self.notes:  # two sets of probes may be of one size
            self.notes.append(line)

    def _pictures(self, hr: Tensor) -> Iterator[tuple[str, Tensor]]:
        lr = degraded(hr, self.protocol)
        small = codec.to_uint8(lr)
        yield LR, small
        # In an order of their own, so that batches don't depend on that of the files.
        order = sorted(range(len(lr)), key=lambda at: small[at].numpy().tobytes())
        for column in self.columns:
            sr = torch.empty_like(hr)
            for first in range(0, len(lr), self.batch_size):
                some = order[first : first + self.batch_size]
                sr[some] = self._enlarged(column, lr[some], hr.shape[1:])
                self.progress(f"enlarged {column.name}", first + len(some), len(lr))
            yield column.name, sr
        yield HR, hr

    @torch.inference_mode()
    def _enlarged(self, column: Column, lr: Tensor, shape: torch.Size) -> Tensor:
        sr = codec.to_uint8(column(lr)).cpu()
        if sr.shape[1:] != shape:
            raise InputError(
                f"'{column.name}' makes {sr.shape[-1]}x{sr.shape[-2]} pixels of "
                f"{lr.shape[-1]}x{lr.shape[-2]}, not {shape[-1]}x{shape[-2]}"
            )
        return sr
