"""Faces found by facenet-pytorch's MTCNN."""

from __future__ import annotations

import math
import warnings
from importlib.metadata import version

import torch
from facenet_pytorch import MTCNN
from PIL import Image

from srkit.hookspecs import Face

# Side in pixels of what MTCNN's first network looks at; a smaller face is upscaled to it.
WINDOW = 12


class Detector:
    """MTCNN (Zhang et al., 2016) as facenet-pytorch ships it, weights included.

    Args:
        device: Where it computes.
        min_size: Smallest face to find, in pixels.
        confidence: Faces of a lower probability are left out.
        max_pixels: Number of pixels that MTCNN looks at, at most; its time and memory are in
            proportion to them. A larger image is searched in a copy reduced to that many. MTCNN
            upscales an image to find faces below 12 pixels in it; those for which it would look at
            more pixels than these are left out, which in an image of n pixels are the faces below
            ``12 * sqrt(n / max_pixels)``. None: no bound.
    """

    name = f"MTCNN {version('facenet-pytorch')}"

    def __init__(
        self,
        *,
        device: str = "cpu",
        min_size: int = 20,
        confidence: float = 0.9,
        max_pixels: int | None = None,
    ) -> None:
        with warnings.catch_warnings():
            # facenet-pytorch's weights are plain tensors in files of torch's old format.
            warnings.simplefilter("ignore")
            self.network = MTCNN(keep_all=True, min_face_size=min_size, device=torch.device(device))
        self.min_size, self.confidence, self.max_pixels = min_size, confidence, max_pixels

    def faces(self, image: Image.Image) -> list[Face]:
        """Return the faces in an image, the largest first; none is an empty list.

        A box is as MTCNN gives it, about half a pixel more than continuous places say.
        """
        if self.max_pixels is None:
            return self._search(image, self.min_size)
        share = math.sqrt(self.max_pixels / (image.width * image.height))
        least = max(self.min_size, WINDOW / share)
        if share >= 1:
            return self._search(image, least)
        size = max(1, round(image.width * share)), max(1, round(image.height * share))
        whole = image if image.mode == "RGB" else image.convert("RGB")
        copy = whole.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
        x, y = image.width / size[0], image.height / size[1]
        return [
            Face(
                (f.box[0] * x, f.box[1] * y, f.box[2] * x, f.box[3] * y),
                f.probability,
                tuple((px * x, py * y) for px, py in f.landmarks),
            )
            for f in self._search(copy, least * share)
        ]

    def _search(self, image: Image.Image, least: float) -> list[Face]:
        if min(image.size) * (12.0 / least) < 12:
            # Computed as MTCNN does: it would find no scale to look at, and fail.
            return []
        self.network.min_face_size = least
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            boxes, probabilities, points = self.network.detect(image.convert("RGB"), landmarks=True)
        if boxes is None:
            return []
        faces = [
            Face(
                (float(b[0]), float(b[1]), float(b[2]), float(b[3])),
                float(p),
                # MTCNN counts pixels from 1: landmarks of an image and of its mirrored twin add
                # up to its width and 1. Half a pixel less makes that its width.
                tuple((float(x) - 0.5, float(y) - 0.5) for x, y in landmarks),
            )
            for b, p, landmarks in zip(boxes, probabilities, points, strict=True)
            if p is not None and p >= self.confidence
        ]
        return sorted(faces, key=lambda f: -(f.box[2] - f.box[0]) * (f.box[3] - f.box[1]))
