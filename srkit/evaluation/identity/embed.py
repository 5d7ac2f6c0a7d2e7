"""Probes -> what each method makes of them -> embeddings, each computed once."""

from __future__ import annotations

import copy
import hashlib
import inspect
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from srkit.errors import InputError
from srkit.evaluation.identity.faces import COPY, Finder, Located, detector_name
from srkit.evaluation.identity.people import Roles
from srkit.evaluation.measure import BATCH, Progress
from srkit.evaluation.methods import HR, LR, Method
from srkit.evaluation.protocol import Protocol, encoded
from srkit.evaluation.store import Store, sha256_of
from srkit.faces import align as faces
from srkit.imaging import codec

Array32 = NDArray[np.float32]

SPACE = "embeddings"
# Largest shift of a distance between batch sizes and between devices: networks sum in another
# order there, and a value on the edge between two of 8 bits may be rounded the other way. Shares
# and AUC may move by as many pairs as lie so near to a threshold, less than 0.001 of a thousand
# pairs. The order of files changes nothing at all.
TOLERANCE = 0.005
DECIMALS = 6  # of a distance; float32 carries no more
DEGRADED = 64  # images that are degraded at a time
KEPT = 1 << 30  # bytes of results that several embedders are shown; more are upscaled anew for each

ALIGNED = {
    "hr": f"once, on the HR photo: its largest MTCNN box, square, widened by {faces.MARGIN}",
    "sr": (
        f"anew on every result and on HR: the largest MTCNN box in a copy of {COPY}x{COPY}, "
        f"square, widened by {faces.MARGIN}; as on the HR photo where none is found, and for LR"
    ),
    "celeba": (
        "once, on the HR photo: what CelebA's aligned image shows around an MTCNN box like its "
        f"largest, framed as the protocol says; of results the box, square, widened by "
        f"{faces.MARGIN}"
    ),
}


def degraded(hr: Tensor, protocol: Protocol) -> Tensor:
    """Return lr, ``B3hw``, of 8-bit hr, ``B3HW``."""
    return torch.cat([protocol.degrade(part.float() / 255) for part in hr.split(DEGRADED)])


class Verifier:
    """Upscales the same probes by every method, and embeds the results; adds LR and HR.

    Args:
        methods: What is compared.
        embedder: A registered embedder, built.
        protocol: Size, scale, degradation, seed, and how faces are framed: see
            `srkit.evaluation.protocol.Protocol.for_faces`.
        store: Stores embeddings and boxes.
        align: See `ALIGNED`.
        batch_size: Images upscaled, and embedded, at a time.
        progress: Called with what is done, how much, and of how much.
        keep: Keep results for further embedders; see `judged_by`.
    """

    def __init__(
        self,
        methods: Sequence[Method],
        embedder: Any,
        protocol: Protocol,
        store: Store,
        *,
        align: str = "hr",
        batch_size: int = BATCH,
        progress: Progress = lambda *_: None,
        keep: bool = False,
    ) -> None:
        self.methods, self.protocol, self.align = methods, protocol, align
        self.finder = Finder(store, progress)
        self.embeddings = Embeddings(embedder, store, batch_size, progress)
        self.batch_size, self.progress = batch_size, progress
        self.photos: set[Path] = set()  # that were upscaled so far
        self._kept: dict[bytes, list[tuple[str, Tensor]]] = {}
        self._room = KEPT if keep else 0

    def judged_by(self, embedder: Any) -> Verifier:
        """Return a verifier by another embedder, which is shown the same results."""
        other = copy.copy(self)
        other.embeddings = Embeddings(embedder, self.finder.store, self.batch_size, self.progress)
        return other

    def gallery(self, photos: Sequence[Located], name: str) -> Array32:
        """Return the embeddings, ``BD``, of photos as they are."""
        return self.embeddings(self.finder.crops(photos, self.protocol.size), name)

    def embedded(
        self, probes: Sequence[Located], size: int, notes: list[str]
    ) -> Iterator[tuple[str, Array32]]:
        """Yield names and embeddings, ``BD``, of probes of ``size`` pixels: LR, every method, HR.

        ``notes`` gets a line on each thing that a reader must know.
        """
        self.photos.update(probe.photo for probe in probes)
        small = sum(probe.pixels() < size for probe in probes)
        if small:
            notes.append(
                f"{small} of {len(probes)} probes have faces of fewer pixels than HR's "
                f"{size}x{size}: they were resized to it"
            )
        framing = self.protocol.framing
        for name, results in self._results(self.finder.crops(probes, size, framing)):
            if framing != "face":
                results = self.finder.out_of_frames(results, probes, framing)
            if self.align == "sr" and name != LR:
                results, missed = self.finder.reframed(results)
                if missed:
                    notes.append(
                        f"{name}: no face found on {missed} of {len(probes)} results of "
                        f"{size}x{size}; they keep the crop of the HR photo"
                    )
            yield name, self.embeddings(results, name)

    def _results(self, hr: Tensor) -> Iterable[tuple[str, Tensor]]:
        if not self._room:
            return self._upscale(hr)
        key, size = sha256_of(hr.numpy()), hr.nbytes * (len(self.methods) + 2)
        if key not in self._kept and size <= self._room:
            self._room -= size
            self._kept[key] = list(self._upscale(hr))
        return self._kept.get(key) or self._upscale(hr)

    @torch.inference_mode()
    def _upscale(self, hr: Tensor) -> Iterator[tuple[str, Tensor]]:
        lr = degraded(hr, self.protocol)
        small = codec.to_uint8(lr)
        yield LR, small
        # Sorted, so that batches don't depend on the order of the files.
        order = sorted(range(len(lr)), key=lambda at: small[at].numpy().tobytes())
        for method in self.methods:
            sr = torch.empty_like(hr)
            for first in range(0, len(lr), self.batch_size):
                batch = order[first : first + self.batch_size]
                sr[batch] = codec.to_uint8(method(lr[batch], hr[batch].shape)).cpu()
                self.progress(f"upscaled {method.name}", first + len(batch), len(lr))
            yield method.name, sr
        yield HR, hr

    def stamp(self, roles: Roles) -> dict[str, Any]:
        """Return the protocol's stamp and what comes with faces."""
        # The same files with other names on them are other pairs.
        lines = sorted("\0".join([name, *(p.name for p in photos)]) for name, photos in roles)
        stamp = self.protocol.stamp([photo for _, photos in roles for photo in photos])
        return {
            **stamp,
            "versions": {**stamp["versions"], "detector": detector_name()},
            "embedder": self.embeddings.embedder.name,
            "embedder_sha256": self.embeddings.embedder.sha256,
            "distance": "L2 between unit embeddings",
            "align": self.align,
            "alignment": ALIGNED[self.align],
            "roles": hashlib.sha256(encoded("\n".join(lines))).hexdigest()[:16],
        }


class Embeddings:
    """An embedder whose results are stored.

    An embedding is stored under the SHA-256 of the image's shape and bytes and of the embedder:
    its weights, its name, and the source of its module, which decides what the weights are shown.
    """

    def __init__(
        self,
        embedder: Any,
        store: Store,
        batch_size: int = BATCH,
        progress: Progress = lambda *_: None,
    ) -> None:
        self.embedder, self.store = embedder, store
        self.batch_size, self.progress = batch_size, progress
        about = f"{embedder.name} {embedder.sha256} {type(embedder).__qualname__} ".encode()
        with suppress(TypeError, OSError):  # typed in, it lives no longer than this process
            about += Path(inspect.getfile(type(embedder))).read_bytes()
        self.embedder_key = hashlib.sha256(about).digest()
        weights = embedder.parameters() if isinstance(embedder, nn.Module) else iter(())
        self.device = next((weight.device for weight in weights), torch.device("cpu"))

    @torch.inference_mode()
    def __call__(self, images: Tensor, name: str = "") -> Array32:
        """Return embeddings, ``BD``, of images, uint8, ``B3HW`` of any one size.

        Raises:
            InputError: An embedding isn't finite: the weights are damaged.
        """
        keys = [sha256_of(image) + self.embedder_key for image in images.numpy()]

        def embed(indices: Sequence[int]) -> list[bytes]:
            batch = images[list(indices)].to(self.device).float() / 255
            values = self.embedder(batch).float().cpu().numpy()
            if not np.isfinite(values).all():
                raise InputError(f"{self.embedder.name}: embeddings aren't finite; other weights?")
            return [value.astype("<f4").tobytes() for value in values]

        stored = self.store.computed(
            SPACE,
            # Sorted, so that batches don't depend on the order of the files.
            dict(sorted({key: index for index, key in enumerate(keys)}.items())),
            embed,
            batch_size=self.batch_size,
            progress=partial(self.progress, f"embeddings {name}".strip()),
        )
        return np.stack([np.frombuffer(stored[key], "<f4") for key in keys]).astype(np.float32)
