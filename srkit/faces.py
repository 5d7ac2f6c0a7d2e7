"""Find faces and crop them, with facenet-pytorch's MTCNN (its weights ship with it)."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

# The box is widened by this factor, so that hair and chin are in: MTCNN's boxes are tight.
MARGIN = 1.35


@dataclass(frozen=True)
class Face:
    """A face in a picture.

    Attributes:
        box: Left, top, right, bottom in pixels of the picture; may reach beyond it.
        probability: The detector's, in [0, 1].
    """

    box: tuple[float, float, float, float]
    probability: float


class Detector:
    """MTCNN (Zhang et al., 2016) as facenet-pytorch ships it.

    Args:
        device: Where it computes.
        least: Smallest face looked for, in pixels.
        confidence: Faces of a lower probability are left out.
    """

    def __init__(
        self, device: torch.device | None = None, *, least: int = 20, confidence: float = 0.9
    ) -> None:
        with warnings.catch_warnings():
            # facenet-pytorch's weights are plain tensors in files of torch's old format.
            warnings.simplefilter("ignore")
            from facenet_pytorch import MTCNN

            self.network = MTCNN(
                keep_all=True, min_face_size=least, device=device or torch.device("cpu")
            )
        self.least, self.confidence = least, confidence

    def faces(self, image: Image.Image) -> list[Face]:
        """Return the faces in a picture, the largest first; none is an empty list."""
        if min(image.size) < self.least:
            return []  # MTCNN would find no scale to look at, and fail
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            boxes, probabilities = self.network.detect(image.convert("RGB"))
        if boxes is None:
            return []
        found = [
            Face((float(b[0]), float(b[1]), float(b[2]), float(b[3])), float(p))
            for b, p in zip(boxes, probabilities, strict=True)
            if p is not None and p >= self.confidence
        ]
        return sorted(found, key=lambda f: -(f.box[2] - f.box[0]) * (f.box[3] - f.box[1]))


def crop(image: Image.Image, face: Face, size: int, *, margin: float = MARGIN) -> Image.Image:
    """Return a face as a square picture, by Pillow's bicubic.

    The square has the longer side of the box times ``margin`` and its centre; where it reaches
    beyond the picture, the border's pixels are repeated.

    Args:
        image: The picture the face was found in.
        face: From `Detector.faces`.
        size: Side of the result in pixels.
        margin: Factor by which the box is widened.
    """
    left, top, right, bottom = face.box
    side = max(1, round(max(right - left, bottom - top) * margin))
    x, y = round((left + right - side) / 2), round((top + bottom - side) / 2)
    pixels = np.asarray(image.convert("RGB"))
    rows = np.clip(np.arange(y, y + side), 0, image.height - 1)
    columns = np.clip(np.arange(x, x + side), 0, image.width - 1)
    square = Image.fromarray(pixels[rows][:, columns])
    return square.resize((size, size), Image.Resampling.BICUBIC)
