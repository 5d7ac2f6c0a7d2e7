"""FaceNet embeddings of faces, by facenet-pytorch's Inception-ResNet-v1."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from facenet_pytorch import InceptionResnetV1
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import interpolate

from srkit import InputError, foreign
from srkit.files import sha256

PRETRAINED = ("vggface2", "casia-webface")
SIDE = 160
ENVIRONMENT = "SRKIT_FACENET_WEIGHTS"
# Faces computed at once on a CPU: feature maps of more fall out of its caches.
AT_ONCE = 32


def _read(file: Path) -> tuple[dict[str, Tensor], str]:
    if not file.is_file():
        raise InputError(
            f"FaceNet weights {file}: no such file; give one, or {' or '.join(PRETRAINED)}"
        )
    try:
        checksum = sha256(file)
        loaded: Any = load_file(file) if file.suffix == ".safetensors" else foreign.tensors(file)
    except (InputError, OSError, SafetensorError) as error:
        raise InputError(f"FaceNet weights {file}: not a readable state_dict ({error})") from error
    if not isinstance(loaded, dict) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise InputError(f"FaceNet weights {file}: not a state_dict")
    # The classifier of the training set's people is no part of the embedding.
    return {key: value for key, value in loaded.items() if not key.startswith("logits.")}, checksum


def _downloaded(name: str) -> dict[str, Tensor]:
    try:
        state = InceptionResnetV1(pretrained=name).state_dict()
    # requests, urllib and torch.hub each raise errors of their own when there is no network.
    except Exception as error:
        raise InputError(
            f"FaceNet weights '{name}' can't be downloaded ({type(error).__name__}); give a file "
            f"in {ENVIRONMENT}, or to verify by --embedder-weights FILE"
        ) from error
    return {key: value for key, value in state.items() if not key.startswith("logits.")}


def _sum_of(state: Mapping[str, Tensor]) -> str:
    """Return a SHA-256 of the values that embeddings depend on, whatever file they were in."""
    total = hashlib.sha256()
    for _, value in sorted(state.items()):
        if value.is_floating_point():  # not batch normalisation's counters, which a file may lack
            total.update(value.detach().cpu().contiguous().numpy().data)
    return total.hexdigest()


class FaceNet(nn.Module):
    """FaceNet (Schroff et al., 2015) on Inception-ResNet-v1, by facenet-pytorch.

    Faces are resized to 160x160 (bilinear) and scaled to (x * 255 - 127.5) / 128. The network
    computes in channels_last, a CPU with 32 faces at a time: on one thread that takes seven tenths
    of facenet-pytorch's time (``benchmarks/embedder_speed.py``). Names and values of its
    weights stay facenet-pytorch's.

    Args:
        weights: ``vggface2`` or ``casia-webface`` (facenet-pytorch downloads them once), or a
            file: a state_dict as ``.pt``, read without executing pickles, or
            ``.safetensors``. Empty: ``SRKIT_FACENET_WEIGHTS`` if set, else ``vggface2``.

    Attributes:
        name: Architecture and weights.
        sha256: Hash of the file, or of the downloaded values.
        values_sha256: Hash of the values, which is the same whatever file they came in.

    Raises:
        InputError: The weights can't be had, or don't fit.
    """

    def __init__(self, *, weights: str = "") -> None:
        super().__init__()
        weights = weights or os.environ.get(ENVIRONMENT, "") or PRETRAINED[0]
        if weights in PRETRAINED:
            state = _downloaded(weights)
            values = b"".join(v.cpu().numpy().tobytes() for _, v in sorted(state.items()))
            self.sha256 = hashlib.sha256(values).hexdigest()
            self.name = f"facenet ({weights})"
        else:
            state, self.sha256 = _read(Path(weights))
            self.name = f"facenet ({Path(weights).stem})"
        self.network = InceptionResnetV1(pretrained=None)
        try:
            self.network.load_state_dict(state)
        except RuntimeError as error:
            first = str(error).splitlines()[1:2] or [str(error)]
            raise InputError(
                f"FaceNet weights {weights} don't fit Inception-ResNet-v1: {first[0].strip()}"
            ) from error
        self.values_sha256 = _sum_of(self.network.state_dict())
        for module in self.network.modules():
            if isinstance(module, nn.ReLU):
                module.inplace = True  # what goes in comes from an operation that won't need it
        self.network.to(memory_format=torch.channels_last)
        self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> FaceNet:
        """Stay in evaluation mode: an embedder that learns is no referee."""
        super().train(False)
        return self

    def forward(self, faces: Tensor) -> Tensor:
        """Map faces, ``B3HW`` in [0, 1], to embeddings of unit length, ``B512``."""
        some = AT_ONCE if faces.device.type == "cpu" else max(1, len(faces))
        return torch.cat([self._embed(part) for part in faces.split(some)])

    def _embed(self, faces: Tensor) -> Tensor:
        faces = faces.clamp(0, 1)
        if faces.shape[-2:] != (SIDE, SIDE):
            faces = interpolate(faces, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
        faces = ((faces * 255 - 127.5) / 128).contiguous(memory_format=torch.channels_last)
        embedding: Tensor = self.network(faces)
        return embedding
