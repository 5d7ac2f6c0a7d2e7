"""Embeddings of faces, each computed once: kept by picture and embedder."""

from __future__ import annotations

import hashlib
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from srkit.errors import InputError
from srkit.evaluation.measuring import BATCH, Progress, ignore
from srkit.evaluation.store import Store

SPACE = "embeddings"


class Embeddings:
    """An embedder that remembers.

    An embedding is kept under the SHA-256 of the picture's shape and bytes and of the embedder:
    its weights, its name, and the source of its module, which decides what the weights are shown.

    Args:
        embedder: A registered one, built.
        store: Keeps embeddings.
        batch_size: Pictures at a time; each batch is kept when it is done.
        progress: Told how many are computed.
    """

    def __init__(
        self, embedder: Any, store: Store, batch_size: int = BATCH, progress: Progress = ignore
    ) -> None:
        self.embedder, self.store = embedder, store
        self.batch_size, self.progress = batch_size, progress
        about = f"{embedder.name} {embedder.sha256} {type(embedder).__qualname__} ".encode()
        self.by = hashlib.sha256(about + _source(embedder)).digest()
        self.device = _device(embedder)

    @torch.inference_mode()
    def __call__(self, pictures: Tensor, what: str = "") -> NDArray[np.float32]:
        """Return embeddings, ``BD``, of pictures, uint8, ``B3HW`` of one size.

        Args:
            pictures: Of any size; the embedder scales them.
            what: They are, for the progress.

        Raises:
            InputError: An embedding isn't finite: the weights are damaged.
        """
        keys = [self._key(picture) for picture in pictures]
        known = self.store.get(SPACE, keys)
        # In an order of their own, so that batches don't depend on that of the files.
        todo = sorted({key: at for at, key in enumerate(keys) if key not in known}.items())
        for first in range(0, len(todo), self.batch_size):
            some = todo[first : first + self.batch_size]
            batch = pictures[[at for _, at in some]].to(self.device).float() / 255
            found = self.embedder(batch).float().cpu().numpy()
            if not np.isfinite(found).all():
                raise InputError(f"{self.embedder.name}: embeddings aren't finite; other weights?")
            fresh = {
                key: value.astype("<f4").tobytes()
                for (key, _), value in zip(some, found, strict=True)
            }
            self.store.put(SPACE, fresh)
            known |= fresh
            self.progress(f"embeddings {what}".strip(), first + len(some), len(todo))
        return np.stack([np.frombuffer(known[key], "<f4") for key in keys]).astype(np.float32)

    def _key(self, picture: Tensor) -> bytes:
        shape = f"{tuple(picture.shape)} ".encode()
        pixels = picture.contiguous().numpy().tobytes()
        return hashlib.sha256(shape + pixels).digest() + self.by


def _source(embedder: Any) -> bytes:
    try:
        return Path(inspect.getfile(type(embedder))).read_bytes()
    except (TypeError, OSError):  # it was typed in, and lives no longer than this process
        return b""


def _device(embedder: Any) -> torch.device:
    first = next(embedder.parameters(), None) if isinstance(embedder, nn.Module) else None
    return torch.device("cpu") if first is None else first.device
