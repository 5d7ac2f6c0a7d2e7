"""Find faces, crop and align them, with facenet-pytorch's MTCNN (its weights ship with it).

Places in pictures are continuous: (0, 0) is the upper left corner, and the first pixel covers
[0, 1] x [0, 1]. Only `Face.box` is as the detector gives it, about half a pixel more.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image
from skimage.transform import AffineTransform, estimate_transform, warp

# The box is widened by this factor, so that hair and chin are in: MTCNN's boxes are tight.
MARGIN = 1.35
# Side in pixels of what MTCNN's first network looks at; a smaller face is enlarged to it.
WINDOW = 12

Point = tuple[float, float]

# Width and height of CelebA's aligned pictures.
CELEBA_SIZE = (178, 218)
# Where both eyes, the nose and both corners of the mouth are in them: means of MTCNN's landmarks
# over 9,000 of the first 10,000 pictures, enlarged from half size by Pillow's bicubic, where its
# probability is 0.99 or more (8,813 of them). Standard deviations, across and down: 2.4 and 1.9
# pixels for an eye, 3.6 and 2.5 for a corner of the mouth, 6.4 and 4.3 for the nose.
CELEBA_LANDMARKS: tuple[Point, ...] = (
    (69.7, 111.7),
    (108.6, 111.7),
    (88.7, 135.7),
    (71.6, 153.3),
    (106.3, 153.2),
)
# An aligned face is sampled this much more finely than asked for, and then reduced. Of a portrait
# turned by 6 degrees and shrunk to a quarter, that is 12 dB closer to sampling 8 times as finely.
FINER = 2


@dataclass(frozen=True)
class Face:
    """A face in a picture.

    Attributes:
        box: Left, top, right, bottom in pixels of the picture; may reach beyond it.
        probability: The detector's, in [0, 1].
        landmarks: Both eyes, the nose, both corners of the mouth; of each pair, first the one
            that is left in a picture of an upright face. Empty where nobody looked for them.
    """

    box: tuple[float, float, float, float]
    probability: float
    landmarks: tuple[Point, ...] = ()


class Detector:
    """MTCNN (Zhang et al., 2016) as facenet-pytorch ships it.

    Args:
        device: Where it computes.
        least: Smallest face looked for, in pixels.
        confidence: Faces of a lower probability are left out.
        pixels: How many MTCNN looks at, at most, for its time and memory are in proportion to them.
            A larger picture is searched in a copy reduced to that many. Where there would still be
            more, for MTCNN enlarges what is below its `WINDOW`, smaller faces are left out: of a
            picture of n pixels, those below ``WINDOW * sqrt(n / pixels)``. None: no bound.
    """

    def __init__(
        self,
        device: torch.device | None = None,
        *,
        least: int = 20,
        confidence: float = 0.9,
        pixels: int | None = None,
    ) -> None:
        with warnings.catch_warnings():
            # facenet-pytorch's weights are plain tensors in files of torch's old format.
            warnings.simplefilter("ignore")
            from facenet_pytorch import MTCNN

            self.network = MTCNN(
                keep_all=True, min_face_size=least, device=device or torch.device("cpu")
            )
        self.least, self.confidence, self.pixels = least, confidence, pixels

    def faces(self, image: Image.Image) -> list[Face]:
        """Return the faces in a picture, the largest first; none is an empty list."""
        if self.pixels is None:
            return self._search(image, self.least)
        share = math.sqrt(self.pixels / (image.width * image.height))
        least = max(self.least, WINDOW / share)
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
        found = [
            Face(
                (float(b[0]), float(b[1]), float(b[2]), float(b[3])),
                float(p),
                # MTCNN counts pixels from 1: landmarks of a picture and of its mirrored twin add
                # up to its width and 1. Half a pixel less makes that its width.
                tuple((float(x) - 0.5, float(y) - 0.5) for x, y in its),
            )
            for b, p, its in zip(boxes, probabilities, points, strict=True)
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


@dataclass(frozen=True)
class Placement:
    """Where an aligned crop lies in its picture.

    Attributes:
        size: Of the crop, width and height in pixels.
        enlargement: Pixels of the crop to one of the picture, along a line; above 1 the crop shows
            less than its size promises.
        outside: Share of the crop that lies outside of the picture, in [0, 1].
        transform: scikit-image's similarity from places in the picture to places in the crop.
    """

    size: tuple[int, int]
    enlargement: float
    outside: float
    transform: Any = field(compare=False)


def place(landmarks: Sequence[Point], image: tuple[int, int], width: int) -> Placement | None:
    """Return the place of the crop that frames a face as CelebA does.

    It is the similarity (turn, scale, shift) that brings both eyes and the middle of the mouth
    closest to CelebA's (least squares; Umeyama, 1991). The nose and the mouth's width follow the
    head's turn and a smile more than the frame: with all five landmarks, CelebA's own pictures
    come back with their corners 6.9 pixels away on average, with these three 4.9, with the eyes
    alone 10.5.

    Args:
        landmarks: `Face.landmarks`.
        image: Width and height of the picture.
        width: Of the crop, in pixels; its height has to it the ratio of CelebA's.

    Returns:
        None if the landmarks are in one place, as no face has them.
    """
    size = (width, round(width * CELEBA_SIZE[1] / CELEBA_SIZE[0]))
    goal = np.array(_anchors(CELEBA_LANDMARKS)) * (width / CELEBA_SIZE[0])
    transform = estimate_transform("similarity", np.array(_anchors(landmarks)), goal)
    if not transform or not np.isfinite(transform.params).all():
        return None
    grid = np.stack(np.meshgrid(*(np.arange(n) + 0.5 for n in size)), axis=-1).reshape(-1, 2)
    places = transform.inverse(grid)
    outside = ((places < 0) | (places > image)).any(axis=1).mean()
    return Placement(size, float(transform.scale), float(outside), transform)


def _anchors(landmarks: Sequence[Point]) -> list[Point]:
    left, right, _, *mouth = landmarks
    return [left, right, ((mouth[0][0] + mouth[1][0]) / 2, (mouth[0][1] + mouth[1][1]) / 2)]


def align(image: Image.Image, placement: Placement) -> Image.Image:
    """Return a face as an upright crop; beyond the picture, its border's pixels are repeated.

    What has to shrink is shrunk first, antialiased (Pillow's bicubic), to `FINER` times the
    crop's scale; then it is turned (scikit-image's bicubic), and brought to its size (Pillow's).

    Args:
        image: The picture the face was found in.
        placement: From `place`.
    """
    fine = placement.size[0] * FINER, placement.size[1] * FINER
    to_picture = AffineTransform(scale=1 / FINER) + placement.transform.inverse
    shrink = min(1.0, placement.enlargement * FINER)
    margin = 4 / shrink  # what the kernels reach for
    corners = to_picture(np.array([(0, 0), (fine[0], 0), (0, fine[1]), fine]))
    bounds = np.array(image.size)
    low = np.clip(np.floor(corners.min(axis=0) - margin), 0, bounds - 1)
    high = np.clip(np.ceil(corners.max(axis=0) + margin), low + 1, bounds)
    near = np.maximum(1, np.round((high - low) * shrink)).astype(int)
    part = image.convert("RGB").resize(
        (int(near[0]), int(near[1])), Image.Resampling.BICUBIC, box=(*low, *high)
    )
    # scikit-image counts from the middle of the first pixel.
    from_fine = AffineTransform(translation=(0.5, 0.5)) + to_picture
    to_part = AffineTransform(translation=-low) + AffineTransform(scale=near / (high - low))
    turned = warp(
        np.asarray(part),
        from_fine + to_part + AffineTransform(translation=(-0.5, -0.5)),
        output_shape=(fine[1], fine[0]),
        order=3,
        mode="edge",
        preserve_range=True,
    )
    pixels = turned.round().clip(0, 255).astype(np.uint8)
    return Image.fromarray(pixels).resize(placement.size, Image.Resampling.BICUBIC)
