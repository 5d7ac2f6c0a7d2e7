"""FaceNet embeddings of faces, by facenet-pytorch's Inception-ResNet-v1."""

from __future__ import annotations

import hashlib
import os
import pickle
import warnings
from pathlib import Path
from typing import Any

import torch
from facenet_pytorch import InceptionResnetV1
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import interpolate

from srkit import InputError

PRETRAINED = ("vggface2", "casia-webface")
SIDE = 160
ENVIRONMENT = "SRKIT_FACENET_WEIGHTS"


def _read(file: Path) -> tuple[dict[str, Tensor], str]:
    try:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        loaded: Any
        if file.suffix == ".safetensors":
            loaded = load_file(file)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of unusual pickles; only tensors are taken
                loaded = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"FaceNet weights {file}: no such file") from error
    except (
        OSError,
        RuntimeError,
        ValueError,
        EOFError,
        pickle.UnpicklingError,
        SafetensorError,
    ) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"FaceNet weights {file}: not a readable state_dict ({first})") from error
    if not isinstance(loaded, dict) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise InputError(f"FaceNet weights {file}: not a state_dict")
    # The classifier of the training set's people is no part of the embedding.
    return {key: value for key, value in loaded.items() if not key.startswith("logits.")}, digest


def _downloaded(name: str) -> dict[str, Tensor]:
    try:
        state = InceptionResnetV1(pretrained=name).state_dict()
    # requests, urllib and torch.hub each raise errors of their own when there is no network.
    except Exception as error:
        raise InputError(
            f"FaceNet weights '{name}' can't be downloaded ({type(error).__name__}); give a file "
            f"with --embedder-weights FILE or {ENVIRONMENT}"
        ) from error
    return {key: value for key, value in state.items() if not key.startswith("logits.")}


class FaceNet(nn.Module):
    """FaceNet (Schroff et al., 2015) on Inception-ResNet-v1, by facenet-pytorch.

    Faces are resized to 160x160 (bilinear) and scaled to (x * 255 - 127.5) / 128.

    Args:
        weights: ``vggface2`` or ``casia-webface`` (facenet-pytorch downloads them once), or a
            file: a state_dict as ``.pt``, read without executing pickles, or
            ``.safetensors``. Empty: ``SRKIT_FACENET_WEIGHTS`` if set, else ``vggface2``.

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
        self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> FaceNet:
        """Stay in evaluation mode: an embedder that learns is no referee."""
        super().train(False)
        return self

    def forward(self, faces: Tensor) -> Tensor:
        """Map faces, ``B3HW`` in [0, 1], to embeddings of unit length, ``B512``."""
        faces = faces.clamp(0, 1)
        if faces.shape[-2:] != (SIDE, SIDE):
            faces = interpolate(faces, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
        embedding: Tensor = self.network((faces * 255 - 127.5) / 128)
        return embedding
